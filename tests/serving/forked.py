"""Programs that fork after they predicted; run by test_fork in processes of their own.

Each takes a folder with a registry and record.json, and prints one JSON value.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import itertools
import json
import multiprocessing
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlembed
from mlembed.registry.pointer import Ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.pointer import Target

FOLDER = Path(sys.argv[2])
RECORD: dict[str, Any] = json.loads((FOLDER / "record.json").read_text())
TABLE = {name: [value] * 5 for name, value in RECORD.items()}
SETTINGS = mlembed.Settings(log_dir=FOLDER / "log", poll_seconds=0.05)
N_CHILDREN = 4
N_IDS = 25_000
N_FORKS = 15
EXIT_SECONDS = 20.0
inherited: list[mlembed.Model] = []


def load(settings: mlembed.Settings = SETTINGS) -> mlembed.Model:
    """Return the toy model, after it has predicted."""
    model = mlembed.load("toy", registry=FOLDER / "registry", settings=settings)
    model.predict(RECORD)
    return model


def fork(work: Callable[[], object]) -> int:
    """Run *work* in a forked child that then exits as any program does; return its pid."""
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(EXIT_SECONDS - 5)
        work()
        sys.exit(0)
    return pid


def exits(pids: list[int]) -> list[int]:
    """Return the exit code of each child; -9 for one that had to be killed."""
    deadline = time.monotonic() + EXIT_SECONDS
    codes = []
    for pid in pids:
        done, status = os.waitpid(pid, os.WNOHANG)
        while not done and time.monotonic() < deadline:
            time.sleep(0.01)
            done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            os.kill(pid, 9)
            _, status = os.waitpid(pid, 0)
        codes.append(os.waitstatus_to_exitcode(status))
    return codes


def ids() -> object:
    """Predict in the parent and in every child; each writes its ids to a file of its own."""
    model = load()

    def work() -> None:
        made = [model.predict(RECORD).id for _ in range(N_IDS)]
        (FOLDER / f"{os.getpid()}.ids").write_text("\n".join(made))
        model.flush(EXIT_SECONDS)

    children = [fork(work) for _ in range(N_CHILDREN)]
    model.predict(RECORD)
    return {"codes": exits(children), "pids": [os.getpid(), *children]}


def answer(number: int) -> list[Any]:
    """Predict in a worker of the pool, with the model that it inherited."""
    model = inherited[0]
    prediction = model.predict(RECORD | {"visits": number})
    return [os.getpid(), prediction.version, prediction.score, model.flush()]


def pool() -> object:
    """Predict in the workers of a multiprocessing pool."""
    inherited.append(load())
    with multiprocessing.get_context("fork").Pool(2) as workers:
        answers = workers.map(answer, range(40), chunksize=1)
        workers.close()
        workers.join()
    expected = [answer(number)[2] for number in range(40)]
    return {"answers": answers, "expected": expected, "pid": os.getpid()}


def follow(threads: int) -> object:
    """Promote a version after the fork; the children follow it by themselves."""
    model = load(dataclasses.replace(SETTINGS, threads=threads))

    def work() -> None:
        deadline = time.monotonic() + EXIT_SECONDS
        while model.predict(RECORD).version != "1.1.0":
            if time.monotonic() > deadline:
                os._exit(3)
            time.sleep(0.01)

    children = [fork(work) for _ in range(2)]
    mlembed.registry.FileRegistry(FOLDER / "registry").promote("toy", "champion", "1.1.0")
    return {"codes": exits(children)}


def busy() -> object:
    """Fork again and again while threads predict and versions change."""
    model, stop = load(), threading.Event()
    registry = mlembed.registry.FileRegistry(FOLDER / "registry")

    def predict() -> None:
        while not stop.is_set():
            model.predict(RECORD)
            model.outcome("id", 1.0)

    def swap() -> None:
        while not stop.is_set():
            for version in ("1.1.0", "1.0.0"):
                registry.promote("toy", "champion", version)
                model.refresh()

    def work() -> None:
        for _ in range(3):
            model.predict(RECORD)
        model.refresh()

    threads = [threading.Thread(target=target) for target in (predict, predict, swap)]
    for thread in threads:
        thread.start()
    codes = [exits([fork(work)])[0] for _ in range(N_FORKS)]
    stop.set()
    for thread in threads:
        thread.join()
    return {"codes": codes, "state": model.state}


def sessions() -> object:
    """Tell whether a child runs the session that it inherited, and what it answers."""
    told = []
    for others in (0, 1):
        model = load()
        for thread in [threading.Thread(target=model.predict, args=(RECORD,))] * others:
            thread.start()
            thread.join()
        served = model._handle.current
        path = FOLDER / f"session-{others}.json"

        def work(model: mlembed.Model = model, served: object = served, path: Path = path) -> None:
            score = model.predict(RECORD).score
            path.write_text(json.dumps([model._handle.current is served, score]))

        codes = exits([fork(work)])
        told.append([*json.loads(path.read_text()), model.predict(RECORD).score, *codes])
    return told


MOMENTS: dict[str, Callable[[mlembed.Model], object]] = {
    "before the load": lambda _: None,
    "after the load": lambda model: model.version,
    "after a prediction": lambda model: model.predict(RECORD),
    "after a table": lambda model: model.predict_batch(TABLE),
    "after another thread's": lambda model: in_threads(1, model, 1).join(),
    "amid another thread's load": lambda model: in_threads(1, model, 1),
    "amid other threads'": lambda model: (model.version, in_threads(2, model, 400))[1],
}


def in_threads(n: int, model: mlembed.Model, times: int) -> threading.Thread:
    """Predict in *n* threads, and return the last one."""

    def predict() -> None:
        for _ in range(times):
            model.predict(RECORD)

    for _ in range(n):
        thread = threading.Thread(target=predict)
        thread.start()
    return thread


def moments(threads: int) -> object:
    """Fork at each moment of a model's life; tell what child and grandchild answer, and the parent."""
    settings, told = dataclasses.replace(SETTINGS, threads=threads, poll_seconds=0), {}
    for moment, act in MOMENTS.items():
        model, path = (
            mlembed.load("toy", registry=FOLDER / "registry", settings=settings),
            FOLDER / f"{moment}.json",
        )
        act(model)

        def answers(model: mlembed.Model = model) -> list[float]:
            return [model.predict(RECORD).score, *model.predict_batch(TABLE).scores.tolist()]

        def grandchild(path: Path = path, answers: Callable[[], list[float]] = answers) -> None:
            path.write_text(json.dumps(answers()))

        def child(answers: Callable[[], list[float]] = answers) -> None:
            first = answers()
            faulthandler.cancel_dump_traceback_later()  # a child of the child cannot end it
            if exits([fork(grandchild)]) != [0] or answers() != first:
                sys.exit(3)

        codes = exits([fork(child)])
        told[moment] = [codes, json.loads(path.read_text()) == answers(), len(set(answers()))]
    return told


class Restless:
    """A registry that names another version at every look."""

    def __init__(self) -> None:
        self._registry = mlembed.registry.FileRegistry(FOLDER / "registry")
        self._versions = itertools.cycle(("1.0.0", "1.1.0"))

    def resolve(self, ref: Ref) -> Target:
        """Return the version after the last one."""
        return self._registry.resolve(Ref(ref.name, next(self._versions)))

    def fetch(self, target: Target) -> Bundle:
        """Return the bundle of *target*."""
        return self._registry.fetch(target)


def leave() -> object:
    """End while a thread brings one version after another into service."""
    settings = dataclasses.replace(SETTINGS, poll_seconds=1e-6)
    model = mlembed.load("toy", registry=Restless(), settings=settings)
    model.predict(RECORD)
    time.sleep(0.1)
    return model.state


PROGRAMS: dict[str, Callable[[], object]] = {
    "ids": ids,
    "pool": pool,
    "follow": lambda: follow(1),
    "follow with two threads": lambda: follow(2),
    "busy": busy,
    "moments": lambda: moments(1),
    "moments with two threads": lambda: moments(2),
    "sessions": sessions,
    "leave": leave,
}

if __name__ == "__main__":
    print(json.dumps(PROGRAMS[sys.argv[1]]()))  # noqa: T201  what the test reads
