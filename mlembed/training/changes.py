"""Measure a table by the clock and by the table of the last training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import DataError
from mlembed.monitoring.statistics import proportions_p, psi, psi_noise
from mlembed.training.inspection import Finding, share_finding
from mlembed.training.summary import count_bins, count_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.checks import Checks
    from mlembed.training.dataset import Dataset
    from mlembed.training.inspection import Counts
    from mlembed.training.labels import Binary, Multiclass, Regression
    from mlembed.training.snapshot import ColumnSnapshot, Snapshot

_LAST = 0.1
_CHANCE = 1e-3
_HALF = 0.5


def future(
    columns: Sequence[Column],
    dataset: Dataset,
    checks: Checks,
    *,
    now: float,
    time: str | None,
) -> Iterator[Finding]:
    """Yield the share of each time column that lies later than *now*."""
    names = [column.name for column in columns if column.kind == "timestamp"]
    if time is not None and time not in names:
        names.append(time)
    for name in names:
        times = _times(dataset, name)
        if len(times):
            share = float(np.mean(times > now + checks.future_seconds))
            what = "of the times lie in the future"
            yield share_finding("future", name, share, checks.max_future, what)


def label_delay(
    columns: Sequence[Column],
    dataset: Dataset,
    label: Binary | Multiclass | Regression,
    checks: Checks,
    *,
    time: str | None,
    newest: float | None,
) -> Iterator[Finding]:
    """Yield how late labels arrive, and whether the newest rows are too young to have one.

    A row too young often counts as the other class, so the positives of the newest tenth of the
    rows drop to less than half of what they were, beyond chance.
    """
    times = _row_times(columns, dataset, time)
    if times is None:
        return
    known = np.isfinite(times)
    if not known.any():
        return
    last, span = float(times[known].max()), float(np.ptp(times[known]))
    if newest is not None and span:
        late = (newest - last) / span
        what = "of the table's time lie between the newest labelled row and the newest row"
        yield share_finding("label_delay", label.column, late, checks.max_label_delay, what)
    if label.kind == "binary":
        yield from _falling(times[known], dataset.y[known], label.column)


def _falling(times: NDArray[Any], y: NDArray[Any], name: str) -> Iterator[Finding]:
    start = np.sort(times)[int(len(times) * (1 - _LAST))]
    young = times >= start
    n, n_before = int(young.sum()), int((~young).sum())
    if not n or not n_before:
        return
    k, k_before = float(y[young].sum()), float(y[~young].sum())
    fell = k / n < _HALF * k_before / n_before
    bad = fell and proportions_p(k_before, n_before, k, n) < _CHANCE
    found = f"{k / n:.1%} of the newest rows are positive, {k_before / n_before:.1%} of the others"
    yield Finding("label_delay", name, found, "at least half as many", float(bad), bad)


def _row_times(
    columns: Sequence[Column], dataset: Dataset, time: str | None
) -> NDArray[np.float64] | None:
    names = [column.name for column in columns if column.kind == "timestamp"]
    if time is None and len(names) != 1:
        return None
    return _times(dataset, time or names[0])


def _times(dataset: Dataset, name: str) -> NDArray[np.float64]:
    values = dataset.columns.get(name, dataset.extra.get(name))
    if values is None or values.dtype == object:
        raise DataError(
            f"the checks need the times of '{name}', which the table was read without; read it "
            f"with extra=['{name}'], as times or numbers"
        )
    return np.asarray(values, dtype=np.float64)


def new_values(
    columns: Sequence[Column], checks: Checks, counts: Counts, previous: Snapshot
) -> Iterator[Finding]:
    """Yield the share of each category that the last training did not know."""
    for column in columns:
        known, found = _known(previous, column), counts.get(column.name)
        if known is None or not found:
            continue
        strange = [n for text, n in found.items() if text not in known]
        share = sum(strange) / sum(found.values())
        what = f"of the values ({len(strange):,} distinct) had no code in the last training"
        yield share_finding("new_values", column.name, share, checks.max_new, what)


def _known(previous: Snapshot, column: Column) -> frozenset[str] | None:
    """Return the values of a category that the last training knew, None where that is unknown."""
    if column.kind != "category" or column.declared:
        return None
    if column.name in previous.vocabularies:
        return previous.vocabularies[column.name]
    old = previous.columns.get(column.name)
    whole = old is not None and old.top is not None and len(old.top) == old.n_distinct
    return frozenset(old.top) if whole and old is not None and old.top is not None else None


def drift(
    columns: Sequence[Column],
    dataset: Dataset,
    checks: Checks,
    counts: Counts,
    previous: Snapshot,
) -> Iterator[Finding]:
    """Yield how far each column lies from the last training, and what is more than chance.

    Timestamps are left out: newer rows are later.
    """
    allowed = f"PSI {checks.max_psi:g}"
    for column in columns:
        old = previous.columns.get(column.name)
        if old is None or column.kind == old.kind == "timestamp":
            continue  # time goes on
        if old.kind != column.kind:
            found = f"a {column.kind}, in the last training a {old.kind}"
            yield Finding("drift", column.name, found, "the same kind", np.inf, bad=True)
            continue
        before = _counts_before(old, previous.n)
        if before is None:
            continue
        now = _counts_now(dataset.columns[column.name], old, counts.get(column.name))
        moved, noise = psi(before, now), 2 * psi_noise(before, now)
        if np.isfinite(moved):
            bad = moved > checks.max_psi and moved > noise
            yield Finding("drift", column.name, f"PSI {moved:.3f}", allowed, moved, bad)


def _counts_before(old: ColumnSnapshot, n: int) -> list[float] | None:
    """Return the rows of each kept value or bin, the others, and those missing."""
    kept = list(old.counts) if old.top is None else list(old.top.values())
    if not kept:
        return None
    n_missing = round(old.missing_share * n)
    return [*kept, max(0, n - n_missing - sum(kept)), n_missing]


def _counts_now(
    values: NDArray[Any], old: ColumnSnapshot, found: Mapping[str, int] | None
) -> list[float]:
    """Return the same of the table in hand."""
    if old.top is not None:
        found = count_named(values) if found is None else found
        kept, n_present = [found.get(name, 0) for name in old.top], sum(found.values())
    else:
        present = values[~np.isnan(values)]
        edges = np.array(old.edges, dtype=np.float64)
        kept, n_present = count_bins(present[np.isfinite(present)], edges).tolist(), len(present)
    return [*kept, n_present - sum(kept), len(values) - n_present]
