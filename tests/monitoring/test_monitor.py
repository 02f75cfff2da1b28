"""A report says what is wrong, how much, and what to do; too little is its own state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bundles import COLUMNS, RECORD, toy_bundle, toy_rows, toy_table
from mlembed.bundle.bundle import pack
from mlembed.bundle.strictjson import dumps
from mlembed.errors import MonitoringError, SettingsError
from mlembed.monitoring.monitor import Report, monitor
from mlembed.monitoring.policy import Policy
from monitoring.scenes import Scene, toy_log

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings

QUICK = Policy(resamples=50)


@pytest.fixture
def scene(registry: FileRegistry, settings: Settings) -> Scene:
    """Return the toy model in service, with a fallback."""
    return Scene(registry, settings, fallback=0.0)


def report_of(scene: Scene, bundle: Bundle | None = None, policy: Policy = QUICK) -> Report:
    """Judge what *scene* logged."""
    return monitor(bundle or toy_bundle(), scene.read(), policy=policy)


def with_reference(**changes: Any) -> Bundle:
    """Return the toy bundle with parts of its reference replaced."""
    bundle = toy_bundle()
    reference = json.loads(bundle.files["reference.json"]) | changes
    return pack(bundle.manifest, {**bundle.files, "reference.json": dumps(reference)})


def test_monitor_finds_nothing_wrong_where_nothing_is(scene: Scene) -> None:
    """A model that sees what it was made for is ok, and the report says how much it saw."""
    scene.model.predict_batch(toy_table(1_000, 5))
    scene.predict(20)

    report = report_of(scene)

    assert (report.state, report.exit_code, report.alerts) == ("ok", 0, ())
    assert (report.n_rows, report.n_reference) == (1_020, 200)
    assert report.traffic.reasons == {"ok": 1_020}
    assert report.traffic.latency_median is not None
    assert report.summary()[0] == "toy@1.0.0: nothing stands out in 1,020 predictions."


def test_monitor_tells_how_long_single_predictions_take(scene: Scene) -> None:
    """Latency is told by quantiles that rise, the median among them; a batch alone has none."""
    scene.model.predict_batch(toy_table(10, 5))
    none = report_of(scene).traffic.latency_quantiles
    scene.predict(20)

    traffic = report_of(scene).traffic

    assert none == {}
    assert list(traffic.latency_quantiles) == ["5%", "25%", "median", "75%", "95%", "99%"]
    assert list(traffic.latency_quantiles.values()) == sorted(traffic.latency_quantiles.values())
    assert traffic.latency_quantiles["median"] == traffic.latency_median
    assert traffic.to_json()["latency_quantiles"] == traffic.latency_quantiles


def test_monitor_names_what_drifted_and_the_remedy(scene: Scene) -> None:
    """A drifted column is an alert with its size, its place and what to do."""
    table = toy_table(600, 5)
    scene.model.predict_batch({**table, "visits": [v // 4 for v in table["visits"]]})

    report = report_of(scene)
    alert = next(alert for alert in report.alerts if alert.subject == "visits")

    assert (report.state, report.exit_code) == ("alert", 1)
    assert "column 'visits' moved: PSI" in alert.text
    assert "before" in alert.text
    assert "mlembed retrain toy" in alert.remedy
    assert any("Column 'visits' moved" in sentence for sentence in report.summary())


def test_monitor_compares_the_realised_metric_with_the_promise(scene: Scene) -> None:
    """Outcomes that contradict the scores are an alert with the interval and the promise."""
    batch = scene.model.predict_batch(toy_table(400, 5))
    for i, prediction_id in enumerate(batch.ids):
        scene.model.outcome(prediction_id, value=i % 2 == 0)

    report = report_of(scene)

    assert [alert.subject for alert in report.alerts] == ["roc_auc"]
    assert report.performance.promised == toy_bundle().manifest.metrics["roc_auc"]
    assert report.matched == 400
    assert report.performance.delay_median_seconds is not None
    assert "was promised" in report.alerts[0].text


def test_monitor_tells_failed_calls(scene: Scene) -> None:
    """A share of failed calls that chance does not explain is an alert that names the error."""
    scene.model.predict_batch(toy_table(400, 5))
    for _ in range(60):
        scene.model.predict({})

    report = report_of(scene)

    assert [alert.subject for alert in report.alerts] == ["calls"]
    assert report.traffic.errors == {"SchemaError": 60}
    assert report.traffic.failed_share == pytest.approx(60 / 460)
    assert "most often SchemaError" in report.alerts[0].text
    assert report.n_rows == 400


def test_monitor_forgives_a_few_failed_calls(scene: Scene) -> None:
    """A failure now and then, or in a handful of calls, is no alert."""
    for _ in range(29):
        scene.model.predict({})
    few = report_of(scene)
    scene.model.predict_batch(toy_table(1_000, 5))

    assert few.state == "insufficient"
    assert report_of(scene).state == "ok"


def test_monitor_sees_a_model_that_cannot_be_loaded(
    registry: FileRegistry, settings: Settings
) -> None:
    """Calls that no version could answer count, so a model that is gone does not look quiet."""
    gone = Scene(registry, settings, ref="toy@9.9.9", fallback=0.0)
    gone.predict(40)

    report = report_of(gone)

    assert (report.state, report.n_rows) == ("alert", 0)
    assert report.traffic.errors == {"NotFoundError": 40}


def test_monitor_judges_one_version_alone(registry: FileRegistry, settings: Settings) -> None:
    """Rows of other versions change nothing, and a version without rows is told which there are."""
    newer = toy_bundle(version="2.0.0", shift=3.0)
    registry.publish(newer)
    Scene(registry, settings, ref="toy@2.0.0").model.predict_batch(toy_table(500, 5))
    scene = Scene(registry, settings)

    old, new = report_of(scene), report_of(scene, newer)

    assert (old.state, old.exit_code, old.n_rows) == ("insufficient", 0, 0)
    assert "The log holds other versions: 2.0.0 (500)" in old.summary()[0]
    assert (new.state, new.n_rows) == ("ok", 500)
    assert new.traffic.versions == {"2.0.0": 500}


def test_monitor_counts_abstentions_of_batches(registry: FileRegistry, settings: Settings) -> None:
    """A batch's event has one reason for all rows, so its abstentions are told from the scores."""
    bundle = toy_bundle(version="3.0.0", abstain=(0.3, 0.7))
    registry.publish(bundle)
    scene = Scene(registry, settings, ref="toy@3.0.0")
    batch = scene.model.predict_batch(toy_table(300, 5))

    reasons = report_of(scene, bundle).traffic.reasons

    assert reasons == {reason: batch.reasons.count(reason) for reason in ("abstain", "ok")}


def test_monitor_of_few_rows_is_insufficient(scene: Scene) -> None:
    """Too few rows are neither ok nor an alert, and say how many are needed."""
    scene.predict(10)

    report = report_of(scene)

    assert (report.state, report.exit_code) == ("insufficient", 0)
    assert "too little to judge, 10 predictions of 300 needed" in report.summary()[0]


def test_monitor_refuses_the_log_of_another_model() -> None:
    """A bundle is never judged by another model's log."""
    with pytest.raises(MonitoringError, match=r"log of 'other' cannot judge toy@1.0.0"):
        monitor(toy_bundle(), toy_log(3, model="other"))


@pytest.mark.parametrize("name", ["gini", "mae"])
def test_monitor_refuses_a_metric_it_does_not_know(name: str) -> None:
    """A promise that cannot be measured here is an error, not a guess."""
    bundle = with_reference(metric={"name": name, "value": 1.0})

    with pytest.raises(MonitoringError, match="expected one of roc_auc"):
        monitor(bundle, toy_log(3))


def test_monitor_takes_the_usual_metric_where_none_was_promised() -> None:
    """A packed model without a promise is measured by the usual metric of its kind."""
    bundle = with_reference(metric=None)

    performance = monitor(bundle, toy_log(3)).performance

    assert (performance.metric, performance.promised) == ("roc_auc", None)


def test_policy_refuses_limits_that_mean_nothing() -> None:
    """Limits of zero or less would alert always or never; all are named at once."""
    with pytest.raises(SettingsError, match=r"min_rows must be 1 or more; psi must be more than 0"):
        Policy(min_rows=0, psi=0)


def test_monitor_reads_a_whole_day_in_order(scene: Scene) -> None:
    """Single predictions, keys, revisions and batches of one log meet in one report."""
    for i, row in enumerate(toy_rows(350, 8)):
        scene.model.predict(row, key=f"customer-{i}")
    for i in range(350):
        scene.model.outcome(key=f"customer-{i}", value=i % 5 == 0)
        scene.model.outcome(key=f"customer-{i}", value=i % 2 == 0, revision=1)

    report = report_of(scene)

    assert (report.matched, report.superseded, report.unmatched) == (350, 350, 0)
    assert len(COLUMNS) == len(RECORD)
