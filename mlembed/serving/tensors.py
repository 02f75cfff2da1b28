"""Bring a bundle whose graph takes named tensors into service, proved on its golden calls.

It stands where a version with columns would, so replacement, forks and limits are the same; only what
the graph is fed with, and what it gives, is another.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.bundle.calls import read_calls
from mlembed.bundle.manifest import MODEL
from mlembed.errors import BundleError, InferenceError, SchemaError
from mlembed.serving.answers import predict_tensor_batch, predict_tensors
from mlembed.serving.feed import Feed
from mlembed.serving.loading import Served, proving
from mlembed.serving.session import TensorSession
from mlembed.telemetry.tensors import TensorSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlembed.serving.batch import Batch
    from mlembed.serving.breaker import Breaker
    from mlembed.serving.prediction import Prediction
    from mlembed.settings import Settings
    from mlembed.telemetry.recorder import Recorder
    from mlembed.tensors import Tensor

    Arrays = Mapping[str, NDArray[Any]]

_QUICK_SECONDS, _TIMES = 0.01, 5


class TensorServed(Served):
    """One version whose graph takes tensors, in service; shared by all threads.

    It has no rows to bind: `rows` stays empty, and `answer` takes their place.

    Args:
        bundle: The verified bundle.
        serving: How it is served.

    Raises:
        BundleError: If the graph cannot be loaded or its tensors are not the manifest's.
        GoldenError: If it does not reproduce its golden calls on this machine.
    """

    source: TensorSource
    answers_itself = True

    def predict(
        self,
        record: Any,
        key: str | None,
        moments: tuple[int, int],
        breaker: Breaker,
        recorder: Recorder | None,
    ) -> Prediction:
        """Answer for one record; see `answers.predict_tensors`."""
        return predict_tensors(self, record, key, moments, breaker, recorder)

    def predict_batch(
        self, data: Any, moments: tuple[int, int], breaker: Breaker, recorder: Recorder | None
    ) -> Batch:
        """Answer for many records; see `answers.predict_tensor_batch`."""
        return predict_tensor_batch(self, data, moments, breaker, recorder)

    def _load(self, settings: Settings) -> None:
        manifest = self.manifest
        self.feed = Feed(manifest.title, manifest.inputs)
        self.graph = TensorSession(self._bundle.files[MODEL], settings.threads)
        self.source = TensorSource(
            *(manifest.name, manifest.version, self.id, manifest.inputs, self.decide)
        )
        score = manifest.score
        self._is_batch = score is not None and self.counts_records(score.output)
        for side, found, said in (
            ("takes", self.graph.inputs, manifest.inputs),
            ("gives", self.graph.outputs, manifest.outputs),
        ):
            if found != {tensor.name: tensor.dtype for tensor in said}:
                raise BundleError(
                    f"{manifest.title}: the graph {side} {_listed(found)}; the manifest says "
                    f"{', '.join(f'{tensor.name} {tensor.dtype}' for tensor in said)}. Pack the "
                    "model again"
                )

    def _prove(self) -> float:
        """Replay the golden calls; return the median time of one, a quick one repeated."""
        golden, times = read_calls(self._bundle), []

        def timed(inputs: Arrays) -> Arrays:
            feed = self.feed.read(dict(inputs))
            taken: list[float] = []
            while not taken or (taken[0] < _QUICK_SECONDS and len(taken) < _TIMES):
                start = time.perf_counter()
                outputs = self.run(feed)
                taken.append(time.perf_counter() - start)
            times.append(sorted(taken)[len(taken) // 2])
            return outputs

        with proving(self.manifest.title):
            golden.replay(self.manifest.title, timed)
        return sorted(times)[len(times) // 2]

    def run(self, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph on checked arrays; raises what the runtime raises."""
        self._runners.add(threading.get_ident())
        return self.graph.run(feed, self._timeout_seconds)

    def score_of(self, outputs: Arrays) -> float | None:
        """Return the score of one record; None where the bundle declares none.

        Raises:
            InferenceError: If there is no such number, or several records were given.
        """
        declared = self.manifest.score
        if declared is None:
            return None
        array = outputs[declared.output]
        if self._is_batch and array.ndim and len(array) != 1:
            raise InferenceError(
                f"{self.manifest.title}: the score's output holds {len(array)} records; give one, "
                "or all of them to predict_batch"
            )
        if declared.index >= array.size:
            raise self._no_score(array)
        score = float(array.item(declared.index))
        if score - score != 0.0:  # NaN, or without end
            raise InferenceError(
                f"{self.manifest.title} gave no finite score; look at what it was given"
            )
        return score

    def scores_of(self, outputs: Arrays, n_records: int) -> NDArray[np.float64]:
        """Return the score of each record, `(n_records,)`; NaN where the bundle declares none.

        Raises:
            InferenceError: If there is no such number for each.
        """
        declared = self.manifest.score
        if declared is None or not n_records:
            return np.full(n_records, np.nan)
        array = outputs[declared.output].reshape(n_records, -1)
        if declared.index >= array.shape[1]:
            raise self._no_score(array)
        scores = array[:, declared.index].astype(np.float64)
        if not np.isfinite(scores).all():
            raise InferenceError(f"{self.manifest.title} gave no finite score for some records")
        return scores

    def answer_all(self, data: Any) -> tuple[dict[str, NDArray[Any]], int, Arrays]:
        """Answer for stacked records.

        Args:
            data: A mapping of arrays whose first axis counts the records where it is dynamic, and
                which hold for all records where it is not; or a list of what `predict` takes.

        Returns:
            The outputs, their first axis the records; how many there are; the inputs.

        Raises:
            SchemaError: If the arrays do not fit, or the graph takes one record at a time.
            InferenceError: If an output is not one entry a record.
        """
        manifest = self.manifest
        counted = [tensor.name for tensor in manifest.inputs if tensor.may_batch]
        fixed = [tensor for tensor in manifest.outputs if not tensor.may_batch]
        if fixed or not counted:
            first = (fixed or manifest.inputs)[0]
            raise self._misfit(
                f"its graph has no batch axis: '{first.name}' is {first.text}; call predict for "
                "each record, or export the model with a dynamic first axis"
            )
        feed = self._stacked(data) if isinstance(data, (list, tuple)) else self.feed.read(data)
        lengths = {name: len(feed[name]) if feed[name].ndim else -1 for name in counted}
        n_records = lengths[counted[0]]
        if n_records < 0 or len({*lengths.values()}) > 1:
            told = ", ".join(f"'{name}' {list(feed[name].shape)}" for name in counted)
            raise self._misfit(f"the inputs differ in their number of records: {told}")
        if not n_records:
            return {tensor.name: _empty(tensor) for tensor in manifest.outputs}, 0, feed
        outputs = self.run(feed)
        for name, array in outputs.items():
            if not array.ndim or len(array) != n_records:
                raise InferenceError(
                    f"{manifest.title}: '{name}' has the shape {list(array.shape)} for {n_records} "
                    "records, so its first axis does not count them; call predict for each"
                )
        return outputs, n_records, feed

    def _stacked(self, records: list[Any] | tuple[Any, ...]) -> dict[str, NDArray[Any]]:
        """Return the records one above the other, each of one record as `predict` takes it."""
        if not records:
            return {t.name: _empty(t) for t in self.manifest.inputs}
        feeds = [self._numbered(number, record) for number, record in enumerate(records)]
        return {
            tensor.name: self._side_by_side(tensor, [feed[tensor.name] for feed in feeds])
            for tensor in self.manifest.inputs
        }

    def _side_by_side(self, tensor: Tensor, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        if tensor.may_batch:
            try:
                return np.concatenate(arrays)
            except ValueError as error:
                raise self._misfit(
                    f"'{tensor.name}' has another shape in some records; pad them to one, or call "
                    "predict for each"
                ) from error
        first = arrays[0]
        if not all(_same(array, first) for array in arrays[1:]):
            raise self._misfit(
                f"'{tensor.name}' differs between records, and the graph takes one for all of them: "
                f"it is {tensor.text}; call predict for each"
            )
        return first

    def _numbered(self, number: int, record: Any) -> dict[str, NDArray[Any]]:
        try:
            feed = self.feed.read(record)
        except SchemaError as error:
            raise self._misfit(*error.problems, prefix=f"record {number}: ") from error
        for tensor in self.manifest.inputs:
            array = feed[tensor.name]
            if tensor.may_batch and (not array.ndim or len(array) != 1):
                raise self._misfit(
                    f"record {number}: '{tensor.name}' has the shape {list(array.shape)}; its first "
                    "axis must be one record"
                )
        return feed

    def _misfit(self, *problems: str, prefix: str = "") -> SchemaError:
        return SchemaError(self.manifest.title, tuple(f"{prefix}{text}" for text in problems))

    def counts_records(self, output: str) -> bool:
        """Tell whether the first axis of *output* is known to count records."""
        return any(t.name == output and t.shape and t.may_batch for t in self.manifest.outputs)

    def _no_score(self, array: NDArray[Any]) -> InferenceError:
        return InferenceError(
            f"{self.manifest.title}: the score's output has the shape {list(array.shape)}, which "
            "has no such place; pack it with another --score"
        )


def _empty(tensor: Tensor) -> NDArray[Any]:
    """Return an array of no record; other axes without a length are empty too."""
    axes = (tensor.shape or (0,))[1:]
    lengths = (axis if isinstance(axis, int) else 0 for axis in axes)
    return np.empty((0, *lengths), dtype=object if tensor.dtype == "string" else tensor.dtype)


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype == object:
        return bool((one == other).all())
    return one.tobytes() == other.tobytes()


def _listed(dtypes: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
