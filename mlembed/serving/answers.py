"""Answer for tensors: what `Model.predict` and `Model.predict_batch` do where a graph takes them.

Failures are raised to the model, whose fallback, breaker and log treat them as any other.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from mlembed.serving import hooks
from mlembed.serving.batch import Batch, lot
from mlembed.serving.prediction import Prediction
from mlembed.telemetry.events import SHORT_KEY
from mlembed.telemetry.ids import SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlembed.serving.breaker import Breaker
    from mlembed.serving.prediction import Answer
    from mlembed.serving.tensors import TensorServed
    from mlembed.telemetry.recorder import Recorder

    Arrays = Mapping[str, NDArray[Any]]

_perf_ns = time.perf_counter_ns


class TensorPrediction(Prediction):
    """One answer of a graph that takes tensors.

    `score` is None where the bundle declares none.
    """

    __slots__ = ("_outputs",)

    def __init__(self, call: Answer, outputs: Arrays) -> None:
        super().__init__(call)
        self._outputs = outputs

    @property
    def outputs(self) -> Arrays:
        """What the graph gave, by the outputs' names; texts are arrays of objects."""
        return self._outputs

    def to_json(self) -> dict[str, Any]:
        """Describe the prediction in plain JSON types; None for what is no finite number."""
        outputs = {name: _plain(array.tolist()) for name, array in self._outputs.items()}
        return super().to_json() | {"outputs": outputs}

    def __repr__(self) -> str:
        shapes = {name: f"{a.dtype.name}{list(a.shape)}" for name, a in self._outputs.items()}
        return f"{super().__repr__()[:-1]}, outputs={shapes})"

    def __getstate__(self) -> tuple[Any, ...]:
        return (*super().__getstate__(), self._outputs)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        super().__setstate__(state[:-1])
        self._outputs = state[-1]


class TensorBatch(Batch):
    """The answers for many records by a graph that takes tensors, in their order.

    `scores` are NaN where the bundle declares none.

    Attributes:
        outputs: What the graph gave, by the outputs' names; the first axis is the records.
    """


def predict_tensors(
    served: TensorServed,
    record: Any,
    key: str | None,
    moments: tuple[int, int],
    breaker: Breaker,
    recorder: Recorder | None,
) -> Prediction:
    """Answer for one record of tensors.

    Args:
        served: The version in service.
        record: A mapping of exactly the graph's inputs.
        key: The host's own key of the entity.
        moments: Unix time and clock at the beginning of the call, in nanoseconds.
        breaker: The model's.
        recorder: Where it is logged, or None.

    Raises:
        SchemaError: If the arrays do not fit; lists every bad input.
        InferenceError: If the declared score is no finite number.
        Exception: What the runtime raises.
    """
    time_ns, start = moments
    feed = served.feed.read(record)
    outputs = served.run(feed)
    score = served.score_of(outputs)
    latency = _perf_ns() - start
    if breaker.failed:
        breaker.succeed()
    reason = served.decide(score)[1] if score is not None else "ok"
    call = (served.source, time_ns, SEQUENCE.next(), latency, score, reason, "", key)
    if recorder is not None:
        span = recorder.bridge.current_span() if recorder.bridge.traces else None
        whole = (*call, None, served.source.described(feed), span, 1.0)
        if key is None or len(key) <= SHORT_KEY:
            recorder.append(whole)
        else:
            recorder.press(whole, 4 * len(key))
    answer = TensorPrediction(call, outputs)
    if hooks.subscribed:
        hooks.notify(answer)
    return answer


def predict_tensor_batch(
    served: TensorServed,
    data: Any,
    moments: tuple[int, int],
    breaker: Breaker,
    recorder: Recorder | None,
) -> Batch:
    """Answer for many records of tensors; as `predict_tensors`.

    Args:
        served: The version in service.
        data: A mapping of arrays whose first axis counts the records, or a sequence of what
            `predict` takes.
        moments: Unix time and clock at the beginning of the call, in nanoseconds.
        breaker: The model's.
        recorder: Where it is logged, or None.
    """
    time_ns, start = moments
    outputs, n_records, feed = served.answer_all(data)
    scores = served.scores_of(outputs, n_records)
    latency = _perf_ns() - start
    if breaker.failed:
        breaker.succeed()
    source = served.source
    batch = TensorBatch(scores, served.decide, source.name, source.version, time_ns)
    batch.outputs = outputs
    if recorder is not None:
        shapes = source.described(feed)
        logged = lot(source, batch, None, {}, latency)
        calls = ((*call[:9], shapes, *call[10:]) for call in logged.calls)
        recorder.append_batch(logged._replace(calls=calls))
    return batch


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
