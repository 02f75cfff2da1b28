"""What hosts logged is read back row by row, whatever state the files are in."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bundles import COLUMNS, RECORD, toy_bundle, toy_rows, toy_table
from mlembed.columns import Column
from mlembed.errors import SchemaError
from mlembed.monitoring.log import read_log
from monitoring.scenes import Scene, event, hand_written

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings


@pytest.fixture
def scene(registry: FileRegistry, settings: Settings) -> Scene:
    """Return the toy model in service."""
    return Scene(registry, settings)


def test_read_log_gives_back_single_predictions(scene: Scene) -> None:
    """Every prediction is one row with its id, key, score and features as the host gave them."""
    rows = toy_rows(40)
    answers = [scene.model.predict(row, key=f"k{i}") for i, row in enumerate(rows)]

    log = scene.read()

    assert log.ids.tolist() == [answer.id for answer in answers]
    assert log.keys.tolist() == [f"k{i}" for i in range(40)]
    assert log.score.tolist() == [answer.score for answer in answers]
    assert log.time_ns.tolist() == [answer.time_ns for answer in answers]
    assert set(log.version) == {"1.0.0"}
    assert set(log.digest) == {toy_bundle().id}
    assert log.features["town"].tolist() == [row["town"] for row in rows]
    assert log.features["member"].tolist() == [row["member"] for row in rows]
    assert log.features["seen"].tolist() == [row["seen"].timestamp() for row in rows]
    income = [np.nan if row["income"] is None else row["income"] for row in rows]
    np.testing.assert_array_equal(log.features["income"], income)
    assert (log.latency > 0).all()
    assert (log.weights == 1).all()
    assert log.has_features.all()


def test_read_log_gives_back_batches(scene: Scene) -> None:
    """The rows of a batch have the ids that the host was given, over all its events."""
    table = toy_table(600)
    batch = scene.model.predict_batch(table)

    log = scene.read()

    assert log.ids.tolist() == batch.ids
    assert log.score.tolist() == batch.scores.tolist()
    assert log.features["plan"].tolist() == table["plan"]
    assert sorted(set(log.batch.tolist())) == [88, 256]


def test_read_log_keeps_unknown_categories(scene: Scene) -> None:
    """A category outside the vocabulary is logged by name, so that it can be learnt."""
    scene.model.predict({**RECORD, "town": "atlantis"})

    assert scene.read().features["town"].tolist() == ["atlantis"]


def test_read_log_keeps_failed_calls(registry: FileRegistry, settings: Settings) -> None:
    """Fallbacks and errors are rows without features, with the class of their error."""
    with_fallback = Scene(registry, settings, fallback=0.25)
    with_fallback.model.predict({"age": "old"})
    without = Scene(registry, settings)
    with pytest.raises(SchemaError):
        without.model.predict({})

    log = with_fallback.read()

    assert log.reason.tolist() == ["fallback", "error"]
    assert log.error_type.tolist() == ["SchemaError", "SchemaError"]
    assert log.score[0] == 0.25
    assert np.isnan(log.score[1])
    assert not log.has_features.any()


def test_read_log_keeps_versions_apart(registry: FileRegistry, settings: Settings) -> None:
    """Versions with different columns share a log; each keeps its own values and types."""
    scene = Scene(registry, settings)
    scene.predict(5)
    newer = (Column(name="age", kind="category", vocabulary=("young", "old")), *COLUMNS[1:3])
    newer += (Column(name="extra", kind="number"),)
    registry.publish(toy_bundle(version="2.0.0", columns=newer))
    other = Scene(registry, settings, ref="toy@2.0.0")
    for row in toy_rows(3, columns=newer):
        other.model.predict(row)

    log = scene.read()
    old, new = log.of_version("1.0.0"), log.of_digest(toy_bundle("toy", "2.0.0", columns=newer).id)

    assert (len(log), len(old), len(new)) == (8, 5, 3)
    assert old.features["age"].dtype == np.float64
    assert not np.isnan(old.features["age"]).any()
    assert np.isnan(old.features["extra"]).all()
    assert set(new.features["age"]) <= {"young", "old"}
    assert not np.isnan(new.features["extra"]).any()
    assert np.isnan(new.features["town"]).all()


@pytest.mark.parametrize(
    "record",
    [
        None,
        {"attributes": [5]},
        event(body="{"),
        event(body='{"y":{"score":0.5}}'),
        event(body='{"y":{"score":["0.5"]}}'),
        event(body='{"y":{"score":[0.5]},"f":{"age":[1,2]}}'),
        event(body='{"y":{"score":[0.5]},"f":[1]}'),
        event(body=f'{{"y":{{"score":[1{"0" * 400}]}}}}'),
        event(timeUnixNano="soon"),
        event(timeUnixNano=str(2**64)),
        event(eventName="mlembed.outcome"),
        event(eventName="mlembed.outcome", also={"mlembed.outcome.value": {"arrayValue": {}}}),
        {**event(), "attributes": []},
    ],
)
def test_read_log_counts_events_that_are_not_ours(tmp_path: Path, record: Any) -> None:
    """A malformed event leaves no half row behind."""
    hand_written(tmp_path, event("a"), record, event("b"))

    log = read_log(tmp_path, "toy")

    assert log.ids.tolist() == ["a", "b"]
    assert (log.unreadable, log.outcomes) == (1, [])


def test_read_log_leaves_other_events_out(tmp_path: Path) -> None:
    """Events of other kinds and other models do not concern this log."""
    foreign = event("c", also={"mlembed.model.name": {"stringValue": "other"}})
    drift = event("a", eventName="mlembed.drift")
    hand_written(tmp_path, drift, foreign, {"attributes": [{}]}, event("b"))

    log = read_log(tmp_path, "toy")

    assert (log.ids.tolist(), log.unreadable) == (["b"], 0)


def test_read_log_accepts_what_collectors_write(tmp_path: Path) -> None:
    """Numbers as strings, names of events as attributes, empty bodies and unknown fields are read."""
    also = {
        "event.name": {"stringValue": "mlembed.prediction"},
        "mlembed.prediction.count": {"intValue": "2"},
        "mlembed.sampling.rate": {"doubleValue": "0.25"},
        "mlembed.prediction.key": {"intValue": 7},
        "unknown": {},
    }
    record = {**event("e", None, also=also), "eventName": "", "later": 1}
    hand_written(tmp_path, {**record, "timeUnixNano": 5})

    log = read_log(tmp_path, "toy")

    assert log.ids.tolist() == ["e/0", "e/1"]
    assert log.weights.tolist() == [4.0, 4.0]
    assert log.keys.tolist() == ["7", "7"]
    assert np.isnan(log.score).all()
    assert log.time_ns.tolist() == [5, 5]


def test_read_log_keeps_an_event_once(tmp_path: Path) -> None:
    """An event that a collector wrote twice is one prediction."""
    hand_written(tmp_path, event("a"), event("a"), event("b"))
    hand_written(tmp_path, event("b"), name="a-2-0")

    log = read_log(tmp_path, "toy")

    assert (log.ids.tolist(), log.repeated) == (["a", "b"], 2)


def test_read_log_keeps_values_no_float_can_hold(tmp_path: Path) -> None:
    """A foreign writer's huge integer spoils neither its row nor the log."""
    body = f'{{"y":{{"score":[0.5]}},"f":{{"age":[1{"0" * 400}],"town":[[1,2]]}}}}'
    hand_written(tmp_path, event("a", body))

    log = read_log(tmp_path, "toy")

    assert log.features["age"].dtype == object
    assert log.features["town"].tolist() == [[1, 2]]


def test_read_log_leaves_the_collector_as_it_was(tmp_path: Path) -> None:
    """A host that switched the cycle collector off finds it off, and on where it was on."""
    hand_written(tmp_path, event())
    read_log(tmp_path, "toy")
    assert gc.isenabled()

    gc.disable()
    try:
        read_log(tmp_path, "toy")
        assert not gc.isenabled()
    finally:
        gc.enable()
