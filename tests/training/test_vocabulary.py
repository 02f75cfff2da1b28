"""Vocabularies follow the training rows and the column's own rule."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.columns import Category, Column
from mlembed.errors import DataError
from mlembed.serving.encoder import Encoder
from mlembed.serving.tables import encode_columns
from mlembed.training.dataset import Dataset
from mlembed.training.vocabulary import learn, require_known

VALUES = [*"dd", "e", *"aaa", *"cc", *"bbbb", None]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=2)


def dataset(values: list[Any]) -> Dataset:
    """Return a table with the category `job`."""
    cells = np.empty(len(values), dtype=object)
    cells[:] = values
    y = np.zeros(len(values))
    return Dataset(kind="regression", columns={"job": cells}, y=y, n_read=len(values))


def learnt(values: list[Any], **rule: Any) -> Column:
    """Return the column learnt from *values*."""
    column = Column(name="job", kind="category", nullable=True, rule=Category(**rule))
    (found,) = learn([column], dataset(values))
    return found


@pytest.mark.parametrize(
    ("rule", "vocabulary", "rare"),
    [
        ({"min_count": 1}, "bacde", False),
        ({"min_count": 2}, "bacd", True),
        ({"min_count": 3}, "ba", True),
        ({"min_count": 5}, "", True),
        ({"min_count": 1, "max_size": 3}, "bac", True),
        ({"min_count": 2, "unknown": "missing"}, "bacd", False),
        ({"min_count": 9, "unknown": "error"}, "bacde", False),
    ],
)
def test_learn_follows_the_rule(rule: dict[str, Any], vocabulary: str, rare: bool) -> None:  # noqa: FBT001  a parameter of the test
    """The most frequent values get codes, ties in alphabetical order; the rest is rare."""
    column = learnt(VALUES, **rule)

    assert (column.vocabulary, column.rare) == (tuple(vocabulary), rare)


@given(
    values=st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=60),
    unknown=st.sampled_from(["rare", "missing", "error"]),
    min_count=st.integers(1, 4),
)
def test_learn_makes_columns_that_encode_their_own_rows(
    values: list[Any], unknown: str, min_count: int
) -> None:
    """Training rows encode to their code, the rare bucket, or missing, without an error."""
    try:
        column = learnt(values, unknown=unknown, min_count=min_count)
    except DataError as error:
        assert "has no value to learn" in str(error)  # noqa: PT017  other rows teach something
        return

    matrix, _ = encode_columns(Encoder("toy", [column]), dataset(values).columns)

    counts = Counter(values)
    for value, code in zip(values, matrix[:, 0].tolist(), strict=True):
        if value is None:
            assert math.isnan(code)
        elif unknown == "error" or counts[value] >= min_count:
            assert column.vocabulary[int(code)] == value
        elif unknown == "rare":
            assert code == len(column.vocabulary)
        else:
            assert math.isnan(code)


def test_learn_keeps_declared_vocabularies_and_other_kinds() -> None:
    """What is declared is not learnt again."""
    columns = (
        Column(name="job", kind="category", vocabulary=("z", "a"), declared=True),
        Column(name="age", kind="number"),
    )

    assert learn(columns, dataset(["a", "b"])) == columns


def test_learn_refuses_too_many_values_where_none_may_be_unknown() -> None:
    """A value without a code would be an error when served, so training stops."""
    with pytest.raises(DataError, match=r"'job' has 5 values .*raise max_size \(to 250 at most\)"):
        learnt(VALUES, unknown="error", max_size=4)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([None, None], {"unknown": "error"}),
        (list("abc"), {"min_count": 2, "unknown": "missing"}),
    ],
)
def test_learn_refuses_a_category_without_codes(values: list[Any], rule: dict[str, Any]) -> None:
    """Values that all lose their code, or no value where each must have one, are a mistake."""
    with pytest.raises(DataError, match=r"category 'job' has no value to learn.*min_count"):
        learnt(values, **rule)


def test_learn_keeps_an_all_missing_category_without_codes() -> None:
    """It may be missing and always is: any value served is missing to the model too."""
    column = learnt([None, None])

    matrix, _ = encode_columns(Encoder("toy", [column]), dataset([None, "new"]).columns)

    assert (column.vocabulary, column.rare, column.n_codes) == ((), False, 0)
    assert np.isnan(matrix).all()


def test_learn_refuses_an_empty_column_that_is_never_missing() -> None:
    """A column that owes a value and has none cannot be learnt."""
    with pytest.raises(DataError, match=r"category 'job' has no value to learn"):
        learn([Column(name="job", kind="category")], dataset([]))


@pytest.mark.parametrize(("unknown", "code"), [("rare", 2.0), ("missing", math.nan)])
def test_learn_meets_a_category_first_seen_in_the_test_fold(unknown: str, code: float) -> None:
    """It is rare or missing to the model, as it will be when served."""
    column = learnt([*"aabb", "c"], min_count=2, unknown=unknown)

    matrix, _ = encode_columns(Encoder("toy", [column]), dataset(["a", "new"]).columns)

    require_known([column], dataset(["a", "new"]))
    np.testing.assert_array_equal(matrix[:, 0], [0.0, code])


def test_require_known_refuses_what_may_not_be_unknown() -> None:
    """The message counts the rows, names the column and the remedy, and shows no value."""
    column = learnt(list("ab"), unknown="error")

    require_known([column], dataset([*"ab", None]))
    with pytest.raises(DataError, match=r"'job' \(2 rows\).*unknown='rare'") as raised:
        require_known([column], dataset(["a", "secret", "secret", None]))

    assert "secret" not in str(raised.value)


def test_learn_takes_more_values_than_trees_have_room_for() -> None:
    """Beyond the largest vocabulary the rest is rare, however many there are."""
    column = learnt([f"v{i:03}" for i in range(400)] * 2, min_count=1, max_size=250)

    assert (len(column.vocabulary), column.n_codes) == (250, 251)
