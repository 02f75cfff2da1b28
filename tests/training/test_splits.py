"""Held-out rows are held out by rule: nothing that belongs together is torn apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlembed.errors import DataError, DeclarationError
from mlembed.training.dataset import Dataset
from mlembed.training.splits import Fold, GroupSplit, RandomSplit, Split, TimeSplit

RANDOM = RandomSplit(reason="rows are exchangeable")
KEYS = st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda keys: len(set(keys)) > 1)
SHARES = st.floats(0.01, 0.99)


def dataset(extra: Any = (), y: Any = None, kind: Any = "regression") -> Dataset:
    """Return a table with a column `key`."""
    keys = np.asarray(extra)
    labels = (
        np.arange(len(keys), dtype=np.float64) if y is None else np.asarray(y, dtype=np.float64)
    )
    return Dataset(kind=kind, columns={}, y=labels, extra={"key": keys}, n_read=len(labels))


def assert_whole(fold: Fold, n: int) -> None:
    """Each row stands on one side, in increasing order."""
    assert len(fold.train)
    assert len(fold.test)
    assert sorted([*fold.train, *fold.test]) == list(range(n))
    for rows in (fold.train, fold.test):
        assert (np.diff(rows) > 0).all()


@given(keys=KEYS, share=SHARES)
def test_time_split_holds_out_the_newest(keys: list[int], share: float) -> None:
    """Every row held out is newer than every row trained on, and no other cut is nearer."""
    times = np.array(keys, dtype=np.float64)

    fold = TimeSplit("key", test=share).split(dataset(times))

    assert_whole(fold, len(times))
    assert times[fold.train].max() < times[fold.test].min()
    reached = abs(len(fold.test) - share * len(times))
    for moment in np.unique(times)[1:]:
        assert reached <= abs((times >= moment).sum() - share * len(times)) + 1e-9


@given(keys=KEYS, share=SHARES, seed=st.integers(0, 5), text=st.booleans())
def test_group_split_never_tears_a_group(
    keys: list[int],
    share: float,
    seed: int,
    text: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    """A group stands on one side, and the same seed gives the same sides."""
    groups = np.array([f"g{key}" for key in keys], dtype=object) if text else np.array(keys, float)
    split = GroupSplit("key", test=share, seed=seed)

    fold = split.split(dataset(groups))

    assert_whole(fold, len(groups))
    assert not set(groups[fold.train]) & set(groups[fold.test])
    np.testing.assert_array_equal(fold.test, split.split(dataset(groups)).test)


def test_group_split_keeps_most_groups_on_their_side_as_the_table_grows() -> None:
    """A group's place does not depend on the other groups, only the cut does."""
    split = GroupSplit("key")
    small, large = np.arange(1000.0), np.arange(1100.0)

    before = set(small[split.split(dataset(small)).test])
    after = set(large[split.split(dataset(large)).test])

    assert abs(len(after) - 275) <= 1
    assert len(before - after) < 25


def test_group_split_follows_its_seed() -> None:
    """Another seed holds out other groups."""
    table = dataset(np.arange(100.0))

    folds = [GroupSplit("key", seed=seed).split(table).test.tolist() for seed in (0, 1)]

    assert folds[0] != folds[1]


@given(
    y=st.lists(st.sampled_from([0.0, 1.0]), min_size=4, max_size=80),
    share=SHARES,
    seed=st.integers(0, 5),
)
def test_random_split_keeps_the_share_of_each_class(
    y: list[float], share: float, seed: int
) -> None:
    """Both sides have both classes, in the table's proportion to within a row."""
    assume(min(y.count(0.0), y.count(1.0)) > 1)
    labels = np.array(y)
    split = RandomSplit(test=share, reason="exchangeable", seed=seed)

    fold = split.split(dataset([0] * len(y), y, "binary"))

    assert_whole(fold, len(y))
    for label in (0.0, 1.0):
        n = y.count(label)
        assert abs((labels[fold.test] == label).sum() - n * share) <= 1
    np.testing.assert_array_equal(fold.test, split.split(dataset([0] * len(y), y, "binary")).test)


def test_random_split_draws_quantities_plainly() -> None:
    """A regression label is not stratified, even where it holds zeros and ones alone."""
    fold = RANDOM.split(dataset([0] * 40, [0.0] * 39 + [1.0]))

    assert (len(fold.train), len(fold.test)) == (30, 10)


@pytest.mark.parametrize(
    ("split", "columns"),
    [(RANDOM, ()), (TimeSplit("t"), ("t",)), (GroupSplit("g"), ("g",))],
)
def test_split_names_the_columns_it_needs(split: Split, columns: tuple[str, ...]) -> None:
    """The trainer reads these columns beside the record's."""
    assert split.columns == columns


@pytest.mark.parametrize("split", [TimeSplit("key"), GroupSplit("key")])
def test_split_refuses_a_table_of_one_block(split: Split) -> None:
    """One moment or one group cannot stand on two sides."""
    with pytest.raises(DataError, match=r"of 3 rows none would be on the held-out side; more rows"):
        split.split(dataset([1.0, 1.0, 1.0]))


def test_random_split_refuses_a_single_row() -> None:
    """One row cannot be trained on and measured on."""
    with pytest.raises(DataError, match="of 1 rows none would be on the"):
        RANDOM.split(dataset([0]))


@pytest.mark.parametrize(
    ("split", "y"),
    [
        (TimeSplit("key"), [0, 1, 0, 1, 1, 1, 1, 1]),
        (TimeSplit("key"), [0, 0, 0, 0, 0, 0, 1, 0]),
        (GroupSplit("key"), [0, 0, 0, 0, 0, 0, 0, 1]),
        (RANDOM, [0, 0, 0, 0, 0, 0, 0, 1]),
    ],
)
def test_split_refuses_a_side_of_one_class(split: Split, y: list[int]) -> None:
    """A measure on one class says nothing, so the split says it cannot be."""
    with pytest.raises(
        DataError, match=r"the \d rows of the (training|held-out) side have one class"
    ):
        split.split(dataset(np.arange(8.0), y, "binary"))


def test_time_split_refuses_text() -> None:
    """Text has no order in time; the values are not shown."""
    with pytest.raises(DataError, match="'key' are neither numbers nor ISO 8601 times") as raised:
        TimeSplit("key").split(dataset(np.array(["secret", "b"], dtype=object)))

    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("split", [TimeSplit("other"), GroupSplit("other")])
def test_split_refuses_a_table_read_without_its_column(split: Split) -> None:
    """The remedy is the argument that reads it."""
    with pytest.raises(DataError, match=r"read without 'other'; read it with extra=\['other'\]"):
        split.split(dataset([1.0, 2.0]))


@pytest.mark.parametrize(
    "declare",
    [
        lambda: TimeSplit("t", test=0.0),
        lambda: GroupSplit("g", test=1.0),
        lambda: RandomSplit(test=-0.1, reason="x"),
        lambda: TimeSplit("t", test="0.2"),  # type: ignore[arg-type]  # the mistake under test
        lambda: RandomSplit(reason=" "),
        lambda: RandomSplit(reason=None),  # type: ignore[arg-type]  # the mistake under test
    ],
)
def test_split_refuses_an_impossible_declaration(declare: Any) -> None:
    """A share lies between 0 and 1, and a random split owes its reason."""
    with pytest.raises(DeclarationError, match=r"Split\((test|reason)=\.\.\.\): "):
        declare()


@pytest.mark.parametrize(
    "times",
    [
        (1.6e9 + np.linspace(0.0, 1e8, 60)) * 1000,
        [20240100.0 + day for day in range(1, 29)],
    ],
    ids=["milliseconds", "dates as numbers"],
)
def test_gap_of_seconds_needs_times_in_seconds(times: Any) -> None:
    """A month would be less than an hour of a clock that counts milliseconds."""
    rows = dataset(times)

    with pytest.raises(DataError, match=r"milliseconds, or dates .*give seconds since 1970"):
        TimeSplit("key", gap_seconds=86_400.0).split(rows)
    assert len(TimeSplit("key").split(rows).test)


def test_gap_of_seconds_takes_the_end_of_time() -> None:
    """One row of the year 9999 makes no milliseconds of the others."""
    times = [*(1.6e9 + 86_400.0 * np.arange(60)), 253_402_214_400.0]

    assert len(TimeSplit("key", gap_seconds=86_400.0).split(dataset(times)).test)


def test_gap_of_seconds_goes_with_small_numbers() -> None:
    """Whoever counts seconds from a start of their own may have a gap as well."""
    assert len(TimeSplit("key", gap_seconds=1.0).split(dataset(range(40))).test)
