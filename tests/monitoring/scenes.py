"""Real logs for the monitor's tests: a toy model predicts, and what it logged is read back."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np

import mlembed
from bundles import toy_bundle, toy_rows, toy_table
from mlembed.monitoring.log import PredictionLog, read_log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings


class Scene:
    """A model in service, its log and a way to read it.

    Args:
        registry: Holds the toy model.
        settings: Where it logs.
        fallback: As for `mlembed.load`.
    """

    def __init__(
        self, registry: FileRegistry, settings: Settings, ref: str = "toy", **options: Any
    ) -> None:
        self.settings = settings
        self.model = mlembed.load(ref, registry=registry, settings=settings, **options)

    def read(self, **window: Any) -> PredictionLog:
        """Write what waits and read the whole log."""
        self.model.flush()
        return read_log(self.settings.log_dir, "toy", **window)

    def predict(self, n: int, seed: int = 0) -> list[mlembed.Prediction]:
        """Predict *n* toy records one by one."""
        return [self.model.predict(row) for row in toy_rows(n, seed)]


def toy_log(n: int, **arrays: Any) -> PredictionLog:
    """Return a log of *n* plain predictions of the toy bundle, some arrays replaced."""
    bundle = toy_bundle()
    scores = np.linspace(0.01, 0.99, n) if n else np.empty(0)
    log = PredictionLog(
        model="toy",
        ids=_text([f"id-{i}" for i in range(n)]),
        keys=_text([None] * n),
        time_ns=np.arange(n, dtype=np.int64) * 10**9 + 1_790_000_000 * 10**9,
        version=_text(["1.0.0"] * n),
        digest=_text([bundle.id] * n),
        reason=_text(["ok"] * n),
        score=scores,
        latency=np.full(n, 2e-5),
        error_type=_text([""] * n),
        weights=np.ones(n),
        batch=np.ones(n, dtype=np.int64),
        has_features=np.ones(n, dtype=np.bool_),
        features={},
        outcomes=[],
    )
    return dataclasses.replace(log, **arrays)


def like_toy(n: int, **arrays: Any) -> Any:
    """Return a log of *n* rows that look like the reference."""
    scores = json.loads(toy_bundle().files["reference.json"])["score"]
    middles = np.array([-1.0, *scores["edges"]]) + 1e-9
    log = toy_log(n, features=features(toy_table(n, 3)), score=np.resize(middles, n))
    return dataclasses.replace(log, **arrays)


def features(table: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return the columns of *table* as a log holds them."""
    return {
        name: np.array([_logged(value) for value in values], dtype=object)
        for name, values in table.items()
    }


def hand_written(folder: Path, *records: Any, tail: bytes = b"", name: str = "a-1-0") -> None:
    """Write a log file that holds *records*, one a line, and ends in *tail*."""
    day = folder / "toy" / "dt=2026-11-01"
    day.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode() + b"\n"
        for record in records
    ]
    (day / f"{name}.jsonl").write_bytes(b"".join(lines) + tail)


def event(prediction_id: str = "p", body: str | None = '{"y":{"score":[0.5]}}', **more: Any) -> Any:
    """Return a small prediction event; *more* replaces parts of the record."""
    attributes = {"mlembed.prediction.id": {"stringValue": prediction_id}} | more.pop("also", {})
    return {
        "timeUnixNano": "1790000000000000000",
        "eventName": "mlembed.prediction",
        "body": {} if body is None else {"stringValue": body},
        "attributes": [{"key": key, "value": value} for key, value in attributes.items()],
    } | more


def _logged(value: Any) -> Any:
    return value.timestamp() if hasattr(value, "timestamp") else value


def _text(values: Sequence[Any]) -> Any:
    return np.fromiter(values, dtype=object, count=len(values))
