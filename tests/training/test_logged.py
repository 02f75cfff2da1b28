"""Outcomes become the labels of a training table, whatever kind of label they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mlembed.errors import DataError
from mlembed.training.labels import Binary, Multiclass, Regression
from mlembed.training.logged import as_given, read_outcomes

REPORTED: list[Any] = ["tram", "bus", "bus", 3.0, None]


def test_outcomes_of_classes_are_learnt() -> None:
    """Classes that were not declared are those that were reported; a missing outcome is no label."""
    label, y = read_outcomes(Multiclass("mode"), REPORTED)

    assert label == Multiclass("mode", classes=("3", "bus", "tram"))
    assert y == pytest.approx([2.0, 1.0, 1.0, 0.0, math.nan], nan_ok=True)
    assert as_given(label, y[:-1]).tolist() == ["tram", "bus", "bus", "3"]


def test_outcomes_of_declared_classes_add_none() -> None:
    """Where classes are declared an outcome beyond them is no label."""
    declared = Multiclass("mode", classes=["bus", "tram"])

    label, y = read_outcomes(declared, REPORTED)

    assert label is declared
    assert y == pytest.approx([1.0, 0.0, 0.0, math.nan, math.nan], nan_ok=True)


def test_outcomes_of_one_class_are_refused() -> None:
    """Outcomes that all say the same teach nothing."""
    with pytest.raises(DataError, match="expected 2 to 1000 classes, the training rows hold 1"):
        read_outcomes(Multiclass("mode"), ["bus", "bus"])


@pytest.mark.parametrize(
    ("label", "values", "expected"),
    [
        (Binary("y", positive="yes"), ["yes", "no", True, None], [1.0, 0.0, 1.0, math.nan]),
        (Regression("y"), [1.5, "2", "a"], [1.5, 2.0, math.nan]),
    ],
)
def test_other_outcomes_are_numbers(label: Any, values: list[Any], expected: list[float]) -> None:
    """A class of two is 0 or 1 and a quantity itself, and so the table holds them."""
    found, y = read_outcomes(label, values)

    assert found is label
    assert y == pytest.approx(expected, nan_ok=True)
    assert as_given(label, np.nan_to_num(y)).tolist() == np.nan_to_num(expected).tolist()
