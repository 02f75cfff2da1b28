"""The graph of a hundred trees in doubles against the one of skl2onnx in floats, a row a call."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import onnxruntime as ort
from onnx import helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)

from mlembed.serving.session import Session
from mlembed.training import lowering as lower
from mlembed.training.lowering import FeatureSpec

from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Timed = tuple[NDArray[Any], Callable[[], object]]

N_FEATURES, N_ROWS, N_TREES = 20, 5_000, 100
_WARM_UP = 500
_US = 1e6


def lowering(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Time both graphs of the same fitted estimators in turns, row by row."""
    boosted: dict[str, Any] = {"max_iter": N_TREES, "early_stopping": False, "random_state": 0}
    for title, estimator, most in (
        ("100 boosted trees, a number", HistGradientBoostingRegressor(**boosted), 1.2),
        ("100 boosted trees, two classes", HistGradientBoostingClassifier(**boosted), 1.2),
        ("forest of 100 trees, two classes", RandomForestClassifier(random_state=0), None),
    ):
        x, y = _table(is_number=title.endswith("number"))
        fitted = estimator.fit(x, y)
        ours, theirs = _median(_ours(fitted), _theirs(fitted), x, 1_000 if short else 20_000)
        detail = f"{ours:.2f} / {theirs:.2f} us, skl2onnx in float32"
        yield Finding(f"lowering: {title}", ours / theirs, most, detail=detail)


def _table(*, is_number: bool) -> tuple[NDArray[np.float64], NDArray[Any]]:
    random = np.random.default_rng(0)
    x = random.normal(size=(N_ROWS, N_FEATURES)).astype(np.float32).astype(np.float64)
    y = x @ np.linspace(-1, 1, N_FEATURES) + random.normal(size=N_ROWS)
    return x, y if is_number else (y > 0).astype(int)


def _ours(fitted: Any) -> Timed:
    model, _ = lower.lower_estimator(fitted, [FeatureSpec(f"x{i}") for i in range(N_FEATURES)])
    row = Session(lower.serialize(model)).row()
    return np.frombuffer(row.cells), row.run


def _theirs(fitted: Any) -> Timed:
    """Convert with skl2onnx, and bind its row and scores as a host's session binds ours."""
    is_classifier = hasattr(fitted, "classes_")
    with _whole_numbers_for_truths():
        model = to_onnx(
            fitted,
            initial_types=[("x", FloatTensorType([None, N_FEATURES]))],
            options={"zipmap": False} if is_classifier else None,
            target_opset={"": 21, "ai.onnx.ml": 3},
        )
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), settings, ["CPUExecutionProvider"])
    x = np.zeros((1, N_FEATURES), np.float32)
    scores = np.zeros((1, 1 + is_classifier), np.float32)
    binding, options = session.io_binding(), ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", "")
    binding.bind_input("x", "cpu", 0, np.float32, x.shape, x.ctypes.data)
    name = session.get_outputs()[-1].name
    binding.bind_output(name, "cpu", 0, np.float32, scores.shape, scores.ctypes.data)

    def run(kept: object = scores) -> None:  # the runtime writes into the array it does not own
        del kept
        session.run_with_iobinding(binding, options)

    return x[0], run


@contextlib.contextmanager
def _whole_numbers_for_truths() -> Iterator[None]:
    """Give protobuf 7 the numbers it takes where skl2onnx 1.20 hands it booleans."""
    make = helper.make_attribute

    def careful(key: str, value: Any, *more: Any, **named: Any) -> Any:
        if isinstance(value, list) and any(isinstance(item, (bool, np.bool_)) for item in value):
            value = [int(item) for item in value]
        return make(key, value, *more, **named)

    with mock.patch.object(helper, "make_attribute", careful):
        yield


def _median(ours: Timed, theirs: Timed, x: NDArray[np.float64], n: int) -> tuple[float, float]:
    """Return the median time of a run of each, in microseconds; both score every row in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    clock, sides = time.perf_counter, tuple(zip((ours, theirs), times, strict=True))
    for number in range(_WARM_UP + n):
        for (cells, run), taken in sides if number % 2 else sides[::-1]:
            cells[:] = x[number % len(x)]
            start = clock()
            run()
            taken.append(clock() - start)
    one, other = (statistics.median(taken[_WARM_UP:]) * _US for taken in times)
    return one, other
