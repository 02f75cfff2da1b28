"""A column survives its way through a bundle, and a hostile one never gets in."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.columns import KINDS, MAX_CODES, UNKNOWN_RULES, Category, Column, is_finite_number
from mlembed.errors import DeclarationError

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True)
RULES = st.builds(
    Category,
    unknown=st.sampled_from(UNKNOWN_RULES),
    min_count=st.integers(1, 10**6),
    max_size=st.integers(1, MAX_CODES),
)
SHARED = {"name": NAMES, "nullable": st.booleans(), "unit": st.text(), "rule": RULES}
QUANTITIES = st.builds(
    Column,
    **SHARED,
    kind=st.sampled_from([kind for kind in KINDS if kind != "category"]),
    minimum=st.none() | FINITE,
    maximum=st.none() | FINITE,
    exclusive_minimum=st.booleans(),
    exclusive_maximum=st.booleans(),
)
CATEGORIES = st.builds(
    Column,
    **SHARED,
    kind=st.just("category"),
    vocabulary=st.lists(st.text(), unique=True).map(tuple),
    declared=st.booleans(),
    rare=st.booleans(),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = tuple(Column.__dataclass_fields__)


@given(column=QUANTITIES | CATEGORIES)
def test_column_json_round_trip(column: Column) -> None:
    """A column reads back equal from its JSON text."""
    text = json.dumps(column.to_json(), allow_nan=False)

    assert Column.from_json(json.loads(text)) == column


def test_column_to_json_leaves_defaults_out() -> None:
    """What is not said is the default, so that a manifest stays short."""
    column = Column(name="age", kind="number", minimum=0.0)

    assert column.to_json() == {"name": "age", "kind": "number", "minimum": 0.0}


@given(
    data=st.dictionaries(st.sampled_from(KEYS) | st.text(), JSON)
    | st.fixed_dictionaries(
        {"name": NAMES, "kind": st.sampled_from(KINDS)},
        optional={key: JSON for key in KEYS if key not in ("name", "kind")},
    )
)
def test_column_from_json_refuses_or_understands(data: dict[str, Any]) -> None:
    """Whatever JSON arrives, it is a column of the right types or a `DeclarationError`."""
    try:
        column = Column.from_json(data)
    except DeclarationError:
        return

    assert Column.from_json(column.to_json()) == column
    assert column.allows(1.0) in (True, False)
    assert isinstance(column.range_text, str)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "name",
        5,
        {},
        {"name": "x"},
        {"kind": "number"},
        {"name": "x", "kind": "number", "colour": "red"},
        {"name": 5, "kind": "number"},
        {"name": True, "kind": "number"},
        {"name": "two words", "kind": "number"},
        {"name": "x" * 10 + "\0", "kind": "number"},
        {"name": ["x"], "kind": "number"},
        {"name": "x", "kind": ["number"]},
        {"name": "x", "kind": "tensor"},
        {"name": "x", "kind": None},
        {"name": "x", "kind": "number", "nullable": 1},
        {"name": "x", "kind": "number", "nullable": "false"},
        {"name": "x", "kind": "number", "minimum": "0"},
        {"name": "x", "kind": "number", "minimum": True},
        {"name": "x", "kind": "number", "minimum": math.nan},
        {"name": "x", "kind": "number", "maximum": math.inf},
        {"name": "x", "kind": "number", "maximum": 10**400},
        {"name": "x", "kind": "number", "unit": None},
        {"name": "x", "kind": "number", "vocabulary": ["a"]},
        {"name": "x", "kind": "number", "rare": True},
        {"name": "x", "kind": "category", "vocabulary": "abc"},
        {"name": "x", "kind": "category", "vocabulary": {"a": 1}},
        {"name": "x", "kind": "category", "vocabulary": [1, 2]},
        {"name": "x", "kind": "category", "vocabulary": ["a", "a"]},
        {"name": "x", "kind": "category", "vocabulary": [["a"]]},
        {"name": "x", "kind": "category", "rule": []},
        {"name": "x", "kind": "category", "rule": {"unknown": "guess"}},
        {"name": "x", "kind": "category", "rule": {"unknown": []}},
        {"name": "x", "kind": "category", "rule": {"min_count": "10"}},
        {"name": "x", "kind": "category", "rule": {"min_count": 1.5}},
        {"name": "x", "kind": "category", "rule": {"max_size": MAX_CODES + 1}},
        {"name": "x", "kind": "category", "rule": {"max_size": 10**400}},
        {"name": "x", "kind": "category", "rule": {"colour": "red"}},
    ],
    ids=lambda data: str(data)[:80],
)
def test_column_from_json_refuses_hostile_input(data: Any) -> None:
    """Wrong types, huge numbers, nested values and unknown keys are all one error."""
    with pytest.raises(DeclarationError):
        Column.from_json(data)


def test_column_from_json_lists_every_problem() -> None:
    """All that is wrong with a column stands in one message, without the values."""
    data = {"name": "secret name", "kind": "secret kind", "unit": 5, "minimum": "secret"}

    with pytest.raises(DeclarationError) as caught:
        Column.from_json(data)

    text = str(caught.value)
    assert all(word in text for word in ("name must", "kind must", "unit must", "minimum and"))
    assert "secret" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        {"unknown": "guess"},
        {"min_count": 0},
        {"max_size": 0},
        {"max_size": MAX_CODES + 1},
        {"min_count": "3"},
    ],
    ids=str,
)
def test_category_refuses_the_impossible(arguments: dict[str, Any]) -> None:
    """A rule that no vocabulary could follow is refused where it is written."""
    with pytest.raises(DeclarationError, match="Category"):
        Category(**arguments)


@pytest.mark.parametrize(
    ("rule", "rare", "code"),
    [("rare", True, 2.0), ("rare", False, math.nan), ("missing", True, math.nan)],
)
def test_column_unknown_code(rule: Any, rare: bool, code: float) -> None:  # noqa: FBT001  a case
    """An unknown value shares the rare bucket where there is one, else it is missing."""
    column = Column(
        name="x", kind="category", vocabulary=("a", "b"), rare=rare, rule=Category(unknown=rule)
    )

    assert column.unknown_code == pytest.approx(code, nan_ok=True)
    assert column.n_codes == 2 + rare


def test_column_unknown_code_of_an_error_rule() -> None:
    """Under `error` an unknown value has no code."""
    column = Column(name="x", kind="category", rule=Category(unknown="error"))

    assert column.unknown_code is None


@given(
    low=st.none() | FINITE,
    high=st.none() | FINITE,
    open_low=st.booleans(),
    open_high=st.booleans(),
    value=FINITE,
)
def test_column_allows_what_its_range_says(
    low: float | None,
    high: float | None,
    open_low: bool,  # noqa: FBT001  drawn
    open_high: bool,  # noqa: FBT001  drawn
    value: float,
) -> None:
    """An end belongs to the range unless it is excluded; a missing end is infinity."""
    column = Column(
        name="x",
        kind="number",
        minimum=low,
        maximum=high,
        exclusive_minimum=open_low,
        exclusive_maximum=open_high,
    )
    above = low is None or (value > low if open_low else value >= low)
    below = high is None or (value < high if open_high else value <= high)

    assert column.allows(value) == (above and below)


@pytest.mark.parametrize(
    ("value", "good"),
    [(1, True), (1.5, True), (True, False), ("1", False), (math.nan, False), (10**400, False)],
)
def test_is_finite_number(value: Any, good: bool) -> None:  # noqa: FBT001  a case
    """Only an int or float that a double can hold is a finite number."""
    assert is_finite_number(value) == good
