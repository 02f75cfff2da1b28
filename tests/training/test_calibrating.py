"""Calibration, threshold and interval are settled on rows of their own, and served as settled."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier

from mlembed.errors import DataError, GateError
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns
from mlembed.training import (
    Binary,
    ByCapacity,
    ByCost,
    ByPrecision,
    ByRecall,
    GroupSplit,
    Interval,
    Multiclass,
    TimeSplit,
    lowering,
)
from mlembed.training.calibrating import settling_sides
from mlembed.training.folds import Fold
from training.orders import (
    HOUR,
    RANDOM,
    declare,
    declare_weight,
    orders,
    own_scores,
    records,
    rows,
    serve,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.settings import Settings
    from mlembed.training import Candidate, Trainer
    from mlembed.training.threshold import Rule

    Floats = NDArray[np.float64]
    Rows = NDArray[np.intp]

N = 4000
TABLE = orders(N)
UNSEEN = orders(400, seed=7)
# Members return, mostly: two scores, neither of which is sure.
ORDERLY = {**TABLE, "member": (TABLE["returned"] == "yes") ^ (np.arange(N) % 4 == 0)}
METHODS = ("sigmoid", "isotonic", "temperature")
# Each is wrong about its own certainty: too little regularised, or too much.
CANDIDATES: dict[str, Any] = {
    "linear": LogisticRegression(C=1e-3, max_iter=1000),
    "boosting": HistGradientBoostingClassifier(
        categorical_features="from_dtype", max_iter=60, learning_rate=0.5, min_samples_leaf=2
    ),
    "forest": RandomForestClassifier(
        n_estimators=20, max_depth=4, max_features=1, min_samples_leaf=100
    ),
}


@functools.cache
def trained(name: str, method: Any) -> Candidate:
    """Return a candidate that is not calibrated, or is by *method*."""
    # A linear model competes anyway, so each is alone with one that it beats or is.
    return declare(candidates=[CANDIDATES[name]], calibration=method, metric="roc_auc").train(TABLE)


def matrix(candidate: Candidate, table: dict[str, Any]) -> Floats:
    """Return the features of *table* by the bundle's own graph."""
    fitted = candidate.fitted
    x, _ = encode_columns(Encoder("test", fitted.columns), records(table))
    return Session(fitted.features_model).run_matrix(x)


def sides(trainer: Trainer, table: dict[str, Any]) -> tuple[Rows, Rows, Rows]:
    """Return row numbers of the fit, of the later rows and of those held out."""
    whole = trainer.read(table)
    outer = trainer.held_out_by.split(whole)
    inner = settling_sides(trainer, whole.take(outer.train))
    return outer.train[inner.train], outer.train[inner.test], outer.test


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CANDIDATES)
def test_calibrated_scores_are_served(name: str, method: str, settings: Settings) -> None:
    """A host gets the calibrated estimator's own probabilities, and they are better calibrated."""
    plain, calibrated = trained(name, None), trained(name, method)

    served = serve(calibrated.bundle, settings).predict_batch(records(UNSEEN)).scores

    assert isinstance(calibrated.fitted.estimator, CalibratedClassifierCV)
    assert np.abs(served - own_scores(calibrated, matrix(calibrated, UNSEEN))).max() <= 1e-9
    errors = [one.evaluation["calibration_error"] for one in (plain, calibrated)]
    assert errors[1] < errors[0] - 0.01


def test_calibration_is_fitted_on_later_rows_alone() -> None:
    """The base estimator knows the older rows, its calibrator the newer ones, as by hand."""
    trainer = declare(candidates=[CANDIDATES["forest"]], calibration="sigmoid")
    candidate = trained("forest", "sigmoid")
    older, later, heldout = sides(trainer, TABLE)
    x, y = matrix(candidate, TABLE), (TABLE["returned"] == "yes").astype(int)
    base = RandomForestClassifier(**{**CANDIDATES["forest"].get_params(), "random_state": 0})

    by_hand = CalibratedClassifierCV(FrozenEstimator(base.fit(x[older], y[older])))
    by_hand.fit(x[later], y[later])

    expected = by_hand.predict_proba(x[heldout])[:, 1]
    np.testing.assert_allclose(own_scores(candidate, x[heldout]), expected, rtol=0, atol=1e-12)


@hypothesis.settings(max_examples=20)
@given(n=st.integers(40, 200), share=st.floats(0.1, 0.5), gap=st.floats(0, 5))
def test_settling_rows_are_later_by_time(n: int, share: float, gap: float) -> None:
    """By time the rows to settle on are newer than all that are fitted on, by more than the gap."""
    split = TimeSplit("placed", gap_seconds=gap * HOUR)
    trainer = declare_weight(split=split, settling_share=share, interval=Interval())
    table = orders(n, seed=n % 4)

    older, later, heldout = sides(trainer, table)

    times = [table["placed"][side] for side in (older, later, heldout)]
    assert times[1].min() - times[0].max() > gap * HOUR
    assert times[2].min() - times[1].max() > gap * HOUR
    assert abs(len(later) - share * (n - len(heldout))) <= gap + 2


def test_settling_rows_are_past_a_named_moment() -> None:
    """A first moment to hold out does not name the rows to settle on, which are older than it."""
    moment = float(np.quantile(TABLE["placed"], 0.6))
    trainer = declare(split=TimeSplit("placed", since=moment), threshold=ByRecall(0.5))

    _, later, heldout = sides(trainer, TABLE)

    assert TABLE["placed"][later].max() < moment
    assert TABLE["placed"][heldout].min() >= moment
    assert len(later) == pytest.approx(0.2 * (N - len(heldout)), abs=1)


@hypothesis.settings(max_examples=20)
@given(n=st.integers(80, 200), seed=st.integers(0, 5))
def test_settling_rows_are_of_other_groups(n: int, seed: int) -> None:
    """By group no group that is settled on is fitted on, or measured on."""
    trainer = declare_weight(split=GroupSplit("customer", seed=seed), interval=Interval())
    table = orders(n, seed=n % 4)

    parts = [set(table["customer"][side].tolist()) for side in sides(trainer, table)]

    assert all(parts)
    assert len(set.union(*parts)) == sum(map(len, parts))


@pytest.mark.parametrize("split", [TimeSplit("placed"), GroupSplit("customer"), RANDOM])
def test_settling_rows_are_of_no_other_side(split: Any) -> None:
    """Every row stands on one side at most, whatever the split."""
    parts = sides(declare(split=split, calibration="sigmoid"), TABLE)

    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together) == N


def test_nothing_is_held_back_where_nothing_is_settled() -> None:
    """Without calibration, rule or interval every training row is fitted on."""
    table = declare().read(TABLE)

    sides = settling_sides(declare(), table)

    assert (len(sides.train), len(sides.test)) == (N, 0)


class Halves:
    """A split of a user's own, without a share to change."""

    columns = ("placed",)

    def split(self, dataset: Any) -> Fold:
        """Return the older and the newer half."""
        order = np.argsort(dataset.extra["placed"])
        return Fold(np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :]))

    def folds(self, dataset: Any, n: int) -> tuple[Fold, ...]:
        """Return the one fold, *n* times."""
        return (self.split(dataset),) * n


def test_settling_goes_by_a_split_of_ones_own() -> None:
    """A rule that mlembed does not know cuts the training rows as it cut the table."""
    older, later, heldout = sides(declare(split=Halves(), calibration="sigmoid"), TABLE)

    assert (len(older), len(later), len(heldout)) == (N // 4, N // 4, N // 2)
    assert TABLE["placed"][older].max() < TABLE["placed"][later].min()


RULES: dict[str, Rule] = {
    "cost": ByCost(false_positive=12.0, false_negative="loss", review=1.0),
    "capacity": ByCapacity(share=0.1),
    "rows": ByCapacity(rows=40),
    "precision": ByPrecision(0.75),
    "recall": ByRecall(0.8),
}


@pytest.mark.parametrize("name", RULES)
def test_threshold_is_what_the_rule_gives_on_later_rows(name: str, settings: Settings) -> None:
    """The manifest and the served labels go by the rule's threshold on the later rows."""
    rule = RULES[name]
    trainer = declare(threshold=rule)
    _, later, _ = sides(trainer, TABLE)

    candidate = trainer.train(TABLE)

    task, told = candidate.bundle.manifest.task, candidate.evaluation["threshold"]
    batch = serve(candidate.bundle, settings).predict_batch(records(rows(TABLE, later)))
    positive = batch.scores >= task.threshold
    assert task.threshold == told["value"]
    assert told["rule"] == rule.__class__.__name__.removeprefix("By").lower()
    assert positive.sum() == told["detail"]["labelled"]
    assert list(batch.labels) == positive.tolist()
    _is_best(name, rows(TABLE, later), batch.scores, positive)


def _is_best(name: str, table: dict[str, Any], scores: Floats, positive: Any) -> None:
    """Try every other threshold by brute force."""
    y = table["returned"] == "yes"
    others = [scores >= score for score in np.unique(scores)]
    if name == "cost":
        costs = [
            (np.where(label & ~y, 12.0, 0) + np.where(~label & y, table["loss"], 0) + label).mean()
            for label in (positive, *others)
        ]
        assert costs[0] == pytest.approx(min(costs))
    if name in ("capacity", "rows"):
        most = len(y) // 10 if name == "capacity" else 40
        assert positive.sum() == max(label.sum() for label in others if label.sum() <= most)
    if name == "precision":
        kept = [label.sum() for label in others if y[label].mean() >= 0.75]
        assert positive.sum() == max(kept)
    if name == "recall":
        kept = [label.sum() for label in others if y[label].sum() >= 0.8 * y.sum()]
        assert positive.sum() == min(kept)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (ByPrecision(1.0), "no threshold has a precision of 1"),
        (ByCapacity(rows=1, per=5000), "rows are too few: the capacity is less than one row"),
        (ByCost(false_positive=1e9, false_negative=1.0), "by cost labels none of the 600 later"),
        (ByCost(false_positive=1.0, false_negative=1e9), "by cost labels .+ of the 600 later"),
        (ByCapacity(share=1.0), "by capacity labels every one of the 600 later rows"),
        (ByPrecision(0.01), "by precision labels every one of the 600 later rows"),
    ],
)
def test_threshold_that_cannot_be_had_stops_the_run(rule: Rule, words: str) -> None:
    """A rule that no threshold keeps, or that needs no model, is an error: there is no next best."""
    with pytest.raises((GateError, DataError), match=words):
        declare(threshold=rule, features=["member"]).train(ORDERLY)


def test_threshold_and_calibration_go_together(settings: Settings) -> None:
    """The threshold is of calibrated scores, as they are served."""
    candidate = declare(
        candidates=[CANDIDATES["forest"]], calibration="sigmoid", threshold=ByCapacity(share=0.2)
    ).train(TABLE)

    batch = serve(candidate.bundle, settings).predict_batch(records(UNSEEN))

    share = np.mean(batch.scores >= candidate.bundle.manifest.task.threshold)
    assert share == pytest.approx(0.2, abs=0.08)
    assert candidate.evaluation["folds"]["sides"][1]["side"] == "calibration"


def test_calibration_needs_enough_rows_of_each_class() -> None:
    """Too few later rows of a class are an error that says what to do."""
    table = orders(400)
    newest = np.argsort(-table["placed"])[:160]
    table["returned"][newest] = "no"
    table["returned"][newest[[5, 60, 100, 130]]] = "yes"

    with pytest.raises(
        DataError, match=r"'sigmoid' on the 60 later rows needs 5 of each class, one has 2"
    ):
        declare(calibration="sigmoid").train(table)


class Mute(LogisticRegression):  # type: ignore[misc]  # scikit-learn has no types
    """An estimator that has probabilities, and fails at what they are calibrated by."""

    def predict_proba(self, x: Any) -> Any:
        """Return the probabilities."""
        positive = 1 / (1 + np.exp(-(x @ self.coef_[0] + self.intercept_[0])))
        return np.column_stack([1 - positive, positive])

    def decision_function(self, _x: Any) -> Any:
        """Fail."""
        raise ValueError("nothing to say\nof this")


def test_calibration_that_fails_says_what_was_tried() -> None:
    """What scikit-learn refuses is told in one line, with what to do."""
    family = lowering.family_of(LogisticRegression())
    lowering.register(Mute, decision=family.decision)(family.lower)
    declared = declare(
        candidates=[Mute(max_iter=2000)], features=["log_total", "member"], calibration="sigmoid"
    )

    with pytest.raises(DataError, match=r"later rows failed: nothing to say[^\n]*another method$"):
        declared.train(TABLE)


def test_threshold_of_the_estimator_is_served() -> None:
    """What an estimator carries as its own threshold is the label's, unless that declares one."""
    estimator = FixedThresholdClassifier(LogisticRegression(max_iter=1000), threshold=0.3)
    label = Binary("returned", positive="yes", threshold=0.4)
    candidates = {"candidates": [estimator], "features": ["total", "member"]}

    own = declare(**candidates).train(TABLE)

    assert own.bundle.manifest.task.threshold == 0.3
    assert own.evaluation["threshold"] == {"rule": "estimator", "value": 0.3, "detail": {}}
    assert declare(**candidates, label=label).train(TABLE).bundle.manifest.task.threshold == 0.4
    with pytest.raises(GateError, match=r"own threshold is 1\.5, so every row would get one label"):
        declare(
            candidates=[FixedThresholdClassifier(LogisticRegression(), threshold=1.5)],
            features=["total", "member"],
        ).train(TABLE)


def test_calibration_needs_every_class_among_the_later_rows() -> None:
    """Of several classes none may be missing where the calibrator is fitted."""
    table = orders(900)
    third = np.searchsorted(np.quantile(table["total"], [1 / 3, 2 / 3]), table["total"])
    newest = np.argsort(-table["placed"])
    third[newest[225:360]] = np.minimum(third[newest[225:360]], 1)
    table["kind"] = np.array(["a", "b", "c"], dtype=object)[third]

    with pytest.raises(DataError, match=r"135 later rows has no row of class 'c'"):
        declare(label=Multiclass("kind"), calibration="temperature").train(table)


def test_interval_is_served_and_covers(settings: Settings) -> None:
    """Exchangeable truths lie inside the served interval about as often as it says."""
    candidate = declare_weight(interval=Interval(0.8), settling_share=0.4).train(TABLE)
    unseen = orders(4000, seed=11)

    model = serve(candidate.bundle, settings)

    ends = model.predict_batch(records(unseen)).intervals
    assert ends is not None
    inside = (ends[:, 0] <= unseen["weight"]) & (unseen["weight"] <= ends[:, 1])
    # 1,200 calibration rows and 4,000 others: three deviations of their difference.
    assert abs(inside.mean() - 0.8) < 3 * np.sqrt(0.8 * 0.2 * (1 / 1200 + 1 / 4000))
    one = model.predict({name: values[0] for name, values in records(unseen).items()})
    assert one.interval == pytest.approx(tuple(ends[0]))
    told = candidate.evaluation["interval"]
    assert (told["n_calibration"], told["level"]) == (1200, 0.8)
    assert candidate.bundle.manifest.task.interval is not None
    assert candidate.bundle.manifest.task.interval.above == told["above"]


def test_interval_needs_enough_rows() -> None:
    """A level that the later rows cannot keep is an error with the number that is needed."""
    with pytest.raises(DataError, match="needs at least 99 calibration rows, there are 60"):
        declare_weight(interval=Interval(0.99)).train(orders(400))


@pytest.mark.parametrize("method", METHODS)
def test_several_classes_are_calibrated(method: Any, settings: Settings) -> None:
    """Each method serves several classes as the calibrated estimator has them."""
    third = np.searchsorted(np.quantile(TABLE["total"], [1 / 3, 2 / 3]), TABLE["total"])
    table = {**TABLE, "kind": np.array(["a", "b", "c"], dtype=object)[third]}
    label = {"label": Multiclass("kind"), "features": ["days", "log_total"]}

    candidate = declare(**label, calibration=method).train(rows(table, slice(900)))

    assert isinstance(candidate.fitted.estimator, CalibratedClassifierCV)
    theirs = candidate.fitted.estimator.predict_proba(matrix(candidate, UNSEEN))
    served = serve(candidate.bundle, settings).predict_batch(records(UNSEEN))
    assert np.abs(served.scores - theirs.max(axis=1)).max() <= 1e-9
    assert list(served.labels) == [("a", "b", "c")[place] for place in theirs.argmax(axis=1)]
