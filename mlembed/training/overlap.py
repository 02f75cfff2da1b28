"""Say what stands on each side of a split, so that a reader can judge whether it leaks."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlembed.training.dataset import Dataset

# Nine digits are seconds since 1970 to the reader of tables; shorter numbers count something else.
_LEAST_EPOCH = 1e8
_DIGITS = ".15g"  # all that a double keeps of a decimal, so that two moments never look the same


@dataclasses.dataclass(frozen=True)
class _Side:
    y: NDArray[np.float64]
    times: NDArray[Any] | None
    entities: NDArray[Any] | None


def describe_sides(
    dataset: Dataset,
    sides: Mapping[str, NDArray[np.intp]],
    *,
    time: str | None = None,
    entity: str | None = None,
    y: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Describe the sides of one table.

    Args:
        dataset: The table.
        sides: Row numbers by name, in order, such as `train`, `calibration` and `test`.
        time: Column of the time, or None.
        entity: Column that names who or what a row is about, or None.
        y: Labels, `(n_records,)`; by default the table's.

    Returns:
        `sides` (rows, time range and share of positives of each) and, with an entity,
        `shared_entities`: how many of the test side another side has seen, and their share of its
        rows.

    Raises:
        DataError: If the table was read without a column.
    """
    labels = dataset.y if y is None else y
    times = None if time is None else _column(dataset, time)
    entities = None if entity is None else _column(dataset, entity)
    found = {
        name: _Side(
            labels[rows],
            None if times is None else times[rows],
            None if entities is None else entities[rows],
        )
        for name, rows in sides.items()
    }
    return _describe(found, dataset.kind, entity)


def describe_tables(
    tables: Mapping[str, Dataset], *, time: str | None = None, entity: str | None = None
) -> dict[str, Any]:
    """Describe sides that are tables of their own; otherwise as `describe_sides`."""
    found = {
        name: _Side(
            table.y,
            None if time is None else _column(table, time),
            None if entity is None else _column(table, entity),
        )
        for name, table in tables.items()
    }
    kinds = [table.kind for table in tables.values()]
    return _describe(found, kinds[0] if kinds else "", entity)


def _describe(sides: Mapping[str, _Side], kind: str, entity: str | None) -> dict[str, Any]:
    ranges = {name: _ends(side.times) for name, side in sides.items()}
    # One moment far from 1970 tells that all of them are seconds since then, the near ones too.
    dated = any(abs(end) >= _LEAST_EPOCH for ends in ranges.values() for end in ends or ())
    described: dict[str, Any] = {
        "sides": [
            {"side": name, "n": len(side.y)}
            | _range(ranges[name], dated=dated)
            | ({"positives": float(np.mean(side.y))} if kind == "binary" and len(side.y) else {})
            for name, side in sides.items()
        ]
    }
    if entity is not None and "test" in sides:
        seen = [side.entities for name, side in sides.items() if name != "test"]
        described["shared_entities"] = {"column": entity} | _shared(seen, sides["test"].entities)
    return described


def _ends(times: NDArray[Any] | None) -> tuple[float, ...] | None:
    """Return the first and the last moment; none of them where none is known."""
    if times is None:
        return None
    known = times[np.isfinite(times)] if times.dtype != object else times[:0]
    return (float(known.min()), float(known.max())) if len(known) else ()


def _range(ends: tuple[float, ...] | None, *, dated: bool) -> dict[str, str | None]:
    if ends is None:
        return {}
    told = [moment_text(end, dated=dated) for end in ends]
    return dict(zip(("from", "until"), told or (None, None), strict=True))


def moment_text(value: float, *, dated: bool | None = None) -> str:
    """Return a moment as people read it: ISO 8601 in UTC, or the number where it is no epoch.

    Args:
        value: Seconds since 1970, or what counts time in another unit.
        dated: Whether it is seconds since 1970; by its size where that is not known.
    """
    if dated is None:
        dated = abs(value) >= _LEAST_EPOCH
    if dated:
        with contextlib.suppress(OverflowError):
            moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=float(value))
            return moment.isoformat(timespec="seconds")
    return f"{value:{_DIGITS}}"


def _shared(seen: list[NDArray[Any] | None], test: NDArray[Any] | None) -> dict[str, Any]:
    known = {one for side in seen if side is not None for one in side.tolist()} - {None}
    rows = [] if test is None else [one for one in test.tolist() if one in known]
    n_test = 0 if test is None else len(test)
    return {"n": len(set(rows)), "share_of_test_rows": len(rows) / n_test if n_test else 0.0}


def _column(dataset: Dataset, name: str) -> NDArray[Any]:
    for columns in (dataset.extra, dataset.columns):
        if name in columns:
            return np.asarray(columns[name])
    raise DataError(f"the table was read without '{name}'; read it with extra=['{name}']")
