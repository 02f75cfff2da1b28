"""The graph of every transform gives what numpy gives, on every double a record can hold."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mlembed.columns import Column
from mlembed.features import (
    bucket,
    clip,
    cyclic,
    day_of_week,
    difference,
    hour_of_day,
    log1p,
    product,
    ratio,
)
from mlembed.serving.session import Session
from mlembed.training import lowering

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.features import Transform

Array = np.ndarray[Any, np.dtype[np.float64]]

EDGES = (-5.0, -0.0, 1.0, 1.0 + 2**-52, 1e15, 2.0**53)
SPECIAL = np.array(
    [
        *(np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 2.2e-308, 1.7e308, -1.7e308),
        *(-1.0, np.nextafter(-1.0, 0.0), np.nextafter(-1.0, -2.0), -2.0, 1e-300, 1e300),
        *EDGES,
        *(np.nextafter(edge, -np.inf) for edge in EDGES),
        *(np.nextafter(edge, np.inf) for edge in EDGES),
        *(0.5, 17.0, 1e-10, 2.0**24 + 1, 2.0**31 + 1, -3.75),
    ]
)
PAIRS = np.array(list(itertools.product(SPECIAL, SPECIAL)))
OFFSETS = (0.0, 1.0, -11.0, 14.0, 5.5, 5.75)
DAYS = st.datetimes(dt.datetime(1750, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001  hypothesis wants them naive


@functools.cache
def session_of(transforms: tuple[Transform, ...]) -> Session:
    """Return the features graph of *transforms* on the columns `a` and `b`."""
    declared = {f"f{number}": item for number, item in enumerate(transforms)}
    names = [name for key, item in declared.items() for name in item.feature_names(key)]
    columns = tuple(Column(name=name, kind="number", nullable=True) for name in "ab")
    return Session(lowering.serialize(lowering.lower_features(columns, declared, names)))


def run(x: Array, *transforms: Transform) -> Array:
    """Return the features of the rows *x*, `(n_rows, 2)`, as `(n_rows, n_features)`."""
    return session_of(transforms).run_matrix(x).reshape(len(x), -1)


def finite(values: Array) -> Array:
    """Return *values*, those that are not finite as missing."""
    return np.where(np.isfinite(values), values, np.nan)


def logarithm(x: Array) -> Array:
    """Return ln(1 + x), missing where x <= -1."""
    return np.log1p(np.where(x > -1.0, x, np.nan))


def counted(x: Array, edges: tuple[float, ...] = EDGES) -> Array:
    """Return how many *edges* are at most x, missing where x is."""
    return np.where(np.isnan(x), np.nan, np.searchsorted(edges, x, side="right"))


ORACLES: list[tuple[Transform, Callable[[Array, Array], Array]]] = [
    (log1p("a"), lambda a, _: logarithm(a)),
    (clip("a", -2.5, 17.0), lambda a, _: a.clip(-2.5, 17.0)),
    (clip("a", 3.0, 3.0), lambda a, _: a.clip(3.0, 3.0)),
    (ratio("a", "b"), lambda a, b: finite(a / b)),
    (difference("a", "b"), lambda a, b: a - b),
    (product("a", "b"), lambda a, b: finite(a * b)),
    (bucket("a", EDGES), lambda a, _: counted(a)),
    (ratio(difference("a", "b"), clip("b", 1.0, 2.0)), lambda a, b: finite((a - b) / b.clip(1, 2))),
    (log1p(clip("a", -2.0, 1e6)), lambda a, _: logarithm(a.clip(-2, 1e6))),
    (bucket(log1p("a"), (0.5, 30.0)), lambda a, _: counted(logarithm(a), (0.5, 30.0))),
    (clip(ratio("a", "b"), -1.0, 1.0), lambda a, b: finite(a / b).clip(-1, 1)),
]


@pytest.mark.parametrize(("transform", "oracle"), ORACLES, ids=lambda case: getattr(case, "op", ""))
@pytest.mark.parametrize("n_rows", [1, 3, 8, len(PAIRS)])
def test_lower_transform_equals_numpy(
    transform: Transform, oracle: Callable[[Array, Array], Array], n_rows: int
) -> None:
    """NaN, infinities, zeros, subnormals and edges give what numpy gives, in batches of any size."""
    blocks = [PAIRS[start : start + n_rows] for start in range(0, len(PAIRS), n_rows)]

    ours = np.concatenate([run(block, transform)[:, 0] for block in blocks])

    with np.errstate(all="ignore"):
        assert_allclose(ours, oracle(*PAIRS.T), rtol=1e-12, atol=1e-12)


def test_lower_transforms_together_equals_each_alone() -> None:
    """Transforms that share an operator do not leak into one another, missing values included."""
    transforms = (
        *(item for item, _ in ORACLES),
        bucket("b", [0.0]),
        bucket("a", [0.0, 1.0]),
        log1p("b"),
        clip("b", 0.0, 1.0),
        hour_of_day("a"),
        hour_of_day("b", 2.0),
        day_of_week("b"),
        cyclic("a", 24.0),
        cyclic("b", 7.0),
    )

    together = run(PAIRS, *transforms)

    alone = np.hstack([run(PAIRS, item) for item in transforms])
    assert_allclose(together, alone, rtol=0, atol=0)


def test_lower_log1p_is_missing_from_minus_one() -> None:
    """ln(1 + x) is defined right above -1 and nowhere below."""
    x = np.array([[value, 0.0] for value in (-1.0, -1.5, -np.inf, np.nextafter(-1.0, 0.0))])

    assert np.isnan(run(x, log1p("a"))[:, 0]).tolist() == [True, True, True, False]


def test_lower_ratio_is_missing_over_zero() -> None:
    """A zero denominator of either sign gives a missing value, never an infinity."""
    x = np.array([[1.0, 0.0], [1.0, -0.0], [0.0, 0.0], [1e300, 1e-300], [6.0, 3.0]])

    assert_allclose(run(x, ratio("a", "b"))[:, 0], [np.nan] * 4 + [2.0])


def test_lower_bucket_counts_edges_at_most_x() -> None:
    """An edge belongs to the bucket above it; the double below it does not."""
    x = np.array([[value, 0.0] for value in (np.nextafter(2.0, 0.0), 2.0, 5.0, -np.inf, np.inf)])

    assert run(x, bucket("a", [2.0, 5.0]))[:, 0].tolist() == [0.0, 1.0, 2.0, 0.0, 2.0]


@given(edges=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40, unique=True).map(sorted))
def test_lower_bucket_takes_any_edges(edges: list[float]) -> None:
    """The tree of splits is a search of the edges, however many there are."""
    around = np.array([*edges, *np.nextafter(edges, -np.inf), *np.nextafter(edges, np.inf)])
    x = np.column_stack([around, around])

    assert run(x, bucket("a", edges))[:, 0].tolist() == [
        float(np.searchsorted(edges, value, side="right")) for value in around
    ]


def calendar(moments: list[dt.datetime], offset: float) -> Array:
    """Return hour and weekday of *moments* as Python knows them, `(n, 2)`."""
    zone = dt.timezone(dt.timedelta(hours=offset))
    local = [moment.astimezone(zone) for moment in moments]
    return np.array([[moment.hour, moment.weekday()] for moment in local], dtype=float)


def lowered_calendar(moments: list[dt.datetime], offset: float) -> Array:
    """Return hour and weekday of *moments* as the graph gives them, `(n, 2)`."""
    x = np.array([[moment.timestamp(), 0.0] for moment in moments])
    return run(x, hour_of_day("a", offset), day_of_week("a", offset))


@pytest.mark.parametrize("offset", OFFSETS)
def test_lower_calendar_equals_datetime(offset: float) -> None:
    """Hour and weekday are Python's for ten thousand moments between 1750 and 2200."""
    random = np.random.default_rng(7)
    span = random.integers(-220 * 31_556_952 * 10**6, 230 * 31_556_952 * 10**6, 10_000)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    moments = [epoch + dt.timedelta(microseconds=int(step)) for step in span]

    assert (lowered_calendar(moments, offset) == calendar(moments, offset)).all()


@given(moment=DAYS, offset=st.sampled_from(OFFSETS))
@example(dt.datetime(1970, 1, 1, tzinfo=dt.UTC), 0.0)
@example(dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC), 0.0)
@example(dt.datetime(1960, 2, 29, 23, 30, tzinfo=dt.UTC), 1.0)
@example(dt.datetime(1900, 3, 1, tzinfo=dt.UTC), -11.0)
@example(dt.datetime(2000, 2, 29, 23, 59, 59, 999_999, tzinfo=dt.UTC), 0.0)
@example(dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC), 14.0)
@example(dt.datetime(2100, 2, 28, 23, tzinfo=dt.UTC), 5.5)
def test_lower_calendar_knows_leap_days(moment: dt.datetime, offset: float) -> None:
    """Leap days, the last microsecond of a day and times before 1970 fall where Python puts them."""
    assert (lowered_calendar([moment], offset) == calendar([moment], offset)).all()


def test_lower_calendar_turns_at_the_full_hour() -> None:
    """The double right before an hour belongs to the hour before it."""
    hours = np.arange(-500_000, 500_000, 7_919) * 3_600.0
    x = np.column_stack([np.nextafter(hours, -np.inf), hours])

    before, after = run(x, hour_of_day("a"), hour_of_day("b")).T

    assert ((before + 1) % 24 == after).all()


def test_lower_cyclic_equals_numpy() -> None:
    """Sine and cosine lie on the circle, and wrap around at the period."""
    random = np.random.default_rng(3)
    values = np.concatenate([random.uniform(-240.0, 240.0, 2_000), np.arange(-48.0, 49.0)])
    x = np.column_stack([values, values])

    sine, cosine = run(x, cyclic("a", 24.0)).T

    angle = 2 * np.pi * values / 24.0
    assert_allclose(sine, np.sin(angle), rtol=0, atol=1e-12)
    assert_allclose(cosine, np.cos(angle), rtol=0, atol=1e-12)


def test_lower_cyclic_passes_missing_on() -> None:
    """What has no place on the circle is missing in both features."""
    x = np.array([[value, 0.0] for value in (np.nan, np.inf, -np.inf)])

    assert np.isnan(run(x, cyclic("a", 24.0))).all()


def test_lower_calendar_passes_missing_on() -> None:
    """A missing time has no hour and no weekday."""
    x = np.array([[value, 0.0] for value in (np.nan, np.inf, -np.inf)])

    assert np.isnan(run(x, hour_of_day("a"), day_of_week("a"))).all()
