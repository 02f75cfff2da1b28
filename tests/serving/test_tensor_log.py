"""Predictions of tensors are in the log: how many, how fast, of what shape; never a value of them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mlembed
from mlembed.errors import DataError, InferenceError, MonitoringError, SchemaError
from mlembed.monitoring.calls import judge_calls
from mlembed.monitoring.log import read_log
from mlembed.monitoring.policy import Policy
from mlembed.testing import InMemoryRegistry
from mlembed.training import pack
from mlembed.training.retraining import retrain
from mlembed_crm import Actions, Outbox, Rule, rises_above
from serving.logs import attributes_of, events, records
from telemetry.conftest import Host, Setup
from tensorgraphs import (
    MIXED,
    data,
    identity_model,
    lookup_bundle,
    mixed_bundle,
    pixels_bundle,
)
from visits import trainer

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.settings import Settings

ONE = {"pixels": np.ones((1, 2, 2), np.float32)}


def load(bundle: Bundle, settings: Settings, **options: Any) -> mlembed.Model:
    """Return a model that serves *bundle*."""
    source = InMemoryRegistry()
    source.publish(bundle)
    return mlembed.load(bundle.manifest.name, registry=source, settings=settings, **options)


def logged(settings: Settings, live: mlembed.Model) -> list[dict[str, Any]]:
    """Return the prediction events so far."""
    assert live.flush(20)
    return [
        attributes_of(record)
        for record in records(settings.log_dir)
        if record["eventName"] == "mlembed.prediction"
    ]


def test_a_prediction_is_logged_with_its_shapes(settings: Settings) -> None:
    """Id, version, score, latency and key as for columns; dtype and shape of each input."""
    live = load(pixels_bundle(), settings)
    p = live.predict(ONE, key="c-1")

    (event,) = logged(settings, live)

    assert event["mlembed.prediction.id"] == p.id
    assert event["mlembed.prediction.key"] == "c-1"
    assert event["mlembed.prediction.score"] == p.score
    assert event["mlembed.model.version"] == "1.0.0"
    assert event["mlembed.model.digest"] == pixels_bundle().id
    assert event["mlembed.latency"] > 0
    assert json.loads(event["mlembed.payload.inputs"]) == {"pixels": "float32[1,2,2]"}


def test_no_value_of_a_tensor_is_logged(settings: Settings) -> None:
    """Neither texts nor numbers leave the call, whatever the settings say of features."""
    live = load(mixed_bundle(), settings)
    live.predict(MIXED | {"text": ["secret", "words"], "scale": np.float16(0.123)})
    live.close()

    text = b"".join(path.read_bytes() for path in settings.log_dir.rglob("*.jsonl*")).decode()

    assert "secret" not in text
    assert "0.123" not in text
    (event,) = [attributes_of(r) for r in records(settings.log_dir)]
    assert "mlembed.prediction.score" not in event
    assert json.loads(event["mlembed.payload.inputs"])["scale"] == "float16[]"


def test_a_batch_is_logged_in_events_of_many_rows(settings: Settings) -> None:
    """Ids and scores of the log are those the host got."""
    live = load(pixels_bundle(), settings)
    x = np.random.default_rng(0).random((600, 2, 2), dtype=np.float32)

    batch = live.predict_batch({"pixels": x})

    events = logged(settings, live)
    assert [int(event["mlembed.prediction.count"]) for event in events] == [256, 256, 88]
    assert {event["mlembed.payload.inputs"] for event in events} == {
        '{"pixels": "float32[600,2,2]"}'
    }
    log = read_log(settings.log_dir, "pixels")
    assert log.unreadable == 0
    assert log.ids.tolist() == batch.ids
    assert log.score.tolist() == batch.scores.tolist()


def test_the_log_stays_readable_whatever_is_given(settings: Settings) -> None:
    """Bad input, failures, fallbacks, empty and unscored batches: each is a line of the log."""
    live = load(lookup_bundle(), settings)
    for bad in (None, {}, {"place": "\ud800"}, {"place": [7]}, {"place": [0], "\ud800": 1}):
        with pytest.raises((SchemaError, InferenceError)):
            live.predict(bad, key="\ud800")
    live.predict({"place": [0]}, key="k" * 5000)
    live.predict_batch({"place": np.zeros(0, np.int64)})
    assert live.flush(20)

    log = read_log(settings.log_dir, "lookup")

    assert log.unreadable == 0
    assert log.reason.tolist() == ["error"] * 5 + ["ok"]
    assert log.error_type.tolist() == [*["SchemaError"] * 3, "InferenceError", "SchemaError", ""]
    assert log.keys[-1] == "k" * 5000


def test_names_that_are_hard_to_write_are_logged(settings: Settings) -> None:
    """Quotes, colons and other alphabets in an input's name keep the line valid."""
    proto = identity_model("float32", ["N"])
    name = 'x:0 "é\\'
    proto.graph.input[0].name = proto.graph.node[0].input[0] = name
    live = load(pack(data(proto), name="named"), settings)
    live.predict({name: [1.0]})

    (event,) = logged(settings, live)

    assert json.loads(event["mlembed.payload.inputs"]) == {name: "float32[1]"}


def test_shapes_go_with_their_names(settings: Settings) -> None:
    """Inputs in another order in the host's mapping are logged by name."""
    live = load(mixed_bundle(), settings)
    for _ in range(2):
        live.predict(dict(reversed(MIXED.items())))
        live.predict(MIXED)

    told = {event["mlembed.payload.inputs"] for event in logged(settings, live)}

    assert [json.loads(text) for text in told] == [
        {"text": "string[2]", "ids": "int64[2,3]", "mask": "bool[2,3]", "scale": "float16[]"}
    ]


def test_what_waits_is_bounded(settings: Settings) -> None:
    """Where room is scarce predictions are sampled or counted as lost, and answers go on."""
    tight = dataclasses.replace(settings, queue_bytes=64 * 1024, flush_seconds=600)
    live = load(pixels_bundle(), tight)
    live.predict(ONE)
    assert live.flush(20)
    recorder = live._recorder
    assert recorder is not None
    with recorder._writing:
        for _ in range(2000):
            live.predict(ONE)
        live.predict_batch({"pixels": np.zeros((100_000, 2, 2), np.float32)})
        assert recorder.waiting_bytes <= 64 * 1024 + recorder._widest

    assert sum(live.lost.values()) > 0
    assert live.flush(20)
    assert read_log(settings.log_dir, "pixels").unreadable == 0


def test_the_hosts_telemetry_hears_of_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event has the shapes, the span the caller's as its parent."""
    host = Host.new()
    Setup(monkeypatch)(*host.providers)
    try:
        live = load(pixels_bundle(), settings)
        with host.providers[1].get_tracer("host").start_as_current_span("request") as span:
            p = live.predict(ONE)
        batch = live.predict_batch({"pixels": np.zeros((2, 2, 2), np.float32)})
        assert live.flush(20)
        single, many = host.events()
        spans = {item.name: item for item in host.spans.get_finished_spans()}
    finally:
        host.shut_down()

    assert single.attributes["mlembed.prediction.id"] == p.id
    assert single.attributes["mlembed.payload.inputs"] == '{"pixels": "float32[1,2,2]"}'
    assert json.loads(single.body) == {"y": {"score": [p.score]}}
    assert json.loads(many.body) == {"y": {"score": batch.scores.tolist()}}
    parent = spans["predict pixels"].parent
    assert parent is not None
    assert parent.span_id == span.get_span_context().span_id
    (event, _) = logged(settings, live)
    assert event["mlembed.prediction.id"] == p.id


def test_an_action_needs_a_score(settings: Settings, tmp_path: Path) -> None:
    """A rule acts on a declared score, and leaves a model without one alone."""
    outbox = Outbox(tmp_path / "actions.db")
    rules = [
        Rule(f"rule-{name}", model=name, when=rises_above(-1.0), destination="desk")
        for name in ("pixels", "mixed")
    ]
    actions = Actions(outbox, rules)

    queued = actions.apply(load(pixels_bundle(), settings).predict(ONE, key="a"))
    nothing = actions.apply(load(mixed_bundle(), settings).predict(MIXED, key="b"))

    assert [action.rule for action in queued] == ["rule-pixels"]
    assert nothing == ()


def test_monitoring_counts_calls(settings: Settings) -> None:
    """Traffic, scores and outcomes are told; drift is said not to be judged."""
    live = load(pixels_bundle(), settings)
    ids = [live.predict(ONE).id for _ in range(40)]
    live.outcome(ids[0], 1.0)
    live.outcome("nobody", 1.0)
    assert live.flush(20)
    log = read_log(settings.log_dir, "pixels")

    report = judge_calls(pixels_bundle(), log, policy=Policy())

    assert (report.state, report.exit_code) == ("ok", 0)
    assert (report.traffic.calls, report.matched, report.unmatched) == (40, 1, 1)
    assert report.scores == tuple([live.predict(ONE).score] * 3)
    assert "there is no column profile" in " ".join(report.summary())
    assert dict(report.rows())["asked"] == "40"
    assert json.loads(json.dumps(report.to_json()))["state"] == "ok"
    with pytest.raises(MonitoringError, match="the log of 'pixels' cannot judge mixed"):
        judge_calls(mixed_bundle(), log, policy=Policy())


def test_monitoring_warns_of_failures(settings: Settings) -> None:
    """Where too many calls fail the report is an alert, and names the error."""
    live = load(pixels_bundle(), settings, fallback=0.0)
    for _ in range(40):
        live.predict({})
    live.predict(ONE)
    assert live.flush(20)
    log = read_log(settings.log_dir, "pixels")

    report = judge_calls(pixels_bundle(), log, policy=Policy())

    assert (report.state, report.exit_code) == ("alert", 1)
    assert "SchemaError" in report.summary()[0]
    few = judge_calls(pixels_bundle(), log, policy=Policy(min_calls=1000))
    assert few.state == "insufficient"
    assert "too little to judge" in few.summary()[0]


def test_retraining_is_refused(settings: Settings, registry: Any) -> None:
    """A log without features cannot be trained on; the way that remains is named."""
    live = load(pixels_bundle(), settings)
    live.predict(ONE)
    assert live.flush(20)
    assert events(settings.log_dir)
    registry.publish(pixels_bundle())
    registry.promote("pixels", "champion", "1.0.0")

    with pytest.raises(DataError, match=r"takes tensors, which no log holds: .* mlembed pack"):
        retrain(
            dataclasses.replace(trainer(), name="pixels"),
            registry,
            read_log(settings.log_dir, "pixels"),
        )
