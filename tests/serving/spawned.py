"""Predict in the workers of a pool, whatever starts them; run by test_fork."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import mlembed

_models: list[mlembed.Model] = []


def begin(folder: str) -> None:
    """Load the model of this process."""
    path = Path(folder)
    settings = mlembed.Settings(log_dir=path / "log", poll_seconds=0, flush_seconds=600)
    _models[:] = [mlembed.load("toy", registry=path / "registry", settings=settings)]


def answer(record: dict[str, Any], barrier: Any) -> tuple[int, mlembed.Prediction]:
    """Predict, once the other worker does too, and write what waits, as a worker just ends."""
    barrier.wait(30)
    prediction = _models[0].predict(record)
    assert _models[0].flush(30)
    return os.getpid(), prediction


def main(method: str, folder: str) -> None:
    """Print what two workers answer and what this process does."""
    record = json.loads((Path(folder) / "record.json").read_text())
    begin(folder)
    expected = _models[0].predict(record)
    context: Any = multiprocessing.get_context(method)
    with context.Manager() as manager, context.Pool(2, begin, (folder,)) as pool:
        barrier = manager.Barrier(2)
        told = pool.starmap(answer, [(record, barrier)] * 8, chunksize=1)
        pool.close()
        pool.join()
    assert not [t for t in threading.enumerate() if not t.daemon and t.name != "MainThread"]
    answers = [(pid, prediction.id, prediction.score) for pid, prediction in told]
    print(json.dumps({"answers": answers, "expected": expected.score}))  # noqa: T201  for the test
