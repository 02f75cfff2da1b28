"""A model of several classes is judged by its labels: how often, and for which class, it is wrong."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

import mlembed
from bundles import toy_rows, toy_table
from classes import CLASSES, class_bundle, drawn
from mlembed.bundle.bundle import pack
from mlembed.bundle.manifest import Task
from mlembed.errors import MonitoringError
from mlembed.monitoring.log import read_log
from mlembed.monitoring.monitor import Report, monitor
from mlembed.monitoring.multiclass import CLASS_METRICS, aligned, evaluate_classes, measure
from mlembed.monitoring.outcomes import labels_of
from mlembed.monitoring.policy import Policy
from mlembed.monitoring.report import render
from mlembed.telemetry.source import LABEL
from mlembed.testing import InMemoryRegistry

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.settings import Settings

N = 400
POLICY = Policy(resamples=200, min_rows=100, min_outcomes=100)
TASK = Task(kind="multiclass", label="mode", classes=("1", "bus", "true"))


def served(
    bundle: Bundle, settings: Settings, seed: int = 0, *, shuffled: bool = False
) -> mlembed.Model:
    """Return a model that answered a table, and heard what really happened."""
    registry = InMemoryRegistry()
    registry.publish(bundle)
    model = mlembed.load("toy", registry=registry, settings=settings)
    batch = model.predict_batch(toy_table(N, seed))
    assert batch.probabilities is not None
    truth = drawn(batch.probabilities, 1)
    if shuffled:
        truth = np.random.default_rng(0).permutation(truth)
    for name, place in zip(batch.ids, truth.tolist(), strict=True):
        model.outcome(name, bundle.manifest.task.classes[place])
    return model


def judged(
    bundle: Bundle, model: mlembed.Model, settings: Settings, policy: Policy = POLICY
) -> Report:
    """Return the report on *bundle* after what *model* did."""
    assert model.flush()
    return monitor(bundle, read_log(settings.log_dir, "toy"), policy=policy)


def of_sklearn(y: Any, p: Any, n_classes: int) -> dict[str, float]:
    """Return the metrics as scikit-learn computes them."""
    codes = p.argmax(axis=1)
    return {
        "error": 1 - sk.accuracy_score(y, codes),
        "balanced_error": 1 - np.mean([np.mean(codes[y == place] == place) for place in set(y)]),
        "macro_f1": sk.f1_score(y, codes, average="macro"),
        "log_loss": sk.log_loss(y, p, labels=range(n_classes)),
    }


@given(seed=st.integers(0, 1_000), n=st.integers(1, 40), n_classes=st.integers(2, 6))
def test_class_metrics_are_those_of_sklearn(seed: int, n: int, n_classes: int) -> None:
    """A metric is the library's, and a weight of k means the same as k copies of the row."""
    random = np.random.default_rng(seed)
    y: Any = random.integers(0, n_classes, n).astype(float)
    p = random.dirichlet(np.ones(n_classes), n)
    counts = random.integers(0, 4, n)
    counts[0] = 1
    rows = np.repeat(np.arange(n), counts)

    whole, repeated = of_sklearn(y, p, n_classes), of_sklearn(y[rows], p[rows], n_classes)

    assert evaluate_classes(y, p) == pytest.approx(whole, abs=1e-12)
    for name, value in repeated.items():
        weighted = measure(name, y, p, n_classes)(counts.astype(float))
        assert weighted == pytest.approx(value, abs=1e-12)


def test_class_metrics_of_no_rows_are_no_number() -> None:
    """Where no row was drawn there is nothing to measure."""
    y, p = np.array([0.0, 1.0]), np.array([[0.5, 0.5], [0.1, 0.9]])

    for name in CLASS_METRICS:
        assert np.isnan(measure(name, y, p, 2)(np.zeros(2)))


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (0, [1, 1.0, "1.0", " 1"]),
        (1, ["bus", " bus "]),
        (2, [True, "true"]),
        (None, ["boat", "", None, 2, False, float("nan"), 10**400, []]),
    ],
)
def test_labels_of_reads_classes(place: int | None, values: list[Any]) -> None:
    """An outcome says its class in any of its forms; what is none of them is NaN."""
    labels = labels_of(TASK, values).tolist()

    assert labels == pytest.approx([np.nan if place is None else place] * len(values), nan_ok=True)


def test_monitor_measures_the_error(settings: Settings) -> None:
    """A model that errs as often as it promised is fine, and the interval says how sure that is."""
    bundle = class_bundle()
    model = served(bundle, settings)

    report = judged(bundle, model, settings)

    found = report.performance
    promised = bundle.manifest.metrics["error"]
    assert (found.metric, found.state, found.n, found.promised) == ("error", "ok", N, promised)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(promised, abs=0.1)
    assert report.state == "ok"
    assert report.drifts[0].name == "(score)"
    assert report.drifts[-1].name == LABEL
    assert report.drifts[-1].state == "ok"
    json.dumps(report.to_json(), allow_nan=False)
    assert "error" in render(report)


@pytest.mark.parametrize("metric", ["error", "balanced_error", "macro_f1"])
def test_monitor_alerts_where_labels_are_wrong(metric: str, settings: Settings) -> None:
    """Outcomes that have nothing to do with the answers are an alert, whatever was promised."""
    bundle = class_bundle(metric=metric)
    if metric == "macro_f1":
        reference = bundle.json("reference.json")
        reference["metric"]["value"] = 0.9
        files = {**bundle.files, "reference.json": json.dumps(reference).encode()}
        bundle = pack(bundle.manifest, files)
    model = served(bundle, settings, shuffled=True)

    report = judged(bundle, model, settings)

    assert (report.performance.metric, report.performance.state) == (metric, "alert")
    assert report.exit_code == 1


def test_monitor_says_what_it_cannot_measure(settings: Settings) -> None:
    """A promise about every class's probability cannot be held to the log: the error is, and that is said."""
    bundle = class_bundle(metric="log_loss")
    model = served(bundle, settings)

    found = judged(bundle, model, settings).performance

    assert (found.metric, found.state) == ("error", "ok")
    assert found.promised == bundle.manifest.metrics["error"]
    assert "log_loss needs the probability of every class" in found.note


def test_monitor_refuses_a_metric_of_other_models(settings: Settings) -> None:
    """A metric that classes do not have is named as unknown, with those that they have."""
    bundle = class_bundle(metric="roc_auc")
    model = served(bundle, settings)

    with pytest.raises(MonitoringError, match="expected one of error, balanced_error, macro_f1"):
        judged(bundle, model, settings)


def test_monitor_counts_outcomes_that_are_no_class(settings: Settings) -> None:
    """An outcome that names no class of the bundle is counted as unusable."""
    bundle = class_bundle()
    model = served(bundle, settings)
    for prediction in [model.predict(row) for row in toy_rows(5)]:
        model.outcome(prediction.id, "boat")

    found = judged(bundle, model, settings).performance

    assert (found.n, found.unusable) == (N, 5)


def test_monitor_sees_classes_move(settings: Settings) -> None:
    """A class that is answered more often than it was is an alert, even where no feature is logged."""
    settings = dataclasses.replace(settings, log_features=False)
    bundle = class_bundle()
    registry = InMemoryRegistry()
    registry.publish(bundle)
    model = mlembed.load("toy", registry=registry, settings=settings)
    rows = [row for row in toy_rows(3 * N) if model.predict(row).label == "bus"]
    for _ in range(5):
        model.predict_batch({name: [row[name] for row in rows] for name in rows[0]})

    report = judged(bundle, model, settings)

    (label,) = [drift for drift in report.drifts if drift.name == LABEL]
    assert label.state == "alert"
    assert "'bus'" in label.note
    assert any("the shares of the classes moved" in alert.text for alert in report.alerts)
    assert {d.state for d in report.drifts if d.name not in (LABEL, "(score)")} == {"insufficient"}


def test_monitor_judges_a_log_without_labels(settings: Settings) -> None:
    """Where this version answered nothing there is too little to judge, and nothing breaks."""
    model = served(class_bundle(version="1.1.0"), settings)
    other = class_bundle(version="2.0.0", seed=3)

    report = judged(other, model, settings)
    assert report.performance.value is None
    assert report.state == "insufficient"
    log = dataclasses.replace(read_log(settings.log_dir, "toy"), label=None)
    bare = monitor(class_bundle(version="1.1.0"), log, policy=POLICY)

    assert (bare.performance.n, bare.performance.unusable) == (0, 0)
    assert bare.drifts[-1].state == "insufficient"
    assert len(CLASSES) == 3


def test_aligned_puts_classes_in_the_wanted_order() -> None:
    """A class that a model does not know is never probable; one that nobody wants is left out."""
    p = np.array([[0.2, 0.3, 0.5]])

    found = aligned(p, ("tram", "bus", "walk"), ("walk", "bike", "tram"))

    assert found.tolist() == [[0.5, 0.0, 0.2]]
