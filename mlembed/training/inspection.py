"""Measure a table by its own record: what was set aside, missing, rare or never varies."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.training.seen import share_seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.training.checks import Checks
    from mlembed.training.dataset import Dataset

    Counts = Mapping[str, Mapping[str, int]]  # rows of each value, by category

_DUPLICATE = "duplicate of key"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was measured in a column or a table.

    Attributes:
        check: Name of the check.
        column: The column; empty for the table.
        found: What was found, in words.
        allowed: What is allowed, in words.
        measure: The larger, the worse.
        bad: Whether it is more than allowed.
    """

    check: str
    column: str
    found: str
    allowed: str
    measure: float
    bad: bool


def share_finding(check: str, column: str, share: float, bound: float, what: str) -> Finding:
    """Return the finding of a share of *what*, bad above *bound*."""
    return Finding(
        check, column, f"{_percent(share)} {what}", f"{bound * 100:g}%", share, share > bound
    )


def _percent(share: float) -> str:
    # Never 0 % where there is one, never 100 % where there is another.
    if 0 < share < 0.001:  # noqa: PLR2004  a tenth of a percent
        return "under 0.1%"
    return "over 99.9%" if 0.999 < share < 1 else f"{share:.1%}"  # noqa: PLR2004  idem


def rejected(dataset: Dataset, checks: Checks) -> Iterator[Finding]:
    """Yield the share of the rows that broke a rule."""
    if not dataset.n_read:
        return
    what = f"of {dataset.n_read:,} rows were set aside"
    if dataset.reasons:
        reason, n = dataset.reasons.most_common(1)[0]
        what += f", most often because {reason} ({n:,})"
    share = dataset.n_rejected / dataset.n_read
    yield share_finding("rejected", "", share, checks.max_rejected, what)


def duplicates(dataset: Dataset, checks: Checks) -> Iterator[Finding]:
    """Yield the share of the rows that repeat a declared key."""
    repeated = sum(n for reason, n in dataset.reasons.items() if reason.startswith(_DUPLICATE))
    if repeated:
        share = repeated / dataset.n_read
        what = "of the rows repeat the key of another"
        yield share_finding("duplicates", "", share, checks.max_duplicates, what)


def seen(trained: Dataset, measured: Dataset, checks: Checks) -> Iterator[Finding]:
    """Yield the share of the rows to measure on that are among those to train on."""
    share = share_seen(trained, measured)
    what = "of the rows to measure on are among those to train on, with their labels"
    yield share_finding("seen", "", share, checks.max_seen, what)


def ranges(columns: Sequence[Column], dataset: Dataset, counts: Counts) -> Iterator[Finding]:
    """Yield the share of each column that its declaration refuses."""
    n = len(dataset.y)
    for column in columns if n else ():
        refused = (
            _refused_texts(column, counts[column.name], n)
            if column.name in counts
            else int(_refused(column, dataset.columns[column.name]).sum())
        )
        what = "of the values are missing, infinite or outside what is declared"
        yield share_finding("range", column.name, refused / n, 0.0, what)


def _refused_texts(column: Column, counted: Mapping[str, int], n: int) -> int:
    present = sum(counted.values())
    unknown = set(counted) - set(column.vocabulary) if column.declared else ()
    return sum(counted[text] for text in unknown) + (0 if column.nullable else n - present)


def _refused(column: Column, values: NDArray[Any]) -> NDArray[np.bool_]:
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    bad: NDArray[np.bool_] = np.isinf(values) | (values < low) | (values > high)
    if column.exclusive_minimum:
        bad |= values == low
    if column.exclusive_maximum:
        bad |= values == high
    return bad if column.nullable else bad | np.isnan(values)


def missing(
    columns: Sequence[Column], dataset: Dataset, checks: Checks, counts: Counts
) -> Iterator[Finding]:
    """Yield the share missing of each nullable column, and the columns that hold nothing.

    A column without any value is `empty`, one of a single value and nothing else `constant`:
    neither can teach anything.
    """
    n = len(dataset.y)
    for column in columns if n else ():
        name = column.name
        n_present, constant = _presence(dataset.columns[name], counts.get(name))
        empty = not n_present
        found = "no value at all" if empty else "a value"
        yield Finding("empty", name, found, "a value", float(empty), empty)
        if empty:
            continue
        if column.nullable:
            share, bound = 1 - n_present / n, checks.missing_bound(name)
            yield share_finding("missing", name, share, bound, "of the values are missing")
        found = "one value throughout" if constant else "several values"
        yield Finding("constant", name, found, "several values", float(constant), constant)


def empty_columns(columns: Sequence[Column], dataset: Dataset) -> tuple[str, ...]:
    """Return the columns without any value: an estimator may fail on them."""
    return tuple(
        column.name
        for column in columns
        if not (
            any(value is not None for value in values)
            if (values := dataset.columns[column.name]).dtype == object
            else (~np.isnan(values)).any()
        )
    )


def _presence(values: NDArray[Any], counted: Mapping[str, int] | None) -> tuple[int, bool]:
    """Return how many rows have a value, and whether all have the same."""
    if counted is not None:
        return sum(counted.values()), list(counted.values()) == [len(values)]
    return int((~np.isnan(values)).sum()), bool((values == values[0]).all())


def rare(columns: Sequence[Column], checks: Checks, counts: Counts) -> Iterator[Finding]:
    """Yield the share of each learnt category whose values get no code of their own."""
    for column in columns:
        found = sorted(counts.get(column.name, {}).values(), reverse=True)
        if not found or column.declared or column.rule.unknown == "error":
            continue
        known = [n for n in found[: column.rule.max_size] if n >= column.rule.min_count]
        what = f"of the values are rare ({len(found):,} distinct)"
        share = 1 - sum(known) / sum(found)
        yield share_finding("rare", column.name, share, checks.max_rare, what)
