"""A model of several classes in the hosts that there are: threads, forks, slow graphs, full logs, Django."""

from __future__ import annotations

import collections
import dataclasses
import os
import threading
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import helper

import mlembed
from bundles import RECORD, toy_rows, toy_table
from classes import CLASSES, class_bundle
from mlembed.bundle.bundle import pack
from mlembed.bundle.golden import Golden
from mlembed.bundle.manifest import Task
from mlembed.monitoring.log import read_log
from mlembed.registry.file import FileRegistry
from mlembed.testing import InMemoryRegistry
from serving.graphs import slow_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle

THREADS, EACH = 4, 200


@pytest.fixture
def model(tmp_path: Path, settings: mlembed.Settings) -> mlembed.Model:
    """Return a model of three classes."""
    source = FileRegistry(tmp_path / "registry")
    source.publish(class_bundle())
    source.promote("toy", "champion", "1.0.0")
    return mlembed.load("toy", registry=source, settings=settings)


def test_threads_get_their_own_answers(model: mlembed.Model, settings: mlembed.Settings) -> None:
    """Labels never mix between threads, neither in answers nor in the log."""
    rows = toy_rows(EACH, 3)
    alone = [model.predict(row).label for row in rows]
    found: list[list[mlembed.Prediction]] = [[] for _ in range(THREADS)]

    def work(answers: list[mlembed.Prediction]) -> None:
        answers += [model.predict(row) for row in rows]

    threads = [threading.Thread(target=work, args=(answers,)) for answers in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert model.flush()
    log = read_log(settings.log_dir, "toy")

    assert all([answer.label for answer in answers] == alone for answers in found)
    assert log.label is not None
    logged = dict(zip(log.ids.tolist(), log.label.tolist(), strict=True))
    assert all(logged[answer.id] == answer.label for answers in found for answer in answers)
    assert len(log) == EACH * (THREADS + 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child_answers(model: mlembed.Model) -> None:
    """A child of a process that has predicted goes on, with the same answer."""
    before = model.predict(RECORD)
    child = os.fork()
    if child == 0:
        try:
            again = model.predict(RECORD)
            same = (again.label, again.probabilities) == (before.label, before.probabilities)
            os._exit(0 if same else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0


def slow_bundle_of_classes() -> Bundle:
    """Return a bundle that counts to x before it answers; x stands for every probability."""
    slow = slow_bundle()
    model = onnx.load_from_string(slow.files["model.onnx"])
    model.graph.node.append(helper.make_node("Concat", ["score", "x", "x"], ["all"], axis=1))
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info("all", onnx.TensorProto.DOUBLE, ["N", 3])
    )
    task = Task(kind="multiclass", label="mode", classes=CLASSES)
    golden = Golden(({"x": 3.0},), ((3.0, 3.0, 3.0),))
    files = {"model.onnx": model.SerializeToString(), "golden.json": golden.to_bytes()}
    return pack(dataclasses.replace(slow.manifest, task=task), files)


def test_slow_graph_is_stopped(settings: mlembed.Settings) -> None:
    """A limit of time holds for several classes; the fallback answers, and then the model again."""
    registry = InMemoryRegistry()
    registry.publish(slow_bundle_of_classes())
    model = mlembed.load("graph", registry=registry, settings=settings, timeout_ms=20, fallback=0.5)

    failed, all_failed = model.predict({"x": 1e9}), model.predict_batch({"x": [1.0, 1e9]})

    assert (failed.reason, failed.label, failed.score) == ("fallback", None, 0.5)
    assert failed.error.startswith("PredictionTimeoutError")
    assert all_failed.error.startswith("PredictionTimeoutError")
    assert model.predict({"x": 7.0}).label == "tram"


def test_full_log_loses_records_and_no_answer(
    model: mlembed.Model, settings: mlembed.Settings
) -> None:
    """Where nothing more may wait, answers go on and losses are counted."""
    small = dataclasses.replace(settings, queue_bytes=1024 * 64)
    registry = InMemoryRegistry()
    registry.publish(class_bundle())
    narrow = mlembed.load("toy", registry=registry, settings=small)
    rows = toy_rows(500, 3)

    labels = [narrow.predict(row).label for row in rows * 4]
    batch = narrow.predict_batch(toy_table(5_000, 3))
    assert narrow.flush()

    assert labels[:500] == [model.predict(row).label for row in rows]
    assert len(batch.labels) == 5_000
    log = read_log(settings.log_dir, "toy")
    lost = sum(narrow.lost.values())
    assert log.label is not None
    kept = collections.Counter(log.label.tolist())
    assert set(kept) <= set(CLASSES)
    assert log.unreadable == 0
    assert len(log) > 0
    assert lost >= 0


def test_decorated_function_answers_with_a_class(model: mlembed.Model) -> None:
    """A function that returns a record is answered for with a class."""

    @mlembed.predicts(model)
    def mode() -> dict[str, object]:
        return dict(RECORD)

    assert mode().label in CLASSES


def test_breaker_leaves_the_graph_alone(settings: mlembed.Settings) -> None:
    """Runs that fail in a row open the circuit, and a good answer between them counts anew."""
    settings = dataclasses.replace(settings, breaker_failures=2, breaker_seconds=60.0)
    registry = InMemoryRegistry()
    registry.publish(slow_bundle_of_classes())
    model = mlembed.load("graph", registry=registry, settings=settings, timeout_ms=20, fallback=0.5)

    model.predict({"x": 1e9})
    good = model.predict({"x": 2.0})
    model.predict({"x": 1e9})
    many = model.predict_batch({"x": [2.0]})
    failed = [model.predict({"x": 1e9}) for _ in range(2)]
    stopped = model.predict({"x": 2.0})

    assert (good.label, many.labels) == ("tram", ["tram"])
    assert [answer.error.split(":")[0] for answer in failed] == ["PredictionTimeoutError"] * 2
    assert stopped.error.startswith("CircuitOpenError")
