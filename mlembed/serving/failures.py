"""Answer where a call failed: with the host's fallback, or by raising what failed.

Either way the failure is logged, and the breaker hears of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import InferenceError, MlembedError
from mlembed.serving import hooks
from mlembed.serving.arrays import count_records
from mlembed.serving.batch import Batch, lot
from mlembed.serving.fallback import Raise
from mlembed.serving.prediction import Prediction
from mlembed.telemetry.events import text_bytes
from mlembed.telemetry.ids import SEQUENCE
from mlembed.telemetry.source import unknown_source

if TYPE_CHECKING:
    from mlembed.registry.pointer import Ref
    from mlembed.serving.breaker import Breaker
    from mlembed.serving.fallback import Fallback
    from mlembed.serving.handle import Handle
    from mlembed.telemetry.recorder import Recorder
    from mlembed.telemetry.source import Source


class Failures:
    """What becomes of a model's calls that fail.

    Args:
        ref: The model.
        fallback: Score to answer with, or RAISE.
        handle: Knows the version in service.
        breaker: Hears of each failure.
        recorder: Logs it; None where nothing is logged.
    """

    def __init__(
        self,
        ref: Ref,
        fallback: Fallback,
        handle: Handle,
        breaker: Breaker,
        recorder: Recorder | None,
    ) -> None:
        self._ref = ref
        self._fallback = fallback
        self._handle = handle
        self._breaker = breaker
        self._recorder = recorder

    def answer(
        self, error: Exception, time_ns: int, latency_ns: int, key: str | None
    ) -> Prediction:
        """Answer for one record.

        Args:
            error: What failed.
            time_ns: Unix time of the call.
            latency_ns: How long it took.
            key: The host's own key of the entity.

        Raises:
            MlembedError: What failed, where there is no fallback.
        """
        source = self._note(error)
        error, fallback = self._mapped(error), self._fallback
        score, reason = (None, "error") if isinstance(fallback, Raise) else (fallback, "fallback")
        why = f"{type(error).__name__}: {error}"
        call = (source, time_ns, SEQUENCE.next(), latency_ns, score, reason, why, key)
        if self._recorder is not None:
            whole = (*call, None, None, None, 1.0)
            self._recorder.press(whole, text_bytes(whole))
        if isinstance(fallback, Raise):
            raise error
        prediction = Prediction(call)
        if hooks.subscribed:
            hooks.notify(prediction)
        return prediction

    def answer_all(self, error: Exception, time_ns: int, latency_ns: int, data: Any) -> Batch:
        """Answer for every record of *data*; as `answer`."""
        fallback = self._fallback
        if isinstance(fallback, Raise):
            self.answer(error, time_ns, latency_ns, None)
        source, error = self._note(error), self._mapped(error)
        batch = Batch(
            np.full(count_records(data), fallback),
            lambda _: (None, "fallback"),
            *(self._ref.name, source.version, time_ns, f"{type(error).__name__}: {error}"),
        )
        if self._recorder is not None:
            self._recorder.append_batch(lot(source, batch, None, {}, latency_ns))
        return batch

    def _mapped(self, error: Exception) -> MlembedError:
        if isinstance(error, MlembedError):
            return error
        mapped = InferenceError(f"{self._ref}: {type(error).__name__} while predicting")
        mapped.__cause__ = error
        return mapped

    def _note(self, error: Exception) -> Source:
        """Tell the breaker of *error*; return the source of what failed."""
        served = self._handle.current
        if served is None:
            return unknown_source(self._ref.name)
        if served is self._handle.live:  # what a test puts in its place trips nothing
            self._breaker.fail(error, served.version)
        return served.source
