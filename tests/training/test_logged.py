"""Outcomes become the labels of a training table, whatever kind of label they are."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bundles import COLUMNS, toy_table
from classes import class_bundle
from mlembed.errors import DataError
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns
from mlembed.training.dataset import Dataset
from mlembed.training.gate import Gate
from mlembed.training.labels import Binary, Multiclass, Regression
from mlembed.training.logged import as_given, read_outcomes
from mlembed.training.retraining import _compare

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


def test_champion_of_other_classes_is_compared() -> None:
    """A champion whose classes stand in another order, or lack one, faces the challenger row by row."""
    champion = class_bundle(classes=("bus", "tram", "walk"))
    challenger = class_bundle(version="2.0.0", classes=("walk", "bus", "tram", "bike"), seed=3)
    heldout = Dataset(
        kind="binary",  # what it holds is all that matters
        columns={name: np.array(cells, dtype=object) for name, cells in toy_table(200).items()},
        y=(np.arange(200) % 4).astype(np.float64),
        n_read=200,
    )
    trainer: Any = SimpleNamespace(metric="error", label=Multiclass("mode"), seed=0, entity="")

    found = _compare(trainer, champion, SimpleNamespace(bundle=challenger), heldout, Gate())  # type: ignore[arg-type]

    model = Session(champion.files["model.onnx"])
    matrix, _ = encode_columns(Encoder("toy", COLUMNS), toy_table(200))
    names = np.array(["bus", "tram", "walk"])[model.run_matrix(matrix).argmax(axis=1)]
    truth = np.array(challenger.manifest.task.classes)[heldout.y.astype(int)]
    assert found is not None
    assert found.champion == pytest.approx(np.mean(names != truth))
    assert (found.state, found.n) == ("ok", 200)
