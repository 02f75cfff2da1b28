"""The model as the host sees it: a function that answers, and never surprises.

The caller waits for encoding, one graph and one decision; all else happens later. Where the host
named a fallback, no failure reaches it: the answer says `fallback` and why.
"""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING, Any, cast

from mlembed.errors import InferenceError, MlembedError, SettingsError
from mlembed.registry import open_source
from mlembed.registry.pointer import parse_ref
from mlembed.registry.registry import Registry
from mlembed.serving import hooks
from mlembed.serving.batch import Batch, lot
from mlembed.serving.breaker import Breaker
from mlembed.serving.failures import Failures
from mlembed.serving.fallback import RAISE, Fallback, checked
from mlembed.serving.handle import Handle
from mlembed.serving.loading import Serving
from mlembed.serving.pool import in_pool
from mlembed.serving.prediction import Prediction
from mlembed.settings import Settings, default_settings
from mlembed.telemetry.events import SHORT_KEY, make_outcome, text_bytes
from mlembed.telemetry.ids import SEQUENCE
from mlembed.telemetry.recorder import recorder_for

if TYPE_CHECKING:
    import datetime as dt

    from mlembed.registry import AnyRegistry, BundleSource
    from mlembed.registry.pointer import Ref
    from mlembed.serving.handle import State
    from mlembed.serving.loading import Served
    from mlembed.serving.prediction import AnswersItself

__all__ = ["RAISE", "Fallback", "Model", "load"]


INLINE_SECONDS = 0.001
_LEAST_MS, _MOST_MS = 1.0, 3.6e6
_time_ns, _perf_ns = time.time_ns, time.perf_counter_ns


def load(
    ref: str,
    *,
    registry: AnyRegistry | None = None,
    fallback: Fallback = RAISE,
    timeout_ms: float | None = None,
    settings: Settings | None = None,
) -> Model:
    """Return the live model that *ref* names; the first prediction loads it.

    Args:
        ref: `name@alias` or `name@1.2.0`; a bare name means its champion.
        registry: Directory, URL or registry object; the settings' registry by default.
        fallback: Score to answer with when anything fails; failures are raised by default.
        timeout_ms: Longest run of the graph, in milliseconds; it is stopped and fails beyond it.
        settings: Read from `MLEMBED_*` by default.

    Raises:
        SettingsError: If the reference, fallback or timeout is malformed or no registry is known.
    """
    settings = settings or default_settings()
    if registry is None or isinstance(registry, (str, os.PathLike, Registry)):
        registry = open_source(registry or settings.registry, settings)
    return Model(parse_ref(ref), registry, fallback, Serving(settings, _seconds(timeout_ms)))


class Model:
    """A live model: call `predict`; promoted versions come into service by themselves.

    Safe to share between threads, and across `fork`. Made by `mlembed.load`.

    Args:
        ref: What it serves.
        source: The registry.
        fallback: Score to answer with when anything fails, or RAISE.
        serving: Threads, limits, pauses and the log.
    """

    def __init__(
        self, ref: Ref, source: BundleSource, fallback: Fallback, serving: Serving
    ) -> None:
        self.ref = ref
        self.settings = settings = serving.settings
        self.fallback = checked(fallback)
        self._handle = Handle(ref, source, serving)
        self._recorder = recorder_for(settings) if settings.log else None
        self._breaker = Breaker(ref.name, settings.breaker_failures, settings.breaker_seconds)
        self._failures = Failures(ref, self.fallback, self._handle, self._breaker, self._recorder)

    def predict(  # noqa: C901, PLR0912, PLR0915  every call in here costs a hundredth of the answer
        self, record: Any, *, key: str | None = None
    ) -> Prediction:
        """Answer for one record.

        Args:
            record: A mapping of exactly the model's columns, a Record, or any object with those
                attributes, in the units the model was trained in. A mapping of arrays, where the
                graph takes tensors.
            key: The host's own key of the entity, so that outcomes and actions find it.

        Raises:
            SchemaError: If the record does not fit; lists every bad field.
            MlembedError: If no version can be loaded or the graph fails. None of these is raised
                where the model has a fallback.
        """
        time_ns, start = _time_ns(), _perf_ns()
        breaker, row = self._breaker, None
        try:
            if key is not None and type(key) is not str:
                key, given = None, key
                key = str(given)
            served = self._handle.current or self._handle.ready()
            if breaker.is_open:
                breaker.enter(served.version)
            free = served.rows.free
            if free:
                row = free.pop()
            elif served.answers_itself:  # and no row of it is ever free
                itself: AnswersItself = served  # type: ignore[assignment]  # its subclasses do
                return itself.predict(record, key, (time_ns, start), breaker, self._recorder)
            else:
                row = served.new_row()
            cells = row.cells
            if type(record) is dict:
                unknown = served.encode_dict(record, cells)
            else:
                unknown = served.encode(record, cells)
            row.run()
            score = row.scores[0]
            if score - score != 0.0:  # NaN, or without end
                raise InferenceError(
                    f"{self.ref.name}@{served.version} gave no finite number; look at the record"
                )
        except Exception as error:  # noqa: BLE001  raised again where there is no fallback
            if row is not None:
                free.append(row)
            return self._failures.answer(error, time_ns, _perf_ns() - start, key)
        latency = _perf_ns() - start
        if breaker.failed:
            breaker.succeed()
        source, recorder, block = served.source, self._recorder, row.block
        reason = "ok" if served.band is None else source.decide(score)[1]
        slot = block.n
        if slot >= block.room and recorder is not None:
            block = recorder.next_block(row, source)
            slot = block.n
        is_short = key is None or len(key) <= SHORT_KEY
        if slot < block.room and is_short and reason == "ok":
            if key is not None:
                block.keys[slot] = key
            if unknown is not None and recorder is not None:
                recorder.hold_words(block, slot, unknown)
            source.pack(block.cells, slot * source.slot_bytes, cells, score, time_ns, latency)
            block.n = slot + 1
            call = (source, time_ns, block.first + slot, latency, score, reason, "", key)
        else:
            call = (source, time_ns, SEQUENCE.next(), latency, score, reason, "", key)
            if recorder is not None:
                span = recorder.bridge.current_span() if recorder.bridge.traces else None
                whole = (*call, bytes(cells), unknown, span, 1.0)
                if is_short and unknown is None:
                    recorder.append(whole)
                else:
                    recorder.press(whole, text_bytes(whole))
        free.append(row)
        answer = Prediction(call)
        if hooks.subscribed:
            hooks.notify(answer)
        return answer

    async def apredict(self, record: Any, *, key: str | None = None) -> Prediction:
        """Answer for one record, from a coroutine; as `predict`.

        A model that answers within a millisecond, by its own measurement, runs inline: a thread
        would take longer. A slower one, and the first call, which loads the model, run on the
        library's own few threads, in the caller's context variables.
        """
        served = self._handle.current
        if served is not None and served.run_seconds <= INLINE_SECONDS:
            return self.predict(record, key=key)
        return await in_pool(functools.partial(self.predict, record, key=key))

    def predict_batch(self, data: Any) -> Batch:
        """Answer for many records at once.

        Args:
            data: Mapping of columns, or an Arrow, pandas or polars table. Where the graph takes
                tensors, a mapping of arrays whose first axis is the records, or a list of what
                `predict` takes.

        Returns:
            One score, label and id a record, in order.

        Raises:
            SchemaError: If the table does not fit; lists every bad column and its first bad row.
            MlembedError: As for `predict`; a fallback answers for every record.
        """
        time_ns, start = _time_ns(), _perf_ns()
        try:
            served = self._handle.current or self._handle.ready()
            if self._breaker.is_open:
                self._breaker.enter(served.version)
            if served.answers_itself:
                return cast("AnswersItself", served).predict_batch(
                    data, (time_ns, start), self._breaker, self._recorder
                )
            scores, matrix, unknown = served.score_columns(data)
        except Exception as error:  # noqa: BLE001  raised again where there is no fallback
            return self._failures.answer_all(error, time_ns, _perf_ns() - start, data)
        latency = _perf_ns() - start
        if self._breaker.failed:
            self._breaker.succeed()
        batch = Batch(scores, served.decide, self.ref.name, served.version, time_ns)
        batch.interval = served.source.interval
        if self._recorder is not None:
            self._recorder.append_batch(lot(served.source, batch, matrix, unknown, latency))
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
            value: The truth: a bool or the class's name, or a number in the training label's unit.
            key: The entity's key, where the id was not kept; the latest prediction before the
                outcome is meant then.
            observed_at: When it happened, with a time zone.
            revision: A higher one replaces an earlier report.

        Raises:
            OutcomeError: If neither id nor key, or no value, is given.
        """
        truth = make_outcome(self.ref.name, prediction_id, value, key, observed_at, revision)
        if self._recorder is not None:
            self._recorder.append_outcome(truth)

    @property
    def version(self) -> str:
        """Version in service; loads the model if there is none yet."""
        return (self._handle.current or self._handle.ready()).version

    @property
    def in_service(self) -> Served | None:
        """The version in service, with its `id` and `manifest`; None before the first load."""
        return self._handle.live

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

    @property
    def lost(self) -> dict[str, int]:
        """Log records this process lost so far, by reason; models that log alike share them."""
        return {} if self._recorder is None else self._recorder.lost()

    def close(self) -> None:
        """Stop looking for new versions and write what waits."""
        self._handle.close()
        self.flush()

    def __repr__(self) -> str:
        return f"<Model {self.ref} {self.state}{', circuit open' * self._breaker.is_open}>"


def _seconds(timeout_ms: float | None) -> float | None:
    if timeout_ms is None:
        return None
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, (int, float)):
        raise SettingsError("timeout_ms must be a number of milliseconds")
    if not _LEAST_MS <= timeout_ms <= _MOST_MS:
        raise SettingsError(f"timeout_ms must be between {_LEAST_MS:g} and {_MOST_MS:g}")
    return timeout_ms / 1000
