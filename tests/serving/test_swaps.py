"""Promotions reach running processes under load: nothing fails, mixes or waits."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import mlembed
from bundles import RECORD, toy_bundle
from mlembed.monitoring.log import read_log
from mlembed.testing import InMemoryRegistry
from serving.logs import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.registry.file import FileRegistry
    from mlembed.serving.prediction import Prediction

    Record = dict[str, object]

ROOT = Path(__file__).parents[2]
N_THREADS = 8
N_VERSIONS = 4
POLL_SECONDS = 0.05
LONGEST_SECONDS = 2.0  # a busy machine may pause a thread; a load that blocked would pause all


def record_of(number: int) -> Record:
    """Return the record that thread *number* predicts."""
    return RECORD | {"age": 20.0 + 10 * number, "visits": number}


def scores_of(
    versions: Sequence[str], settings: mlembed.Settings, *records: Record
) -> dict[str, list[float]]:
    """Return the scores of *records* by version, each a step of log-odds above the one before."""
    found = {}
    for shift, version in enumerate(versions):
        source = InMemoryRegistry()
        source.publish(toy_bundle(version=version, shift=float(shift)))
        model = mlembed.load("toy", registry=source, settings=settings)
        found[version] = [model.predict(record).score for record in records]
    return found


class Caller(threading.Thread):
    """A thread of the host that predicts its own record all the time.

    Attributes:
        answers: One answer of each version, and every answer that differs from it.
        longest_seconds: The longest prediction.
        failure: What a prediction raised, or None.
    """

    def __init__(self, model: mlembed.Model, number: int, stop: threading.Event) -> None:
        super().__init__()
        self.answers: dict[tuple[str, float], Prediction] = {}
        self.longest_seconds = 0.0
        self.failure: Exception | None = None
        self._model, self._record, self._ended = model, record_of(number), stop

    def run(self) -> None:
        """Predict until told to stop."""
        try:
            while not self._ended.is_set():
                start = time.perf_counter()
                answer = self._model.predict(self._record)
                self.longest_seconds = max(self.longest_seconds, time.perf_counter() - start)
                self.answers[answer.version, answer.score] = answer
        except Exception as error:  # noqa: BLE001  told by the test
            self.failure = error


def test_promotions_under_load(registry: FileRegistry, settings: mlembed.Settings) -> None:
    """Eight threads see every version come in, each score is that of the version it names."""
    versions = [f"1.{minor}.0" for minor in range(N_VERSIONS)]
    expected = scores_of(versions, settings, *map(record_of, range(N_THREADS)))
    live = dataclasses.replace(settings, poll_seconds=POLL_SECONDS)
    model, stop = mlembed.load("toy", registry=registry, settings=live), threading.Event()
    model.predict(RECORD)
    callers = [Caller(model, number, stop) for number in range(N_THREADS)]
    for caller in callers:
        caller.start()

    for shift, version in enumerate(versions):
        registry.publish(toy_bundle(version=version, shift=float(shift)))
        registry.promote("toy", "champion", version)
        keys = [(version, expected[version][number]) for number in range(N_THREADS)]
        wait_until(
            lambda keys=keys: all(k in c.answers for k, c in zip(keys, callers, strict=True)),  # type: ignore[misc]  # bound at once
            f"{version} in service in every thread",
        )
    stop.set()
    for caller in callers:
        caller.join()

    assert [caller.failure for caller in callers] == [None] * N_THREADS
    for number, caller in enumerate(callers):
        assert set(caller.answers) == {(v, expected[v][number]) for v in versions}
        assert {answer.reason for answer in caller.answers.values()} == {"ok"}
    assert max(caller.longest_seconds for caller in callers) < LONGEST_SECONDS


def test_a_hundred_swaps(registry: FileRegistry, settings: mlembed.Settings) -> None:
    """Eight threads predict through a hundred promotions, records and tables, none mixed or lost."""
    versions = ["1.0.0", "1.1.0", "1.2.0"]
    records = [record_of(number) for number in range(N_THREADS)]
    expected = scores_of(versions, dataclasses.replace(settings, log=False), *records)
    for shift, version in enumerate(versions[1:], 1):
        registry.publish(toy_bundle(version=version, shift=float(shift)))
    model, stop, failures = mlembed.load("toy", registry=registry, settings=settings), [False], []
    model.predict(RECORD)
    told: list[dict[str, tuple[str, float]]] = [{} for _ in records]

    def work(number: int) -> None:
        table = {name: [value] * 3 for name, value in records[number].items()}
        try:
            while not stop[0]:
                one = model.predict(records[number], key=str(number))
                told[number][one.id] = (one.version, one.score)
                many = model.predict_batch(table)
                for identity, score in zip(many.ids, many.scores.tolist(), strict=True):
                    told[number][identity] = (many.version, score)
                time.sleep(0.005)  # leaves the loads their turn
        except Exception as error:  # noqa: BLE001  told by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for swap in range(1, 101):
        registry.promote("toy", "champion", versions[swap % 3])
        assert model.refresh()
    stop[0] = True
    for thread in threads:
        thread.join()

    assert not failures
    for number, answers in enumerate(told):
        assert set(answers.values()) <= {(v, expected[v][number]) for v in versions}
    assert {version for answers in told for version, _ in answers.values()} == {*versions}
    everything = {key: answer for answers in told for key, answer in answers.items()}
    assert model.flush(30)
    log = read_log(settings.log_dir, "toy")
    logged = dict(zip(log.ids, zip(log.version, log.score, strict=True), strict=True))
    assert (log.unreadable, log.torn, log.repeated) == (0, 0, 0)
    assert all(logged[identity] == everything[identity] for identity in everything.keys() & logged)
    assert model.lost or everything.keys() <= logged.keys()


PROCESS = """
import json, sys
import mlembed
from pathlib import Path
folder, last, record = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
settings = mlembed.Settings(log_dir=folder / "log", poll_seconds=0.05)
model = mlembed.load("toy", registry=folder / "registry", settings=settings)
version = ""
while version != last:
    answer = model.predict(record)
    if answer.version != version:
        version = answer.version
        print(json.dumps([version, answer.score]), flush=True)
"""


def test_promotions_reach_other_processes(
    registry: FileRegistry, settings: mlembed.Settings, tmp_path: Path
) -> None:
    """Two processes that serve the same alias both follow it, each with the right score."""
    versions = ["1.0.0", "1.1.0"]
    expected = {
        version: score for version, (score, *_) in scores_of(versions, settings, RECORD).items()
    }
    registry.publish(toy_bundle(version="1.1.0", shift=1.0))
    record = json.dumps(RECORD, default=str)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path), versions[-1], record],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]

    lines = [[json.loads(process.stdout.readline())] for process in processes if process.stdout]
    registry.promote("toy", "champion", "1.1.0")
    for process, seen in zip(processes, lines, strict=True):
        out, _ = process.communicate(timeout=30)
        seen += [json.loads(line) for line in out.splitlines()]

    assert [process.returncode for process in processes] == [0, 0]
    assert lines == [[[version, expected[version]] for version in versions]] * 2
