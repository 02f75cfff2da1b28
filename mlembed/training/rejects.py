"""Set the rows that break a rule aside, with the reasons of each.

The file appears whole or not at all, and only its owner may read it: it holds what the table held.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlembed.errors import DataError
from mlembed.training import rules

if TYPE_CHECKING:
    from mlembed.training.sources import Source

_BATCH = 10_000


def count_reasons(source: Source) -> tuple[int, Counter[str]]:
    """Return how many rows broke a rule, and how many broke each."""
    query = rules.query({"reason": "reason", "found": "count(*)"}, "faults GROUP BY reason")
    groups = source.connection.execute(query).fetchall()
    reasons: Counter[str] = Counter()
    for reason, found in groups:
        reasons.update(dict.fromkeys(reason.split("; "), found))
    return sum(found for _, found in groups), reasons


def set_aside(source: Source, path: Path) -> None:
    """Write the rows that broke a rule to *path*, in their order.

    The columns are `row` (from 1, the header not counted), `reason` and the table's own, as they
    came. Without such rows the file holds the header alone.

    Raises:
        DataError: If the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=".csv")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                _write(source, csv.writer(file))
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"the rejected rows cannot be written to {path} ({error.strerror}): name a file in a "
            "directory that you may write to"
        ) from error


def _write(source: Source, writer: Any) -> None:
    writer.writerow(["row", "reason", *source.headers])
    cells = {f"c{i}": f"CAST(c{i} AS VARCHAR)" for i in range(len(source.headers))}
    query = rules.query({"n": "n", "reason": "reason"} | cells, "faults JOIN raw USING (n)")
    rows = source.connection.execute(f"{query} ORDER BY n")
    while batch := rows.fetchmany(_BATCH):
        writer.writerows(batch)
