"""The model as the host sees it: a function that answers, and never surprises.

The caller waits for encoding, one graph and one decision; all else happens later. Where the host
named a fallback, no failure reaches it: the answer says `fallback` and why.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import InferenceError, MlembedError
from mlembed.registry import open_registry
from mlembed.registry.pointer import parse_ref
from mlembed.serving import hooks
from mlembed.serving.arrays import count_records
from mlembed.serving.batch import Batch, batch_entries
from mlembed.serving.fallback import RAISE, Fallback, Raise, checked
from mlembed.serving.handle import Handle
from mlembed.serving.prediction import Prediction
from mlembed.settings import Settings, default_settings
from mlembed.telemetry.events import Entry, make_outcome, unknown_source
from mlembed.telemetry.ids import SEQUENCE
from mlembed.telemetry.recorder import recorder_for

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from mlembed.registry import BundleSource
    from mlembed.registry.pointer import Ref
    from mlembed.serving.handle import State
    from mlembed.telemetry.events import Source

__all__ = ["RAISE", "Fallback", "Model", "load"]


_GREATEST = sys.float_info.max
_LEAST = -_GREATEST


def load(
    ref: str,
    *,
    registry: str | Path | BundleSource | None = None,
    fallback: Fallback = RAISE,
    settings: Settings | None = None,
) -> Model:
    """Return the live model that *ref* names; the first prediction loads it.

    Args:
        ref: `name@alias` or `name@1.2.0`; a bare name means its champion.
        registry: Directory, URL or registry object; the settings' registry by default.
        fallback: Score to answer with when anything fails; failures are raised by default.
        settings: Read from `MLEMBED_*` by default.

    Raises:
        SettingsError: If the reference or fallback is malformed or no registry is known.
    """
    settings = settings or default_settings()
    if registry is None or isinstance(registry, (str, os.PathLike)):
        registry = open_registry(registry or settings.registry)
    return Model(parse_ref(ref), registry, fallback, settings)


class Model:
    """A live model: call `predict`; promoted versions come into service by themselves.

    Safe to share between threads, and across `fork`. Made by `mlembed.load`.

    Args:
        ref: What it serves.
        source: The registry.
        fallback: Score to answer with when anything fails, or RAISE.
        settings: Threads, pauses and the log.
    """

    def __init__(
        self, ref: Ref, source: BundleSource, fallback: Fallback, settings: Settings
    ) -> None:
        self.ref = ref
        self.settings = settings
        self.fallback = checked(fallback)
        self._handle = Handle(ref, source, settings)
        self._recorder = recorder_for(settings) if settings.log else None

    def predict(self, record: Any, *, key: str | None = None) -> Prediction:
        """Answer for one record.

        Args:
            record: A mapping of exactly the model's columns, a Record, or any object with those
                attributes, in the units the model was trained in.
            key: The host's own key of the entity, so that outcomes and actions find it.

        Raises:
            SchemaError: If the record does not fit; lists every bad field.
            MlembedError: If no version can be loaded or the graph fails. None of these is raised
                where the model has a fallback.
        """
        time_ns, start = time.time_ns(), time.perf_counter_ns()
        if key is not None and type(key) is not str:
            key = str(key)
        try:
            served = self._handle.current or self._handle.ready()
            try:
                row = served.rows.row
            except AttributeError:
                row = served.new_row()
            unknown = served.encoder.encode(record, row.cells)
            row.run()
            score = row.scores[0]
            if not _LEAST <= score <= _GREATEST:  # NaN is not either
                raise InferenceError(
                    f"{self.ref.name}@{served.version} gave no finite number; look at the record"
                )
        except Exception as error:  # noqa: BLE001  raised again where there is no fallback
            return self._fall_back(error, time_ns, time.perf_counter_ns() - start, key)
        latency = time.perf_counter_ns() - start
        label, reason = served.decide(score)
        sequence = SEQUENCE.next()
        answer = Prediction(
            score, label, self.ref.name, served.version, time_ns, sequence, reason, "", key
        )
        recorder = self._recorder
        if recorder is not None:
            span = recorder.bridge.current_span() if recorder.bridge.traces else None
            recorder.append(
                Entry(
                    served.source,
                    time_ns,
                    sequence,
                    latency,
                    score,
                    reason,
                    "",
                    key,
                    bytes(row.cells),
                    unknown,
                    span,
                )
            )
        if hooks.subscribed:
            hooks.notify(answer)
        return answer

    async def apredict(self, record: Any, *, key: str | None = None) -> Prediction:
        """Answer for one record, from a coroutine; as `predict`.

        A loaded model answers within microseconds, so it runs inline; only the first call, which
        loads the model, is moved to a thread.
        """
        if self._handle.current is None:
            import asyncio

            return await asyncio.to_thread(self.predict, record, key=key)
        return self.predict(record, key=key)

    def predict_batch(self, data: Any) -> Batch:
        """Answer for many records at once.

        Args:
            data: Mapping of columns, or an Arrow, pandas or polars table.

        Returns:
            One score, label and id a record, in order.

        Raises:
            SchemaError: If the table does not fit; lists every bad column and its first bad row.
            MlembedError: As for `predict`; a fallback answers for every record.
        """
        time_ns, start = time.time_ns(), time.perf_counter_ns()
        try:
            served = self._handle.current or self._handle.ready()
            scores, matrix, unknown = served.score_columns(data)
        except Exception as error:  # noqa: BLE001  raised again where there is no fallback
            return self._fall_back_all(error, time_ns, time.perf_counter_ns() - start, data)
        latency = time.perf_counter_ns() - start
        batch = Batch(scores, served.decide, self.ref.name, served.version, time_ns)
        if self._recorder is not None:
            self._recorder.append_batch(
                batch_entries(served.source, batch, matrix, unknown, latency)
            )
        return batch

    def outcome(
        self,
        prediction_id: str = "",
        value: bool | float | str | None = None,  # noqa: FBT001  the label itself
        *,
        key: str = "",
        observed_at: dt.datetime | None = None,
        revision: int = 0,
    ) -> None:
        """Report what really happened, whenever it is known.

        Args:
            prediction_id: `Prediction.id`, or a row's id of a batch.
            value: The truth, in the units of the training label.
            key: The entity's key, where the id was not kept; the latest prediction before the
                outcome is meant then.
            observed_at: When it happened, with a time zone.
            revision: A higher one replaces an earlier report.

        Raises:
            OutcomeError: If neither id nor key, or no value, is given.
        """
        truth = make_outcome(self.ref.name, prediction_id, value, key, observed_at, revision)
        if self._recorder is not None:
            self._recorder.append(truth)

    @property
    def version(self) -> str:
        """Version in service; loads the model if there is none yet."""
        return (self._handle.current or self._handle.ready()).version

    @property
    def state(self) -> State:
        """NOT_READY before the first load, READY, STALE (last good version serves) or ERROR."""
        return self._handle.state

    @property
    def error(self) -> MlembedError | None:
        """What the last look at the registry failed with, or None."""
        return self._handle.error

    def refresh(self) -> bool:
        """Look for a promoted version now; return whether one came into service."""
        return self._handle.refresh()

    def flush(self, timeout_seconds: float = 2.0) -> bool:
        """Wait until every prediction so far is in the log; return whether it is."""
        return self._recorder is None or self._recorder.flush(timeout_seconds)

    def close(self) -> None:
        """Stop looking for new versions and write what waits."""
        self._handle.close()
        self.flush()

    def __repr__(self) -> str:
        return f"<Model {self.ref} {self.state}>"

    def _fall_back(
        self, error: Exception, time_ns: int, latency_ns: int, key: str | None
    ) -> Prediction:
        error, fallback, source = self._mapped(error), self.fallback, self._source()
        sequence, kind = SEQUENCE.next(), type(error).__name__
        if self._recorder is not None:
            score, reason = (
                (None, "error") if isinstance(fallback, Raise) else (fallback, "fallback")
            )
            self._recorder.append(
                Entry(
                    *(source, time_ns, sequence, latency_ns, score, reason, kind, key),
                    *(None, None, None),
                )
            )
        if isinstance(fallback, Raise):
            raise error
        prediction = Prediction(
            *(fallback, None, self.ref.name, source.version, time_ns, sequence),
            *("fallback", f"{kind}: {error}", key),
        )
        if hooks.subscribed:
            hooks.notify(prediction)
        return prediction

    def _fall_back_all(self, error: Exception, time_ns: int, latency_ns: int, data: Any) -> Batch:
        fallback, source = self.fallback, self._source()
        if isinstance(fallback, Raise):
            self._fall_back(error, time_ns, latency_ns, None)
        error = self._mapped(error)
        batch = Batch(
            np.full(count_records(data), fallback),
            lambda _: (None, "fallback"),
            *(self.ref.name, source.version, time_ns, f"{type(error).__name__}: {error}"),
        )
        if self._recorder is not None:
            self._recorder.append_batch(batch_entries(source, batch, None, {}, latency_ns))
        return batch

    def _mapped(self, error: Exception) -> MlembedError:
        if isinstance(error, MlembedError):
            return error
        mapped = InferenceError(f"{self.ref}: {type(error).__name__} while predicting")
        mapped.__cause__ = error
        return mapped

    def _source(self) -> Source:
        served = self._handle.current
        return unknown_source(self.ref.name) if served is None else served.source
