"""Run a packed graph; the only module that knows onnxruntime.

Each thread binds its own input and output buffers once, so one row costs one call into the
runtime and no allocation. Only the runtime's public interface is used.
"""

from __future__ import annotations

import os

# onnxruntime 1.29 and later starts an uploader on import, and a process forked after that hangs
# at exit; a user who wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import ctypes
import functools
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from mlembed import forking
from mlembed.errors import BundleError, InferenceError, first_line
from mlembed.serving import ending
from mlembed.serving.deadline import Limit
from mlembed.serving.pool import shared
from mlembed.telemetry.block import CLOSED

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_DOUBLE, _DOUBLE_BYTES = "tensor(double)", 8
# The runtime looks for data outside the model in the host's directory, unless told another.
_EXTERNAL_DATA = "session.model_external_initializers_file_folder_path"
_NOWHERE = f"{os.devnull}/none"
_BLOCK_CELLS, _LEAST_BLOCK = 160_000, 256
# Held while a session is made and by `fork`, so that no child inherits the runtime's own locks
# from a thread that is gone. A signal's handler may fork in the thread that makes one.
_making = threading.RLock()
_with_threads: weakref.WeakSet[Any] = weakref.WeakSet()  # the runtime's sessions that own some


class Row:
    """One thread's bound buffers: write `cells`, call `run`, read `scores`.

    Args:
        session: The runtime's session.
        n_columns: Width of the row.
        n_outputs: Width of the output.
        timeout_seconds: Longest run; without end where it is None.
        n_beside: Doubles behind the input row that the graph does not read.

    Attributes:
        block: Where its plain predictions wait to be logged.
        cells: Bytes of the input row, `n_columns` native doubles, and what stands behind it.
        beside: The doubles that stand behind it.
        run: Runs the graph on the row; raises what the runtime raises, or PredictionTimeoutError.
        scores: The output as doubles, `n_outputs` long.
    """

    __slots__ = ("__weakref__", "_arrays", "beside", "block", "cells", "run", "scores")

    def __init__(
        self,
        session: ort.InferenceSession,
        n_columns: int,
        n_outputs: int,
        timeout_seconds: float | None,
        n_beside: int = 0,
    ) -> None:
        self.block = CLOSED
        # Never resized: x lies in it.
        self.cells = bytearray(_DOUBLE_BYTES * (n_columns + n_beside))
        self.beside = memoryview(self.cells)[_DOUBLE_BYTES * n_columns :].cast("d")
        x = np.frombuffer(self.cells, count=n_columns).reshape(1, n_columns)
        y = np.zeros((1, n_outputs))
        binding = session.io_binding()
        binding.bind_input(
            session.get_inputs()[0].name, "cpu", 0, np.float64, x.shape, x.ctypes.data
        )
        binding.bind_output(
            session.get_outputs()[0].name, "cpu", 0, np.float64, y.shape, y.ctypes.data
        )
        self._arrays = (x, y)
        self.scores = y.data.cast("B").cast("d")
        options = _run_options()
        run = functools.partial(session.run_with_iobinding, binding, options)
        self.run: Callable[[], object] = (
            run if timeout_seconds is None else Limit(options, timeout_seconds).around(run)
        )
        ending.register(self)


def _run_options() -> ort.RunOptions:
    options = ort.RunOptions()
    # No GPU graph. Where nothing is said the runtime looks for one at every call, which
    # takes longer than a small model; older runtimes ignore it.
    options.add_run_config_entry("gpu_graph_id", "")
    return options


class Session:
    """A loaded graph with one input `x: double[N, n_columns]`.

    Args:
        model: Bytes of the ONNX model; data outside of them, which nobody verified, is refused.
        threads: CPU threads within one operation.

    Attributes:
        n_columns: Width of the input.
        n_outputs: Width of the first output.

    Raises:
        BundleError: If the bytes are no model this runtime can run, or its shape is another.
    """

    def __init__(self, model: bytes, threads: int = 1) -> None:
        self._session = _load(model, threads)
        source, target = self._session.get_inputs(), self._session.get_outputs()
        if len(source) != 1 or source[0].type != _DOUBLE or len(source[0].shape) != 2:  # noqa: PLR2004
            raise BundleError("a bundle's graph takes one input, x: double[N, n_columns]")
        if target[0].type != _DOUBLE or len(target[0].shape) != 2:  # noqa: PLR2004
            raise BundleError("a bundle's graph gives its scores as double[N, k]")
        if not all(isinstance(side[0].shape[1], int) for side in (source, target)):
            raise BundleError("a bundle's graph names the width of its input and of its scores")
        self._input, self._output = source[0].name, target[0].name
        self.n_columns = int(source[0].shape[1])
        self.n_outputs = int(target[0].shape[1])

    def row(self, timeout_seconds: float | None = None, n_beside: int = 0) -> Row:
        """Return new buffers for one row, for one call at a time; see `Row`."""
        return Row(self._session, self.n_columns, self.n_outputs, timeout_seconds, n_beside)

    def bare_run(self, x: NDArray[np.float64]) -> Callable[[], object]:
        """Return a plain `InferenceSession.run` on the ready array *x*, to compare times with."""
        run, names, feed = self._session.run, [self._output], {self._input: x}
        return lambda: run(names, feed)

    def run_matrix(
        self,
        x: NDArray[np.float64],
        timeout_seconds: float | None = None,
        fill: Callable[[slice], object] | None = None,
    ) -> NDArray[np.float64]:
        """Score many rows.

        Args:
            x: Rows, `(n_records, n_columns)`.
            timeout_seconds: Longest run; without end where it is None.
            fill: Writes some of the rows into *x* before they are read; perhaps on another thread.

        Returns:
            Scores, `(n_records,)` for one output, else `(n_records, n_outputs)`.

        Raises:
            InferenceError: If the runtime fails, or takes too long.
        """
        options = _run_options()
        run = functools.partial(self._run_blocks, x, options, fill)
        try:
            y = run() if timeout_seconds is None else Limit(options, timeout_seconds).around(run)()
        except InferenceError:
            raise
        except Exception as error:
            raise InferenceError(f"onnxruntime failed: {first_line(error)}") from error
        return y[:, 0] if self.n_outputs == 1 else y

    def _run_blocks(
        self,
        x: NDArray[np.float64],
        options: ort.RunOptions,
        fill: Callable[[slice], object] | None,
    ) -> NDArray[np.float64]:
        """Run the graph on blocks of rows that fit into a core's cache, with all it makes of them.

        Large tables keep two cores busy, if a second one is free.
        """
        most = max(_LEAST_BLOCK, _BLOCK_CELLS // self.n_columns)
        size = -(-len(x) // -(-len(x) // most)) if len(x) else most  # of one length, none left over
        names = [self._output]

        def run(part: slice) -> NDArray[np.float64]:
            if fill is not None:
                fill(part)
            ending.hold_back()
            scores: NDArray[np.float64] = self._session.run(names, {self._input: x[part]}, options)[
                0
            ]
            return scores

        blocks = shared(run, [slice(start, start + size) for start in range(0, len(x), size)])
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


class TensorSession:
    """A loaded graph with named tensors; any thread may run it at any time.

    Args:
        model: Bytes of the ONNX model, as for `Session`.
        threads: CPU threads within one operation.

    Attributes:
        inputs: Dtype of each input by name; the runtime's own word where numpy has none.
        outputs: The same, of each output.

    Raises:
        BundleError: If the bytes are no model this runtime can run.
    """

    def __init__(self, model: bytes, threads: int = 1) -> None:
        self._session = _load(model, threads)
        self.inputs = {side.name: _dtype(side.type) for side in self._session.get_inputs()}
        self.outputs = {side.name: _dtype(side.type) for side in self._session.get_outputs()}
        self._names = list(self.outputs)
        self._options = _run_options()

    def run(
        self, feed: dict[str, NDArray[Any]], timeout_seconds: float | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run the graph once.

        Args:
            feed: Contiguous arrays in native bytes by the inputs' names, texts as objects.
            timeout_seconds: Longest run; without end where it is None.

        Returns:
            The outputs by name, all of them the caller's own.

        Raises:
            PredictionTimeoutError: If it takes too long.
            Exception: What the runtime raises; its types are not public.
        """
        ending.hold_back()
        if timeout_seconds is None:
            results = self._session.run(self._names, feed, self._options)
        else:
            options = _run_options()
            run = functools.partial(self._session.run, self._names, feed, options)
            results = Limit(options, timeout_seconds).around(run)()
        # The runtime gives a numpy scalar for a tensor without axes.
        return dict(zip(self._names, map(np.asarray, results), strict=True))

    def bare_run(self, feed: dict[str, NDArray[Any]]) -> Callable[[], object]:
        """Return a plain `InferenceSession.run` on the ready *feed*, to compare times with."""
        return lambda: self._session.run(self._names, feed)


def _dtype(kind: str) -> str:
    """Return the dtype of the runtime's `tensor(float)`; another kind of value as it is."""
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def _load(model: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(_EXTERNAL_DATA, _NOWHERE)
    ending.arm()
    ending.hold_back()
    try:
        with _making:
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises its own types, which are not public
        raise BundleError(
            f"onnxruntime {ort.__version__} cannot load the model: {first_line(error)}. "
            "Install the version that the manifest's runtime names, or pack the model again"
        ) from error
    if threads > 1:
        _with_threads.add(session)
    return session


def _hold() -> None:
    _making.acquire()


def _release() -> None:
    _making.release()


def _renew() -> None:
    global _making  # noqa: PLW0603  a lock held by a thread that is gone stays locked
    _making = threading.RLock()
    for session in list(_with_threads):
        # Its end would wait for threads that are the parent's: it is kept for good, even when the
        # interpreter ends, which drops all that Python itself holds.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release)
forking.in_child(_renew)
