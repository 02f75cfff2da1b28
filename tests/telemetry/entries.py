"""Entries and outcomes as the host's threads leave them, and what becomes of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from mlembed.columns import Column
from mlembed.telemetry.events import Entry, Outcome
from mlembed.telemetry.ids import SEQUENCE
from mlembed.telemetry.source import Source
from serving.logs import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlembed.telemetry.events import Call

COLUMNS = (
    Column(name="age", kind="number", nullable=True),
    Column(name="visits", kind="integer"),
    Column(name="member", kind="boolean", nullable=True),
    Column(name="town", kind="category", vocabulary=("oslo", "lyon"), rare=True, nullable=True),
    Column(name="seen", kind="timestamp"),
)
ROW = (41.0, 7.0, 1.0, 0.0, 1_772_645_400.0)
TIME_NS = 1_772_645_400_123_456_789
DIGEST = "ab" * 32
LEAST_ROOM = 65_536  # bytes


def source_of(
    columns: Sequence[Column] = COLUMNS, *, name: str = "toy", log_features: bool = True
) -> Source:
    """Return the source of version 1.2.0 of *name*."""
    return Source(name, "1.2.0", DIGEST, columns, log_features=log_features)


SOURCE = source_of()


def make_entry(
    row: Sequence[float] | Any = ROW, unknown: Mapping[str, Any] | None = None, **values: Any
) -> Call:
    """Return a good prediction; *values* replace its fields.

    Args:
        row: Cells of one row, a matrix, or None.
        unknown: Values outside the vocabulary.
        values: Fields of `Entry`.
    """
    cells = struct.pack(f"={len(row)}d", *row) if isinstance(row, (tuple, list)) else row
    fields = {
        "source": SOURCE,
        "time_ns": TIME_NS,
        "sequence": SEQUENCE.next(),
        "latency_ns": 12_345,
        "score": 0.25,
        "reason": "ok",
        "error": "",
        "key": None,
        "row": cells,
        "unknown": unknown,
        "span": None,
        "rate": 1.0,
    }
    return tuple(Entry(**{**fields, **values}))


def make_outcome(**values: Any) -> Outcome:
    """Return a report of the truth; *values* replace its fields."""
    fields: dict[str, Any] = {"model": "toy", "value": True, "time_ns": TIME_NS, "key": "c-1"}
    return Outcome(**{**fields, **values})


def keys(root: Path) -> list[str]:
    """Return the keys of all predictions below *root*, in the order they were written."""
    return [
        item["value"]["stringValue"]
        for record in records(root)
        for item in record["attributes"]
        if item["key"] == "mlembed.prediction.key"
    ]
