"""Hold what a run writes apart from what it reads, before either is touched.

The table and the rejected rows are often named in one line: a slip there must not cost the table.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlembed.errors import DataError
from mlembed.training import files, objects
from mlembed.training.tables import Joined, Query, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def require_apart(outputs: Mapping[str, Path | None], tables: Sequence[Any]) -> None:
    """Refuse outputs that are a table of the run, a directory, or one another.

    Args:
        outputs: Where something is to be written, by what it is; None where nothing is.
        tables: What the run reads, in any form that a trainer takes.

    Raises:
        DataError: Naming the first that cannot be written there.
    """
    read = [path for table in tables for path in _read(table)]
    written: dict[str, Path] = {}
    for what, given in outputs.items():
        if given is None:
            continue
        path = Path(given)
        if path.is_dir():
            raise DataError(
                f"the {what} cannot be written to {path}: it is a directory, name a file"
            )
        if any(_same(path, other) for other in read):
            raise DataError(
                f"the {what} would replace {path}, which the table is read from: name another file"
            )
        for other, place in written.items():
            if _same(path, place):
                raise DataError(f"the {what} and the {other} are both {path}: name two files")
        written[what] = path


def _read(table: Any) -> Iterator[Path]:
    """Yield the local files of *table*; what cannot be found is told when it is read."""
    if isinstance(table, Joined):
        yield from _read(table.left)
        yield from _read(table.right)
    elif isinstance(table, Table):
        yield from _read(table.data)
    elif isinstance(table, Query):
        if table.url.startswith("sqlite:///"):
            yield Path(table.url.removeprefix("sqlite:///"))
    elif isinstance(table, (str, os.PathLike)) and not objects.is_remote(os.fspath(table)):
        with contextlib.suppress(DataError):
            yield from files.find(os.fspath(table)).paths


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100  neither need exist
