"""A declaration and a table become a proven bundle, or a clear error."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.ensemble import AdaBoostClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

import mlembed
from mlembed.errors import DataError, DeclarationError, GateError, LoweringError
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns
from mlembed.testing import InMemoryRegistry
from mlembed.training import Gates, Regression
from visits import Visit, trainer, visits

if TYPE_CHECKING:
    from mlembed.settings import Settings
    from mlembed.training import Candidate


def _records(table: dict[str, Any]) -> dict[str, Any]:
    return {name: table[name] for name in Visit.model_fields}


def _estimator_scores(candidate: Candidate, table: dict[str, Any]) -> np.ndarray[Any, Any]:
    fitted = candidate.fitted
    x, _ = encode_columns(Encoder("test", fitted.columns), _records(table))
    features = Session(fitted.features_model).run_matrix(x)
    scores: np.ndarray[Any, Any] = fitted.estimator.predict_proba(features)[:, 1]
    return scores


@pytest.mark.parametrize("position", [0, 1])
def test_train_serves_what_the_estimator_says(position: int, settings: Settings) -> None:
    """A host that loads the bundle gets the estimator's own probabilities, for each candidate."""
    declared = trainer()
    candidate = trainer(candidates=[declared.candidates[position]]).train(visits(2000))
    registry = InMemoryRegistry()
    registry.publish(candidate.bundle)
    unseen = visits(500, seed=9)
    unseen["source"][:5] = "a source of its own"

    served = mlembed.load("visits", registry=registry, settings=settings)

    scores = served.predict_batch(_records(unseen)).scores
    assert np.abs(scores - _estimator_scores(candidate, unseen)).max() <= 1e-9


def test_train_chooses_by_the_metric() -> None:
    """The candidate with the best validation metric is fitted; the contest is kept."""
    candidate = trainer().train(visits(2000))

    best = max(candidate.contest, key=lambda name: candidate.contest[name])
    assert len(candidate.contest) == 3  # the baseline among them
    assert candidate.fitted.name == best
    assert candidate.bundle.json("evaluation.json")["contest"]["candidates"] == candidate.contest


def test_train_measures_on_a_table_of_its_own() -> None:
    """With a test table every row of the first trains and every row of the second measures."""
    candidate = trainer().train(visits(1000), test=visits(400, seed=1))

    assert (candidate.n_train, candidate.n_test) == (1000, 400)
    assert candidate.bundle.json("reference.json")["n"] == 400


def test_train_refuses_a_table_to_measure_on_that_lost_its_rows() -> None:
    """Rows of that table that break a rule are counted too: the rest may be a biased choice."""
    heldout = visits(200, seed=1)
    heldout["ordered"][:100] = None

    with pytest.raises(DataError, match="of the table to measure on 50"):
        trainer().train(visits(1200), test=heldout)


def test_train_gives_the_same_graph_twice() -> None:
    """The seed decides everything: two runs give the same model and golden rows."""
    first, second = (trainer().train(visits(800)).bundle for _ in range(2))

    assert first.files["model.onnx"] == second.files["model.onnx"]
    assert first.files["golden.json"] == second.files["golden.json"]


def test_train_fits_a_quantity() -> None:
    """A regression label gives a regression bundle with its unit, and errors as metrics."""
    table = visits(1500)
    table["value"] = table["minutes"] * 2 + np.nan_to_num(table["basket"])
    declared = trainer(
        label=Regression("value", unit="EUR"),
        candidates=[HistGradientBoostingRegressor(categorical_features="from_dtype", max_iter=30)],
    )

    candidate = declared.train(table)

    assert candidate.bundle.manifest.task.kind == "regression"
    assert candidate.bundle.manifest.task.unit == "EUR"
    assert {"mae", "rmse", "wape"} <= set(candidate.metrics)


def test_train_refuses_what_misses_the_floor() -> None:
    """Below the declared floor there is no bundle, and the message holds both values."""
    with pytest.raises(
        GateError, match=r"floor: roc_auc at least 0\.9900 was asked, found roc_auc 0\.\d+"
    ):
        trainer(gates=Gates(floor=0.99)).train(visits(800))


def test_train_refuses_an_estimator_that_did_not_converge() -> None:
    """A fit that stopped too early is an error with the remedy, not a warning."""
    with pytest.raises(DataError, match=r"did not converge.*max_iter"):
        trainer(candidates=[LogisticRegression(max_iter=1)]).train(visits(800))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"metric": "mae"}, DeclarationError, "does not suit a binary label; expected one of"),
        ({"candidates": []}, DeclarationError, "at least one candidate"),
        ({"candidates": [AdaBoostClassifier()]}, LoweringError, "AdaBoostClassifier"),
        ({"features": ["minutes", "nonsense"]}, LoweringError, "'nonsense' is no column"),
        ({"name": "No Such Name"}, DeclarationError, "name"),
        ({"version": "one"}, DeclarationError, "major.minor.patch"),
        ({"candidates": [HistGradientBoostingRegressor()]}, DeclarationError, "no classifier"),
        ({"label": Regression("minutes")}, DeclarationError, "told the truth"),
        ({"abstain": (0.9, 0.1)}, DeclarationError, "abstain"),
    ],
)
def test_trainer_refuses_a_bad_declaration(
    changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    """What cannot be published is refused where it is declared, before any data is read."""
    with pytest.raises(error, match=words):
        trainer(**changes)


def test_train_keeps_the_abstain_band() -> None:
    """The manifest carries the band, and a host gets no label within it."""
    candidate = trainer(abstain=(0.2, 0.8)).train(visits(800))

    assert candidate.bundle.manifest.task.abstain == (0.2, 0.8)


def test_training_names_the_extra_it_needs() -> None:
    """Without the trainer's libraries the error names the extra to install."""
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from mlembed.errors import MissingExtraError\n"
        "try:\n    from mlembed.training import Trainer\n"
        "except MissingExtraError as error:\n    print(error)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "pip install 'mlembed[train]'" in done.stdout
