"""The log of a model of several classes holds the label beside row and score, however it is written."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mlembed
from bundles import COLUMNS, RECORD, toy_bundle, toy_rows, toy_table
from classes import CLASSES, class_bundle
from mlembed.monitoring.log import read_log
from mlembed.registry.file import FileRegistry
from mlembed.telemetry.source import LABEL
from mlembed.telemetry.tally import SCORE
from mlembed.testing import InMemoryRegistry
from telemetry.protocol import round_trip
from telemetry.test_round_trip import same, travelled

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.monitoring.log import PredictionLog
    from mlembed.serving.batch import Batch
    from mlembed.settings import Settings
    from telemetry.conftest import Host

N = 300


@pytest.fixture
def store(tmp_path: Path) -> FileRegistry:
    """Return a registry of a model of three classes that abstains now and then."""
    source = FileRegistry(tmp_path / "registry")
    source.publish(class_bundle(abstain=(0.0, 0.6)))
    source.promote("toy", "champion", "1.0.0")
    return source


def most(answer: mlembed.Prediction) -> str:
    """Return the most probable class of an answer, whether it abstains or not."""
    assert answer.probabilities is not None
    return max(answer.probabilities, key=answer.probabilities.__getitem__)


def most_of(batch: Batch) -> list[str]:
    """Return the most probable class of each record."""
    assert batch.probabilities is not None
    return [CLASSES[code] for code in batch.probabilities.argmax(axis=1).tolist()]


def read(model: mlembed.Model, settings: Settings) -> PredictionLog:
    """Write what waits and read the whole log."""
    assert model.flush()
    return read_log(settings.log_dir, "toy")


def ask(model: mlembed.Model) -> tuple[list[mlembed.Prediction], Batch]:
    """Ask in every way that is logged in its own way: one by one with keys and words, and a table."""
    answers = [model.predict(row, key=f"{i}") for i, row in enumerate(toy_rows(N, 5))]
    answers.append(model.predict(RECORD | {"town": "atlantis"}, key="7"))
    answers.append(model.predict(RECORD | {"town": "atlantis"}, key="k" * 100))
    return answers, model.predict_batch(toy_table(N, 7) | {"town": ["atlantis"] * N})


def test_label_is_in_the_log_of_every_call(store: FileRegistry, settings: Settings) -> None:
    """Blocks, single entries and batches give back the class, the score and the row."""
    model = mlembed.load("toy", registry=store, settings=settings)
    answers, batch = ask(model)

    log = read(model, settings)

    found = dict(zip(log.ids.tolist(), range(len(log)), strict=True))
    order = [found[name] for name in [a.id for a in answers] + batch.ids]
    log = log.select(np.array(order))
    assert log.label is not None
    assert log.label.tolist() == [most(a) for a in answers] + most_of(batch)
    assert log.score.tolist() == [a.score for a in answers] + batch.scores.tolist()
    assert log.reason[: len(answers)].tolist() == [a.reason for a in answers]
    assert {a.reason for a in answers} == {"ok", "abstain"}
    assert list(log.features) == [column.name for column in COLUMNS]
    assert log.features["town"][N:].tolist() == ["atlantis"] * (N + 2)
    assert log.features["age"][:N].tolist() == [row["age"] for row in toy_rows(N, 5)]
    assert log.has_features.all()
    assert log.unreadable == 0


def test_log_of_classes_travels(store: FileRegistry, settings: Settings) -> None:
    """Through a reader of OTLP that is not ours, the labels come back as they went."""
    model = mlembed.load("toy", registry=store, settings=settings)
    ask(model)
    model.close()

    ours = read_log(settings.log_dir, "toy")
    theirs = read_log(travelled(settings.log_dir, round_trip), "toy")

    assert ours.label is not None
    assert theirs.label is not None
    assert ours.label.tolist() == theirs.label.tolist()
    bare = [dataclasses.replace(log, label=None) for log in (ours, theirs)]
    same(*bare)


@pytest.mark.parametrize(
    "choice",
    [
        {"log_features": False},
        {"log_columns": {column.name: "drop" for column in COLUMNS}},
        {"log_columns": {"town": "hash", "age": "bucket"}, "log_key": "secret"},
    ],
    ids=["no features", "all dropped", "some hidden"],
)
def test_label_is_logged_whatever_features_are(
    choice: dict[str, Any], store: FileRegistry, settings: Settings
) -> None:
    """Where features are kept out of the log, wholly or in part, the label is there all the same."""
    model = mlembed.load("toy", registry=store, settings=dataclasses.replace(settings, **choice))
    answers, batch = ask(model)

    log = read(model, settings)

    assert log.label is not None
    assert sorted(log.label) == sorted([most(a) for a in answers] + most_of(batch))
    hidden = len(choice) == 1
    assert log.has_features.tolist() == [not hidden] * len(log)
    assert set(log.features) == (set() if hidden else {c.name for c in COLUMNS} - {"town", "age"})


def test_failures_have_no_label(store: FileRegistry, settings: Settings) -> None:
    """Nothing is made up for an answer of the fallback; other versions' rows have none either."""
    model = mlembed.load("toy", registry=store, settings=settings, fallback=0.5)
    good, failed = model.predict(RECORD), model.predict({})
    batch = model.predict_batch({"age": [1.0, 2.0]})
    store.publish(toy_bundle(version="2.0.0"))
    store.promote("toy", "champion", "2.0.0")
    assert model.refresh()
    binary = model.predict(RECORD)

    log = read(model, settings)

    assert log.label is not None
    told = dict(zip(log.ids.tolist(), log.label.tolist(), strict=True))
    assert told == {
        good.id: most(good),
        failed.id: None,
        **dict.fromkeys(batch.ids),
        binary.id: None,
    }
    assert log.unreadable == 0


def test_log_of_two_classes_has_no_labels(registry: FileRegistry, settings: Settings) -> None:
    """A binary model's label follows from its score, and stands in no log."""
    model = mlembed.load("toy", registry=registry, settings=settings)
    model.predict(RECORD)

    assert read(model, settings).label is None


@pytest.mark.parametrize("features", [False, True])
def test_host_gets_the_label(
    features: bool,  # noqa: FBT001  one of two ways
    host: Host,
    store: FileRegistry,
    settings: Settings,
) -> None:
    """The event for the host's collector names the class beside the score, never among features."""
    settings = dataclasses.replace(settings, export_features=features)
    model = mlembed.load("toy", registry=store, settings=settings)
    answer, batch = model.predict(RECORD), model.predict_batch(toy_table(3))
    assert model.flush()

    bodies = [json.loads(event.body) for event in host.events()]

    assert bodies[0]["y"] == {"score": [answer.score], "label": [most(answer)]}
    assert bodies[1]["y"] == {"score": batch.scores.tolist(), "label": most_of(batch)}
    assert all(LABEL not in body.get("f", {}) for body in bodies)
    assert [list(body.get("f", {})) == list(RECORD) for body in bodies] == [features] * 2


def test_host_gets_no_label_of_a_failure(
    host: Host, store: FileRegistry, settings: Settings
) -> None:
    """The event of a fallback names its score alone."""
    model = mlembed.load("toy", registry=store, settings=settings, fallback=0.5)
    model.predict({})
    assert model.flush()

    (event,) = host.events()

    assert json.loads(event.body) == {"y": {"score": [0.5]}}


def test_event_of_a_collector_is_read(store: FileRegistry, settings: Settings) -> None:
    """A log of columns, as collectors hold it, gives the labels too."""
    folder = settings.log_dir / "toy" / "dt=2026-11-01"
    folder.mkdir(parents=True)
    records = [
        {
            "timeUnixNano": "1790000000000000000",
            "eventName": "mlembed.prediction",
            "body": {"stringValue": json.dumps(body)},
            "attributes": [
                {"key": "mlembed.prediction.id", "value": {"stringValue": name}},
                {"key": "mlembed.prediction.count", "value": {"intValue": "2"}},
            ],
        }
        for name, body in (
            ("a", {"y": {"score": [0.5, 0.7], "label": ["bus", "walk"]}}),
            ("b", {"y": {"score": [0.5, 0.7]}}),
            ("c", {"y": {"score": [0.5, 0.7], "label": ["bus"]}}),
            ("d", {"f": {"age": [1.0, 2.0]}, "y": {"score": [0.5, 0.7], "label": ["bus", None]}}),
        )
    ]
    line = {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}
    (folder / "a-1-0.jsonl").write_text(json.dumps(line) + "\n")
    assert store.root.is_dir()

    log = read_log(settings.log_dir, "toy")

    assert log.label is not None
    assert log.label.tolist() == ["bus", "walk", None, None, "bus", None]
    assert log.has_features.tolist() == [False] * 4 + [True] * 2
    assert log.unreadable == 1


def test_tally_counts_the_labels(settings: Settings) -> None:
    """Classes are counted in the bins of the reference, like a column's categories."""
    registry = InMemoryRegistry()
    registry.publish(class_bundle(version="9.0.0"))  # counted by no other test
    model = mlembed.load("toy", registry=registry, settings=settings)
    answers, batch = ask(model)
    assert model.flush()

    served = model._handle.current
    assert served is not None
    tally = served.source.tally
    assert tally is not None
    counts, labels = tally.counts(), dict(tally.bins())[LABEL].labels
    told = [most(a) for a in answers] + most_of(batch)
    assert dict(zip(labels, counts[LABEL].tolist(), strict=True)) == {
        **{name: told.count(name) for name in CLASSES},
        "(others)": 0,
        "missing": 0,
    }
    assert counts[SCORE].sum() == len(told)
