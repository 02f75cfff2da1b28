"""A report says all it knows, in a table, in sentences and in JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bundles import toy_bundle, toy_table
from mlembed.monitoring.log import LoggedOutcome
from mlembed.monitoring.monitor import Report, monitor
from mlembed.monitoring.policy import Policy
from monitoring.scenes import Scene, like_toy

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


def test_report_is_plain_json(scene: Scene) -> None:
    """The report survives JSON, without NaN, and holds what the table and sentences say."""
    scene.model.predict_batch(toy_table(300, 5))

    report = report_of(scene)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))

    assert (data["state"], data["n_rows"]) == (report.state, 300)
    assert len(data["drifts"]) == len(report.rows()) - 1
    assert data["summary"] == report.summary()
    assert data["policy"]["psi"] == 0.2
    assert data["traffic"]["buckets"][0]["answered"] > 0


def test_report_rows_begin_with_alerts() -> None:
    """The table has a head and begins with what needs a look."""
    log = like_toy(600)
    log.features["town"][:] = "oslo"

    head, *rows = monitor(toy_bundle(), log, policy=QUICK).rows()

    assert head == ("column", "state", "PSI", "JS", "p", "q", "missing", "note")
    assert rows[0][:2] == ("town", "alert")
    assert rows[0][4:6] == ("<0.001", "<0.001")
    assert {len(row) for row in rows} == {8}


def test_report_tells_moderate_shifts() -> None:
    """What moved, but less than the limit, is said in a sentence."""
    log = like_toy(3_000)
    log.features["member"][:] = [True] * 2_100 + [False] * 900

    report = monitor(toy_bundle(), log, policy=QUICK)

    assert report.state == "ok"
    assert "Moved, but below the limit: member." in report.summary()


def test_report_tells_columns_that_could_not_be_judged() -> None:
    """A log without features is no proof that nothing drifted."""
    log = like_toy(600, has_features=np.zeros(600, dtype=np.bool_))

    sentences = " ".join(monitor(toy_bundle(), log, policy=QUICK).summary())

    assert "Too few values to judge: age, income, visits and 3 more." in sentences
    assert "log_features" in sentences


def test_report_tells_unreadable_lines() -> None:
    """Lines that could not be read are not passed over in silence."""
    report = monitor(toy_bundle(), like_toy(400, unreadable=3), policy=QUICK)

    assert report.state == "ok"
    assert report.summary()[-1].startswith("3 lines or events of the log could not be read")


def test_report_tells_the_value_and_delay_of_few_outcomes() -> None:
    """A metric of few outcomes is shown with its interval, and said to be too little."""
    outcomes = [
        LoggedOutcome(f"id-{i}", "", i % 3 == 0, 0, (1_790_000_000 + i + 7_200) * 10**9, 0)
        for i in range(50)
    ]

    report = monitor(toy_bundle(), like_toy(400, outcomes=outcomes), policy=QUICK)
    sentences = " ".join(report.summary())

    assert report.performance.state == "insufficient"
    assert "50 joined outcomes, 100 are needed" in sentences
    assert "2 hours late (median)" in sentences


def test_report_tells_a_metric_without_an_interval() -> None:
    """Where resampling gives no interval the value stands alone."""
    outcomes = [LoggedOutcome(f"id-{i}", "", i == 0, 2**60, None, 0) for i in range(50)]

    report = monitor(toy_bundle(), like_toy(400, outcomes=outcomes))

    assert report.performance.value is not None
    assert report.performance.low is None
    assert f"roc_auc: {report.performance.value:.4g}, promised" in " ".join(report.summary())


@pytest.mark.parametrize(("span", "width"), [(0, 1), (40, 1), (3_600, 300), (90 * 86_400, 604_800)])
def test_traffic_counts_every_call_once(span: int, width: int) -> None:
    """Buckets cover the whole window without gaps, at most 48, and lose no call."""
    log = like_toy(60)
    log.time_ns[:] = (1_790_000_000 + np.linspace(0, span, 60).astype(np.int64)) * 10**9
    log.reason[::10] = "error"

    calls = monitor(toy_bundle(), log, policy=QUICK).traffic

    assert calls.bucket_seconds == width
    assert len(calls.buckets) <= 48
    assert sum(bucket.answered for bucket in calls.buckets) == 54
    assert sum(bucket.failed for bucket in calls.buckets) == 6
    assert calls.first.startswith("2026-09-21T")


def test_traffic_of_many_years_stays_small() -> None:
    """A clock gone wrong does not make a report of a million buckets."""
    log = like_toy(60)
    log.time_ns[0] = 0

    assert len(monitor(toy_bundle(), log, policy=QUICK).traffic.buckets) <= 48
