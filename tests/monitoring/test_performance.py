"""A metric comes with an interval, and with a refusal where it cannot be had."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import toy_bundle
from mlembed.monitoring import bootstrap
from mlembed.monitoring.log import LoggedOutcome
from mlembed.monitoring.metrics import METRICS
from mlembed.monitoring.outcomes import join
from mlembed.monitoring.performance import Comparison, Performance, compare, realised
from mlembed.monitoring.policy import Policy
from monitoring.scenes import toy_log

TASK = toy_bundle().manifest.task
POLICY = Policy(resamples=200)


def labelled(n: int, quality: float, seed: int = 0) -> tuple[Any, Any]:
    """Return labels and scores that agree the more the higher *quality* is."""
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.4) * 1.0
    return y, 1 / (1 + np.exp(-(quality * (y - 0.5) + random.normal(0, 1, n))))


def judged(
    y: Any, scores: Any, promised: float | None, metric: str = "roc_auc", **options: Any
) -> Performance:
    """Return the realised metric of a log in which every row has an outcome."""
    outcomes = [LoggedOutcome(f"id-{i}", "", v, 2**60, None, 0) for i, v in enumerate(y)]
    n = len(y)
    arrays = options.pop("arrays", {})
    log = toy_log(n, **{"score": np.asarray(scores, dtype=float), "outcomes": outcomes, **arrays})
    policy = options.pop("policy", POLICY)
    return realised(log, join(log), TASK, metric, promised, policy, **options)


@given(
    name=st.sampled_from(sorted(METRICS)),
    seed=st.integers(0, 1_000),
    n=st.integers(2, 40),
    ties=st.integers(2, 30),
)
def test_measure_equals_the_metric_of_repeated_rows(
    name: str, seed: int, n: int, ties: int
) -> None:
    """A weight of k means the same as k copies of the row, ties in the scores included."""
    random = np.random.default_rng(seed)
    y: Any = (random.random(n) < 0.5) * 1.0
    if METRICS[name].kind == "regression":
        y = random.normal(size=n)
    scores = np.round(random.random(n) * ties) / ties
    counts = random.integers(0, 4, n)
    rows = np.repeat(np.arange(n), counts)

    value = bootstrap.measure(name, y, scores, 0.5)(counts.astype(float))

    if not rows.size or (METRICS[name].needs_both and len(set(y[rows])) < 2):
        assert np.isnan(value)
    else:
        assert value == pytest.approx(METRICS[name].of(y[rows], scores[rows], 0.5), abs=1e-9)


def test_measure_serves_a_metric_it_has_no_short_cut_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric added later is measured on copies of the rows, slower but the same."""
    monkeypatch.setitem(METRICS, "renamed", METRICS["mae"])
    y, scores, weights = np.arange(4.0), np.ones(4), np.array([0.0, 1.0, 2.0, 1.0])

    value = bootstrap.measure("renamed", y, scores, 0.5)(weights)

    assert value == bootstrap.measure("mae", y, scores, 0.5)(weights)


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of many 95 % intervals about one in twenty misses the true error rate."""
    random = np.random.default_rng(1)
    missed = 0
    y: Any
    for _ in range(200):
        y = (random.random(150) < 0.3) * 1.0
        of = bootstrap.measure("error", y, np.zeros(150), 0.5)
        ends = bootstrap.interval(bootstrap.resample([of], 150, 200, 0)[:, 0])
        assert ends is not None
        missed += not ends[0] <= 0.3 <= ends[1]

    assert 1 <= missed <= 25


def test_compare_finds_the_better_model() -> None:
    """A clearly better challenger has a positive difference whose interval excludes 0."""
    y, old = labelled(600, 1.0)
    _, new = labelled(600, 4.0)

    found = compare(y, old, new, "roc_auc", 0.5)

    assert (found.state, found.n) == ("ok", 600)
    assert found.champion == pytest.approx(METRICS["roc_auc"].of(y, old, 0.5))
    assert found.challenger == pytest.approx(METRICS["roc_auc"].of(y, new, 0.5))
    assert found.low is not None
    assert found.difference is not None
    assert found.high is not None
    assert 0 < found.low < found.difference < found.high


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_compare_counts_better_as_positive(metric: str) -> None:
    """Positive means better whether the metric is to be high or low."""
    y, worse = labelled(300, 0.5)
    better = np.clip(y * 0.9 + 0.05, 0, 1)

    found = compare(y, worse, better, metric, 0.5, resamples=50)

    assert found.low is not None
    assert found.low > 0


def test_compare_pairs_the_rows() -> None:
    """Two models that agree on every row differ by nothing, with no doubt about it."""
    y, scores = labelled(300, 1.0)

    found = compare(y, scores, scores.copy(), "log_loss", 0.5, resamples=50)

    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)


def test_compare_is_repeatable() -> None:
    """The same rows and seed give the same interval."""
    y, old = labelled(200, 1.0)
    _, new = labelled(200, 2.0)

    assert compare(y, old, new, "brier", 0.5) == compare(y, old, new, "brier", 0.5)
    assert compare(y, old, new, "brier", 0.5) != compare(y, old, new, "brier", 0.5, seed=1)


def test_compare_applies_each_models_threshold() -> None:
    """Where a decision is measured, each model is measured with the threshold it serves with."""
    y = np.array([0.0, 1.0] * 50)
    scores = 0.2 + 0.1 * y

    found = compare(y, scores, scores, "error", 0.25, challenger_threshold=0.5, resamples=20)

    assert (found.champion, found.challenger) == (0.0, 0.5)
    assert found.to_json()["difference"] == -0.5


@pytest.mark.parametrize(
    ("y", "n"), [([], 0), ([1.0] * 50, 50), ([np.nan] * 5, 0), ([0.0] * 9 + [np.nan], 9)]
)
def test_compare_of_one_class_is_insufficient(y: list[float], n: int) -> None:
    """Where the metric has no value the comparison says so instead of failing."""
    scores = np.linspace(0, 1, len(y))

    found = compare(np.array(y), scores, scores, "roc_auc", 0.5)

    assert found == Comparison(state="insufficient", metric="roc_auc", n=n)


def test_compare_with_hardly_any_of_one_class_is_insufficient() -> None:
    """An interval from the few resamples that are defined would be a biased choice."""
    y = np.array([1.0, 0.0])

    found = compare(y, np.array([0.1, 0.2]), np.array([0.2, 0.1]), "roc_auc", 0.5)

    assert found.state == "insufficient"
    assert (found.challenger, found.low) == (1.0, None)


def test_realised_confirms_the_promise() -> None:
    """A model as good as promised is ok, and its interval holds the promise."""
    y, scores = labelled(800, 2.0)
    promised = METRICS["roc_auc"].of(*labelled(5_000, 2.0, seed=9), 0.5)

    found = judged(y, scores, promised, n_reference=5_000)

    assert (found.state, found.n, found.unusable) == ("ok", 800, 0)
    assert found.value == pytest.approx(METRICS["roc_auc"].of(y, scores, 0.5))
    assert found.low is not None
    assert found.high is not None
    assert found.low < promised < found.high


@pytest.mark.parametrize(("metric", "promised"), [("roc_auc", 0.95), ("log_loss", 0.3)])
def test_realised_alerts_where_the_model_is_worse(metric: str, promised: float) -> None:
    """A clear loss against the promise is an alert, whichever way the metric points."""
    found = judged(*labelled(800, 1.0), promised, metric)

    assert found.state == "alert"
    assert "worse than promised" in found.note


@pytest.mark.parametrize(("metric", "promised"), [("roc_auc", 0.6), ("log_loss", 3.0)])
def test_realised_is_content_with_a_better_model(metric: str, promised: float) -> None:
    """More than was promised is never an alert."""
    assert judged(*labelled(800, 2.0), promised, metric).state == "ok"


def test_realised_forgives_what_chance_explains() -> None:
    """A loss within the reach of chance is told, and is no alert."""
    y, scores = labelled(100, 1.5)
    value = METRICS["roc_auc"].of(y, scores, 0.5)

    found = judged(y, scores, value + 0.06)

    assert found.state == "ok"
    assert "chance could explain it" in found.note


def test_realised_allows_for_the_chance_in_the_promise() -> None:
    """A promise measured on few rows is not held against the model like one on many."""
    y, scores = labelled(2_000, 1.5)
    promised = METRICS["roc_auc"].of(y, scores, 0.5) + 0.06

    assert judged(y, scores, promised, n_reference=100_000).state == "alert"
    assert judged(y, scores, promised, n_reference=100).state == "ok"


@pytest.mark.parametrize(
    ("y", "note"),
    [([], "0 joined"), ([True] * 200, "one class"), ([True, False] * 20, "40 joined")],
)
def test_realised_is_insufficient_without_enough_truth(y: list[bool], note: str) -> None:
    """No, too few or one-sided outcomes are neither good news nor an alert."""
    found = judged(y, np.linspace(0, 1, len(y)), 0.9)

    assert found.state == "insufficient"
    assert note in found.note


def test_realised_is_insufficient_where_all_quantities_are_nothing() -> None:
    """An error in proportion to quantities that are all 0 has no value, and the note says so."""
    task = toy_bundle(kind="regression").manifest.task
    log = toy_log(3, outcomes=[LoggedOutcome(f"id-{i}", "", 0.0, 2**60, None, 0) for i in range(3)])

    found = realised(log, join(log), task, "wape", 0.2, POLICY)

    assert (found.state, found.value) == ("insufficient", None)
    assert found.note == "wape is undefined: all 3 outcomes are 0"


def test_realised_leaves_out_what_is_no_answer() -> None:
    """Fallbacks, rows without a score and outcomes that are no label do not count."""
    y, scores = [True, False, True, True, "", 7.0], [0.9, 0.1, 0.5, np.nan, 0.5, 0.5]
    reason = np.array(["ok", "abstain", "fallback", "ok", "ok", "ok"], dtype=object)

    found = judged(y, scores, 0.9, policy=Policy(min_outcomes=2), arrays={"reason": reason})

    assert (found.n, found.unusable, found.value) == (2, 2, 1.0)


def test_realised_weighs_sampled_rows() -> None:
    """A row logged at a rate of one in four counts four times."""
    y, scores = [True] * 100 + [False] * 100, np.full(200, 0.9)
    weights = np.r_[np.full(100, 4.0), np.ones(100)]

    found = judged(y, scores, None, "error", arrays={"weights": weights})

    assert found.value == pytest.approx(0.2)
    assert found.note == "the bundle promises nothing to compare with"


def test_realised_keeps_quiet_where_nothing_changed() -> None:
    """Over many windows of an unchanged model at most one in twenty alerts."""
    alerts = 0
    for seed in range(100):
        promised = METRICS["roc_auc"].of(*labelled(400, 1.5, seed=1_000 + seed), 0.5)
        found = judged(
            *labelled(150, 1.5, seed), promised, n_reference=400, policy=Policy(resamples=60)
        )
        alerts += found.state == "alert"

    assert alerts <= 5
