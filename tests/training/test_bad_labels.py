"""Labels that are missing, infinite, of one class or told by the features, trained to the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlembed.errors import DataError, GateError
from mlembed.training import Binary, Checks, Multiclass
from training.orders import RANDOM, Order, declare, declare_weight, orders, rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

TABLE = orders(600)
ANSWERS = TABLE["returned"].tolist()
BY_TIME = np.argsort(TABLE["placed"])
TOLERANT = Checks(max_rejected=0.5)


class Twin(Order):
    """An order that knows the answer."""

    twin: str


def labelled(values: Sequence[Any] | NDArray[Any], name: str = "returned") -> Mapping[str, Any]:
    """Return the orders with other labels."""
    cells = np.empty(len(values), dtype=object)
    cells[:] = values
    return {**TABLE, name: cells}


@pytest.mark.parametrize("missing", [None, "", math.nan])
def test_train_sets_rows_without_a_label_aside(missing: Any) -> None:
    """However a missing label is written, its row is counted and neither class."""
    table = labelled([missing if i % 20 == 0 else value for i, value in enumerate(ANSWERS)])

    made = declare(checks=TOLERANT).train(table)

    assert made.rejected == {"label is missing": 30}
    assert made.n_train + made.n_test == 570


@pytest.mark.parametrize("infinite", [math.inf, -math.inf, "inf"])
def test_train_sets_infinite_labels_aside(infinite: Any) -> None:
    """An infinite outcome is no proof that something did not happen."""
    label = Binary("returned", positive=1)
    table = labelled([infinite if i % 20 == 0 else v == "yes" for i, v in enumerate(ANSWERS)])

    made = declare(label=label, checks=TOLERANT).train(table)

    assert made.rejected == {"label is neither class": 30}


def test_train_sets_quantities_without_a_number_aside() -> None:
    """Missing and infinite quantities, as numbers or as text, never reach an estimator."""
    bad = [math.nan, None, math.inf, "-inf", "many"]
    values = [bad[i // 20 % 5] if i % 20 == 0 else v for i, v in enumerate(TABLE["weight"])]

    made = declare_weight(checks=TOLERANT).train(labelled(values, "weight"))

    assert sum(made.rejected.values()) == 30
    assert set(made.rejected) == {
        "label is missing",
        "label is not finite",
        "label is not a number",
    }
    assert math.isfinite(made.metrics["rmse"])


def test_train_stops_where_many_labels_are_missing() -> None:
    """A table without a tenth of its labels is not what was meant, unless that was declared."""
    table = labelled([None if i % 10 == 0 else value for i, value in enumerate(ANSWERS)])

    with pytest.raises(DataError, match=r"10\.0% of 600 rows .* label is missing .* Checks"):
        declare().train(table)


ONE_CLASS: dict[str, tuple[Any, int, str]] = {
    "throughout": (slice(None), 1, "has one class: no good row is positive"),
    "to train on": (BY_TIME[:450], 1, "the 450 rows of the training side have one class"),
    "held out": (BY_TIME[450:], 1, "the 150 rows of the held-out side have one class"),
    "in a fold": (BY_TIME[:150], 3, "in fold 1 of 3; ask for fewer folds"),
}


@pytest.mark.parametrize("case", ONE_CLASS)
def test_train_refuses_a_side_of_one_class(case: str) -> None:
    """Wherever a class is lacking, the message says on which side."""
    where, folds, words = ONE_CLASS[case]
    values = np.array(ANSWERS, dtype=object)
    values[where] = "no"

    with pytest.raises(DataError, match=words):
        declare(folds=folds).train(labelled(values))


def test_train_refuses_a_table_of_its_own_with_one_class() -> None:
    """A test table of one class measures nothing."""
    with pytest.raises(DataError, match="has one class"):
        declare().train(TABLE, test=labelled(["no"] * 600))


def test_train_refuses_classes_of_one_row() -> None:
    """A label with a class a row is a name, and no row of it can be held out."""
    table = rows(labelled([f"class {i}" for i in range(600)]), slice(0, 60))

    with pytest.raises(DataError, match="of 60 rows none would be on the held-out side"):
        declare(label=Multiclass("returned"), split=RANDOM).train(table)


def test_train_refuses_quantities_too_large_to_square() -> None:
    """Metrics sum squares: 1e300 would make them infinite, which no report can show."""
    with pytest.raises(DataError, match=r"beyond 1e\+140"):
        declare_weight().train(labelled(TABLE["weight"] * 1e300, "weight"))


def test_train_keeps_quantities_too_small_to_square() -> None:
    """Subnormal quantities are learnt like others; the proof holds for them."""
    made = declare_weight().train({**TABLE, "weight": TABLE["weight"] * 1e-310})

    assert made.proof.passed
    assert all(map(math.isfinite, made.metrics.values()))


def test_train_refuses_a_constant_quantity() -> None:
    """Nothing is better than a constant where the truth is one, so nothing is made."""
    with pytest.raises(GateError, match="is better than median"):
        declare_weight().train(labelled([3.0] * 600, "weight"))


def test_train_warns_of_a_copy_of_the_label() -> None:
    """A feature that is the label is said to be one, and a dropped one is not in the model."""
    made = declare(record=Twin).train({**TABLE, "twin": TABLE["returned"]})

    leaks = {(leak["column"], leak["action"]) for leak in made.evaluation["leakage"]}
    assert leaks == {("twin", "warned")}
    assert made.metrics["roc_auc"] == 1.0


def test_train_reads_a_label_of_mixed_types() -> None:
    """Text, truth values and numbers that say the same are one label."""
    said = {"yes": ["yes", True, 1, " yes "], "no": ["no", False, 0, "no"]}
    table = labelled([said[value][i % 4] for i, value in enumerate(ANSWERS)])

    made = declare().train(table)

    assert made.bundle.files["model.onnx"] == declare().train(TABLE).bundle.files["model.onnx"]


@pytest.mark.parametrize("name", ["y", "n", "v0", "reason", "problem", 'a"b', "a'b\n", "x" * 9999])
def test_train_takes_a_label_of_any_name(name: str) -> None:
    """What a column is called has nothing to do with the names that the reading uses itself."""
    name = name.strip()
    table = {key: values for key, values in TABLE.items() if key != "returned"}

    made = declare(label=Binary(name, positive="yes")).train({**table, name: TABLE["returned"]})

    assert made.bundle.manifest.task.label == name
