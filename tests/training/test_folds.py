"""Folds follow the rule of their split, and their sides are described for the reader."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.columns import Column
from mlembed.errors import DataError, DeclarationError
from mlembed.training.cleaning import Cleaning
from mlembed.training.dataset import Dataset, read
from mlembed.training.labels import Regression
from mlembed.training.overlap import describe_sides, describe_tables, moment_text
from mlembed.training.splits import GroupSplit, RandomSplit, Split, TimeSplit, default_split

RANDOM = RandomSplit(reason="rows are exchangeable")
DAY = 86_400.0


def dataset(extra: Any = (), y: Any = None, kind: Any = "regression") -> Dataset:
    """Return a table with a column `key`."""
    keys = np.asarray(extra)
    labels = np.arange(len(keys), dtype=float) if y is None else np.asarray(y, dtype=float)
    return Dataset(kind=kind, columns={}, y=labels, extra={"key": keys}, n_read=len(labels))


@given(
    keys=st.lists(st.integers(0, 40), min_size=8, max_size=80).filter(lambda k: len(set(k)) > 5),
    n=st.integers(1, 5),
)
def test_time_folds_chain_forward(keys: list[int], n: int) -> None:
    """Each fold trains on all that is older, and each row after the first block is held out once."""
    times = np.array(keys, dtype=float)

    folds = TimeSplit("key").folds(dataset(times), n)

    assert len(folds) == n
    for fold in folds:
        start = times[fold.test].min()
        np.testing.assert_array_equal(fold.train, np.flatnonzero(times < start))
    held_out = np.concatenate([fold.test for fold in folds])
    assert len(set(held_out.tolist())) == len(held_out)
    assert set(held_out.tolist()) | set(folds[0].train.tolist()) == set(range(len(times)))
    starts = [times[fold.test].min() for fold in folds]
    assert starts == sorted(set(starts))


def test_time_folds_have_blocks_of_about_as_many_rows() -> None:
    """Ten thousand moments make five blocks of two thousand rows."""
    folds = TimeSplit("key").folds(dataset(np.arange(10_000.0)[::-1]), 4)

    assert [(len(fold.train), len(fold.test)) for fold in folds] == [
        (2000, 2000),
        (4000, 2000),
        (6000, 2000),
        (8000, 2000),
    ]


@given(gap=st.floats(0, 20), n=st.integers(1, 3))
def test_time_split_leaves_the_gap_empty(gap: float, n: int) -> None:
    """Rows within the gap before the first held-out row are on neither side."""
    times = np.random.default_rng(0).permutation(np.arange(100.0))
    split = TimeSplit("key", gap_seconds=gap)

    for fold in (split.split(dataset(times)), *split.folds(dataset(times), n)):
        start = times[fold.test].min()
        assert times[fold.train].max() < start - gap
        assert len(fold.train) == (times < start - gap).sum()


def test_time_split_refuses_a_gap_that_takes_every_older_row() -> None:
    """A side without rows is an error that says to shorten the gap."""
    with pytest.raises(DataError, match=r"the gap takes all 6 older rows: shorten gap_seconds"):
        TimeSplit("key", gap_seconds=10.0).split(dataset(np.arange(8.0)))


@pytest.mark.parametrize(
    "since",
    [
        "2012-11-01",
        "2012-11-01T00:00:00Z",
        "2012-11-01T02:00:00+02:00",
        dt.date(2012, 11, 1),
        dt.datetime(2012, 11, 1),  # noqa: DTZ001  UTC where no zone is named
        dt.datetime(2012, 11, 1, tzinfo=dt.UTC),
        1351728000,
    ],
)
def test_time_split_holds_out_since_a_moment(since: Any) -> None:
    """A declared moment is the first one held out, in UTC unless zoned."""
    start = dt.datetime(2012, 11, 1, tzinfo=dt.UTC).timestamp()
    times = start + DAY * np.array([1.0, -1.0, 0.0, -2.0, -0.5])

    fold = TimeSplit("key", since=since, gap_seconds=DAY / 2).split(dataset(times))

    assert (fold.train.tolist(), fold.test.tolist()) == ([1, 3], [0, 2])


def test_time_split_since_does_not_ask_the_machine_for_its_zone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A moment without a zone is in UTC wherever the trainer runs."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    start = dt.datetime(2012, 11, 1, tzinfo=dt.UTC).timestamp()

    fold = TimeSplit("key", since="2012-11-01").split(dataset(start + np.array([-1.0, 0.0])))
    monkeypatch.undo()
    time.tzset()

    assert fold.test.tolist() == [1]


def test_time_split_since_before_1970() -> None:
    """Moments before 1970 are negative seconds, and as good as others."""
    times = np.array([-(366.0 + 365 * k) * DAY for k in range(4)])

    fold = TimeSplit("key", since="1967-01-01").split(dataset(times))

    assert (fold.train.tolist(), fold.test.tolist()) == ([3], [0, 1, 2])


@pytest.mark.parametrize(
    "since", ["2012-13-01", "soon", "", True, float("nan"), object(), b"2012-11-01"]
)
def test_time_split_refuses_a_moment_it_cannot_read(since: Any) -> None:
    """The declaration is refused before anything is read."""
    with pytest.raises(DeclarationError, match=r"TimeSplit\(since=\.\.\.\): expected an ISO 8601"):
        TimeSplit("t", since=since)


@pytest.mark.parametrize("gap", [-1.0, float("inf"), float("nan"), "1d"])
def test_time_split_refuses_a_gap_that_is_no_span(gap: Any) -> None:
    """A gap is a finite number of seconds."""
    with pytest.raises(DeclarationError, match=r"gap_seconds=\.\.\.\): expected seconds"):
        TimeSplit("t", gap_seconds=gap)


def test_time_split_refuses_a_moment_outside_the_table() -> None:
    """Nothing to hold out is an error that says to name another moment."""
    with pytest.raises(DataError, match=r"none would be on the held-out side; name another moment"):
        TimeSplit("key", since=100.0).split(dataset(np.arange(8.0)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_time_split_refuses_rows_without_a_place_in_time(bad: float) -> None:
    """A missing or infinite time is neither old nor new."""
    with pytest.raises(DataError, match="missing or infinite"):
        TimeSplit("key").split(dataset([1.0, bad, 3.0]))


def test_time_split_orders_mixed_zones_and_times_before_1970() -> None:
    """Rows are ordered by the instant, whatever order and zone the table writes them in."""
    table = {
        "x": [0.0, 1.0, 2.0, 3.0],
        "y": [0.0, 1.0, 2.0, 3.0],
        "at": [
            "2020-01-01T10:00:00+05:00",
            "1969-12-31T23:00:00Z",
            "2020-01-01T03:00:00-03:00",
            "2020-01-01T05:30:00",
        ],
    }
    column = Column(name="x", kind="number")

    rows = read(table, [column], Regression("y"), Cleaning(), extra=["at"])
    fold = TimeSplit("at", test=0.5).split(rows)

    assert (fold.train.tolist(), fold.test.tolist()) == ([0, 1], [2, 3])
    assert rows.extra["at"][1] == -3600.0


@given(
    keys=st.lists(st.integers(0, 12), min_size=5, max_size=60).filter(lambda k: len(set(k)) > 3),
    n=st.integers(2, 4),
    seed=st.integers(0, 3),
)
def test_group_folds_hold_each_group_out_once(keys: list[int], n: int, seed: int) -> None:
    """A group is in one test side and otherwise trained on, and the seed alone decides."""
    groups = np.array([f"g{key}" for key in keys], dtype=object)
    split = GroupSplit("key", seed=seed)

    folds = split.folds(dataset(groups), n)

    assert len(folds) == n
    for fold in folds:
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert len(fold.train) + len(fold.test) == len(groups)
    held_out = [group for fold in folds for group in sorted(set(groups[fold.test]))]
    assert sorted(held_out) == sorted(set(groups))
    again = split.folds(dataset(groups), n)
    assert [fold.test.tolist() for fold in folds] == [fold.test.tolist() for fold in again]


def test_group_folds_are_about_as_large() -> None:
    """A thousand groups of one row make five folds of about two hundred."""
    folds = GroupSplit("key").folds(dataset(np.arange(1000.0)), 5)

    assert [len(fold.test) for fold in folds] == [200] * 5


@pytest.mark.parametrize(
    "keys", [np.array(["a", None, "b"], dtype=object), np.array([1.0, np.nan, 2.0])]
)
def test_group_split_refuses_rows_without_a_group(keys: Any) -> None:
    """A row of nobody cannot be kept away from the other side."""
    with pytest.raises(DataError, match="some rows have no 'key'"):
        GroupSplit("key").split(dataset(keys))


@given(
    n_positive=st.integers(5, 30),
    n_negative=st.integers(5, 60),
    n=st.integers(2, 5),
    seed=st.integers(0, 3),
)
def test_random_folds_keep_the_share_of_each_class(
    n_positive: int, n_negative: int, n: int, seed: int
) -> None:
    """Each row is held out once, and each fold has its part of each class to within a row."""
    y = np.random.default_rng(seed).permutation([1.0] * n_positive + [0.0] * n_negative)

    folds = RandomSplit(reason="exchangeable", seed=seed).folds(
        dataset([0] * len(y), y, "binary"), n
    )

    held_out = np.concatenate([fold.test for fold in folds])
    assert sorted(held_out.tolist()) == list(range(len(y)))
    for fold in folds:
        assert abs(y[fold.test].sum() - n_positive / n) < 1
        assert abs(len(fold.test) - len(y) / n) < 1


@pytest.mark.parametrize(
    ("split", "n"),
    [(TimeSplit("key"), 2), (GroupSplit("key"), 3), (RANDOM, 3)],
)
def test_folds_refuse_a_table_of_two_rows(split: Split, n: int) -> None:
    """Two rows make no such folds; the remedy is fewer of them."""
    with pytest.raises(DataError, match="fewer folds"):
        split.folds(dataset([1.0, 2.0]), n)


@pytest.mark.parametrize(
    ("split", "y"),
    [
        (TimeSplit("key"), [0, 1, 0, 1, 0, 1, 1, 1, 1]),
        (GroupSplit("key"), [0, 0, 0, 0, 0, 0, 0, 1, 0]),
        (RANDOM, [0, 0, 0, 0, 0, 0, 0, 1, 0]),
    ],
)
def test_folds_refuse_a_fold_of_one_class(split: Split, y: list[int]) -> None:
    """The message names the side, the fold and what to change."""
    with pytest.raises(
        DataError, match=r"the \d rows of the [a-z-]+ side have one class; in fold \d of 2; ask for"
    ):
        split.folds(dataset(np.arange(9.0), y, "binary"), 2)


@pytest.mark.parametrize(("split", "n"), [(TimeSplit("t"), 0), (GroupSplit("g"), 1), (RANDOM, 1.5)])
def test_folds_refuse_an_impossible_number(split: Split, n: Any) -> None:
    """A number of folds is whole and leaves something to train on."""
    with pytest.raises(DeclarationError, match=r"folds\(n\): expected a whole number"):
        split.folds(dataset([1.0, 2.0]), n)


def test_default_split_goes_by_the_one_timestamp() -> None:
    """A record with one time is split by it, with the gap asked for."""
    columns = (Column(name="at", kind="timestamp"), Column(name="x", kind="number"))

    assert default_split(columns, gap_seconds=60.0) == TimeSplit("at", gap_seconds=60.0)


@pytest.mark.parametrize(
    ("names", "found"), [((), "no timestamp"), (("a", "b"), r"2 timestamps \(a, b\)")]
)
def test_default_split_is_never_random(names: tuple[str, ...], found: str) -> None:
    """Without exactly one time the declaration must choose."""
    columns = [Column(name=name, kind="timestamp") for name in names]

    with pytest.raises(DeclarationError, match=rf"{found}.*RandomSplit\(reason=\.\.\.\)"):
        default_split(columns)


def test_describe_sides_shows_ranges_shares_and_shared_entities() -> None:
    """A reader sees when each side was, how many were positive and who stands on both."""
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC).timestamp()
    cards = np.array(["a", "b", "a", "c", None, "a", None, "d"], dtype=object)
    table = Dataset(
        kind="binary",
        columns={"card": cards},
        y=np.array([0.0, 1, 0, 1, 0, 1, 1, 0]),
        extra={"at": start + DAY * np.arange(8.0)},
        n_read=8,
    )
    sides = {"train": np.arange(4), "calibration": np.array([4]), "test": np.arange(5, 8)}

    found = describe_sides(table, sides, time="at", entity="card")

    assert found["sides"][0] == {
        "side": "train",
        "n": 4,
        "from": "2020-01-01T00:00:00+00:00",
        "until": "2020-01-04T00:00:00+00:00",
        "positives": 0.5,
    }
    assert [side["n"] for side in found["sides"]] == [4, 1, 3]
    assert found["shared_entities"] == {
        "column": "card",
        "n": 1,
        "share_of_test_rows": pytest.approx(1 / 3),
    }


def test_describe_sides_of_tables_says_the_same() -> None:
    """A test table of its own is described like rows held out."""
    table = dataset(np.array([1.0, 2, 2, 3]), [0, 1, 1, 0], "binary")
    sides = {"train": np.array([0, 1]), "test": np.array([2, 3])}

    found = describe_tables(
        {name: table.take(rows) for name, rows in sides.items()}, time="key", entity="key"
    )

    assert found == describe_sides(table, sides, time="key", entity="key")
    assert found["sides"][0]["from"] == "1"
    assert found["shared_entities"]["share_of_test_rows"] == 0.5


def test_describe_sides_leaves_out_what_does_not_apply() -> None:
    """A regression has no positives; without a time and an entity neither is told."""
    found = describe_sides(dataset([1.0, 2.0]), {"train": np.array([0]), "test": np.array([1])})

    assert found == {"sides": [{"side": "train", "n": 1}, {"side": "test", "n": 1}]}


def test_describe_sides_knows_no_range_without_times() -> None:
    """A side whose times are all missing has no first and no last moment."""
    found = describe_sides(dataset([np.nan]), {"train": np.array([0])}, time="key")

    assert found == {"sides": [{"side": "train", "n": 1, "from": None, "until": None}]}


def test_describe_sides_refuses_a_column_that_was_not_read() -> None:
    """The remedy is the argument that reads it."""
    with pytest.raises(DataError, match=r"read it with extra=\['card'\]"):
        describe_sides(dataset([1.0]), {"train": np.array([0])}, entity="card")


def test_moment_text_keeps_the_days_of_a_number_apart() -> None:
    """A day written as a number, such as 20240110, is not rounded to its month."""
    assert [moment_text(day) for day in (20240110.0, 20240111.0)] == ["20240110", "20240111"]
    assert moment_text(0.5) == "0.5"


def test_moment_text_survives_times_beyond_the_calendar() -> None:
    """A moment that no calendar holds is shown as a number."""
    assert moment_text(1e15) == "1e+15"
    assert moment_text(-2e9) == "1906-08-16T20:26:40+00:00"


def test_describe_sides_tells_dates_near_1970_as_such() -> None:
    """Sides of one table are told in one way: where one end is a date, all of them are."""
    years = np.array([1969.5, 1971.5, 1975.5, 1979.5])
    table = dataset((years - 1970) * 365.25 * DAY)

    sides = describe_sides(
        table, {"train": np.array([0, 1]), "test": np.array([2, 3])}, time="key"
    )["sides"]

    assert [(side["from"][:4], side["until"][:4]) for side in sides] == [
        ("1969", "1971"),
        ("1975", "1979"),
    ]
