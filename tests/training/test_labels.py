"""A label reads a table's value and a reported outcome alike."""

from __future__ import annotations

import decimal
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.errors import DataError, DeclarationError
from mlembed.training.labels import Binary, Multiclass, Regression


@pytest.mark.parametrize(
    ("positive", "ones", "zeros", "unclear"),
    [
        (">50K", [">50K", " >50K ", True, 1, 1.0], ["<=50K", ">50K.", False, 0], [2, 0.5]),
        ((">50K", ">50K."), [">50K.", True], ["<=50K.", False], [7]),
        (
            True,
            [True, np.True_, 1, "true", "TRUE", "1", "yes"],
            [False, 0.0, "false", "0"],
            ["a", 7],
        ),
        (False, [False, 0, "False"], [True, 1, "true"], ["a", 2]),
        (1, [1, 1.0, np.int64(1), "1", "1.0", True, decimal.Decimal(1)], [0, 2, "5", False], ["a"]),
        (0, [0, "0", False], [1, True], ["a"]),
        (5, [5, "5", True], [1, 0, "4", False], ["a"]),
        ("1", ["1", "1.0", 1, True], ["0", "a", 0, False], []),
        ("yes", ["yes", "Yes", True, 1], ["no", "maybe", False, 0], []),
        ((4, 5), [4, 5.0, "5"], [3, "3"], ["a"]),
    ],
)
def test_binary_reads_every_way_to_say_a_class(
    positive: Any, ones: list[Any], zeros: list[Any], unclear: list[Any]
) -> None:
    """Bools, numbers and text that say the same are the same class; the rest is unclear."""
    label = Binary("y", positive=positive)

    assert [label.of(value) for value in ones] == [1.0] * len(ones)
    assert [label.of(value) for value in zeros] == [0.0] * len(zeros)
    for value in unclear:
        with pytest.raises(
            DataError, match="label 'y': an outcome is unclear; expected a bool, or"
        ):
            label.of(value)


@pytest.mark.parametrize("value", [None, "", "  ", math.nan, np.nan, decimal.Decimal("NaN")])
def test_labels_refuse_a_missing_outcome(value: Any) -> None:
    """Nothing is no class and no quantity."""
    with pytest.raises(DataError, match="an outcome is missing"):
        Binary("y", positive=1).of(value)
    with pytest.raises(DataError, match="no finite number"):
        Regression("y").of(value)


@pytest.mark.parametrize("value", [[1], {}, object(), 1j, np.array([1, 2])])
def test_labels_refuse_what_is_no_cell(value: Any) -> None:
    """An object that is neither text, number nor bool is no outcome."""
    with pytest.raises(DataError):
        Binary("y", positive="a").of(value)
    with pytest.raises(DataError):
        Regression("y").of(value)


@given(value=st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()))
def test_binary_gives_a_class_or_a_clear_error(value: Any) -> None:
    """Whatever a log holds is 0, 1 or a DataError that does not show it."""
    label = Binary("y", positive="late")

    if isinstance(value, str) and value.strip():
        assert label.of(value) == (value.strip() == "late")
    elif value in (0, 1):
        assert label.of(value) == value
    else:
        with pytest.raises(
            DataError, match=r"label 'y': an outcome is (unclear|missing|not finite); expected"
        ):
            label.of(value)


def test_regression_reads_numbers_and_their_text() -> None:
    """A quantity is a finite number; a bool counts as one, a word does not."""
    label = Regression("y", unit="EUR")

    assert [label.of(value) for value in (2, "2.5", " 1e3 ", np.float32(0.5), True)] == [
        *(2.0, 2.5, 1000.0, 0.5, 1.0)
    ]
    for value in ("much", "inf", math.inf, "true"):
        with pytest.raises(DataError, match="label 'y': an outcome is no finite number"):
            label.of(value)
    assert (label.kind, label.unit, math.isnan(label.threshold)) == ("regression", "EUR", True)


def test_binary_says_its_positive_class_in_words() -> None:
    """Words go into the manifest and the card."""
    assert Binary("y", positive=(">50K", ">50K.")).words == ">50K or >50K."
    assert Binary("y", positive=[True]).words == "true"
    assert Binary("y", positive=1).words == "1"


def test_binary_is_a_value() -> None:
    """Labels compare and pickle by what they declare."""
    label = Binary("y", positive="a", threshold=0.3)
    label.of("a")

    assert pickle.loads(pickle.dumps(label)) == label == Binary("y", positive="a", threshold=0.3)  # noqa: S301  our own bytes
    assert (label.kind, label.column) == ("binary", "y")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positive": ()}, "positive=...): expected a text, a bool or a number"),
        ({"positive": ""}, "positive="),
        ({"positive": None}, "positive="),
        ({"positive": math.nan}, "positive="),
        ({"positive": ("a", None)}, "positive="),
        ({"positive": 1, "threshold": 1.0}, "threshold=...): expected a number between 0 and 1"),
    ],
)
def test_binary_refuses_an_impossible_declaration(options: dict[str, Any], message: str) -> None:
    """What cannot be predicted is refused when it is declared."""
    with pytest.raises(DeclarationError) as raised:
        Binary("y", **options)

    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("classes", "same", "refused"),
    [
        (("bus", "tram"), [["bus", " bus "], ["tram", np.str_("tram")]], ["Bus", 1, True, "b"]),
        ((1, 2, 3), [[1, 1.0, "1", "1.0"], [2, np.int64(2)], [3, decimal.Decimal(3)]], [4, "a"]),
        (("1", "2.50"), [["1", 1], ["2.50", 2.5, "2.5"]], [2, "true", "yes"]),
        ((True, False), [[True, "true", np.True_], [False, "false"]], ["yes", 1, 0]),
        ((0.5, "half"), [[0.5, "0.5", ".5"], ["half"]], [5, "Half"]),
        (("1.0", "1.00"), [["1.0", 1, "1"], ["1.00"]], [2]),
    ],
)
def test_multiclass_reads_every_way_to_say_a_class(
    classes: Any, same: list[list[Any]], refused: list[Any]
) -> None:
    """Text and numbers are the same class where they say the same; what is none is refused."""
    label = Multiclass("mode", classes=classes)

    for place, values in enumerate(same):
        assert [label.of(value) for value in values] == [place] * len(values)
    for value in refused:
        with pytest.raises(DataError, match=r"label 'mode': an outcome is none of the classes"):
            label.of(value)
    assert (label.kind, math.isnan(label.threshold)) == ("multiclass", True)


@pytest.mark.parametrize("value", [None, math.nan, "", "  ", np.nan, math.inf, [], object()])
def test_multiclass_refuses_what_is_no_class(value: Any) -> None:
    """A missing or strange outcome is refused, and its value is not shown."""
    with pytest.raises(DataError, match="expected one of bus, tram") as caught:
        Multiclass("mode", classes=["bus", "tram"]).of(value)

    assert "inf" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["tram", "bus", None, " tram", math.nan, "bus"], ("bus", "tram")),
        ([10, 2.0, "1", np.int64(2)], ("1", "2", "10")),
        (["10", "9", "a"], ("10", "9", "a")),
        ([True, False], ("false", "true")),
        (["nan", "2", "10"], ("10", "2", "nan")),
    ],
)
def test_multiclass_learns_its_classes_sorted(values: list[Any], classes: tuple[str, ...]) -> None:
    """Classes come in the order of texts, or of numbers where all are; what is none is left out."""
    label = Multiclass("mode").learn(values)

    assert label.classes == classes
    assert label.learn(["other", "more"]) is label
    assert pickle.loads(pickle.dumps(label)) == label  # noqa: S301  ours


@pytest.mark.parametrize("n", [0, 1, 1001])
def test_multiclass_refuses_to_learn_what_no_bundle_holds(n: int) -> None:
    """One class is no choice, and more than a thousand no classes."""
    with pytest.raises(DataError, match=rf"2 to 1000 classes, the training rows hold {n}"):
        Multiclass("mode").learn([f"class {number}" for number in range(n)])


@pytest.mark.parametrize(
    "classes", ["bus", ["bus"], [], ["a", "a "], [1, "1"], ["a", None], ["a", ""], range(1001)]
)
def test_multiclass_refuses_a_declaration_of_no_classes(classes: Any) -> None:
    """Declared classes are texts, numbers or bools, each once."""
    with pytest.raises(DeclarationError, match=r"Multiclass\('mode', classes=...\): expected 2 to"):
        Multiclass("mode", classes=classes)


def test_multiclass_without_classes_reads_nothing() -> None:
    """Before the classes are learnt no outcome has a place."""
    with pytest.raises(DataError, match="expected classes to be given, or learnt"):
        Multiclass("mode").of("bus")
