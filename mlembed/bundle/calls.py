"""Golden calls: arrays and the arrays a graph must make of them, replayed before it may serve.

They stand in golden.json as base64 of little-endian numbers and as plain texts: nothing in them can
run, and equal calls give equal bytes.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.bundle import strictjson
from mlembed.columns import is_finite_number
from mlembed.errors import BundleError, GoldenError
from mlembed.tensors import DTYPES, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle

    Arrays = Mapping[str, NDArray[Any]]

MAX_BYTES = 32 * 1024 * 1024  # of all golden arrays; they are replayed at every load
_KEYS = {"calls", "tolerance"}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class GoldenCalls:
    """Inputs with the outputs they must give.

    Attributes:
        calls: Inputs and outputs of each call, arrays by name; texts are arrays of objects.
        tolerance: Greatest difference of floats, relative to the largest of their output; integers,
            booleans and texts must be equal.
    """

    calls: tuple[tuple[Arrays, Arrays], ...]
    tolerance: float

    def to_bytes(self) -> bytes:
        """Write the calls as the bundle's golden.json.

        Raises:
            BundleError: If they are too large, or a text is none.
        """
        arrays = [array for call in self.calls for side in call for array in side.values()]
        size = sum(array.nbytes for array in arrays)
        if size > MAX_BYTES:
            raise BundleError(
                f"the golden calls would take {size:,} bytes, at most {MAX_BYTES:,} may be; give a "
                "smaller example, one record or a shorter dynamic axis"
            )
        calls = [
            {"inputs": _written(inputs), "outputs": _written(outputs)}
            for inputs, outputs in self.calls
        ]
        return strictjson.dumps({"calls": calls, "tolerance": self.tolerance})

    def replay(self, title: str, run: Callable[[Arrays], Arrays]) -> None:
        """Run every call and compare.

        Raises:
            GoldenError: Naming the outputs that differ and how.
        """
        bad = []
        for number, (inputs, expected) in enumerate(self.calls):
            given = run(inputs)
            for name, wanted in expected.items():
                problem = difference(given[name], wanted, self.tolerance)
                if problem:
                    bad.append(f"'{name}' of call {number} {problem}")
        if bad:
            raise GoldenError(
                f"{title} does not reproduce its golden calls here: {'; '.join(bad[:10])}. It was "
                "not put in service; compare the onnxruntime versions of packer and host, and see "
                "that nothing in the graph is random"
            )


def difference(given: NDArray[Any], wanted: NDArray[Any], tolerance: float) -> str:
    """Say how *given* differs from *wanted*; an empty text where it does not."""
    if given.dtype != wanted.dtype or given.shape != wanted.shape:
        return (
            f"is {given.dtype.name}{list(given.shape)}, expected "
            f"{wanted.dtype.name}{list(wanted.shape)}"
        )
    if wanted.dtype.kind != "f":
        count = int((given != wanted).sum())
        return f"differs in {count} of {wanted.size} places" if count else ""
    left, right = given.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(right)
    if not np.array_equal(
        np.where(finite, 0.0, right), np.where(finite, 0.0, left), equal_nan=True
    ):
        return "is infinite or no number in other places"
    error = float(np.abs(left[finite] - right[finite]).max(initial=0.0))
    largest = float(np.abs(right[finite]).max(initial=0.0)) or 1.0
    if error <= tolerance * largest:
        return ""
    return f"is off by up to {error:.3g}, allowed {tolerance * largest:.3g}"


def read_calls(bundle: Bundle) -> GoldenCalls:
    """Read the golden calls of *bundle*.

    Raises:
        BundleError: If there are none, or they are not the manifest's inputs and outputs.
    """
    manifest = bundle.manifest
    data = bundle.json("golden.json")
    try:
        if set(data) != _KEYS or not data["calls"] or not is_finite_number(data["tolerance"]):
            raise ValueError("calls and a tolerance are owed")
        calls = tuple(
            (_read(manifest.inputs, call["inputs"]), _read(manifest.outputs, call["outputs"]))
            for call in data["calls"]
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = str(error) if type(error) is ValueError else type(error).__name__
        raise BundleError(
            f"{manifest.title}: golden.json holds no calls as its graph takes them ({why}); "
            "pack the model again"
        ) from error
    return GoldenCalls(calls, float(data["tolerance"]))


def _written(arrays: Arrays) -> dict[str, Any]:
    return {name: _write(array) for name, array in arrays.items()}


def _write(array: NDArray[Any]) -> dict[str, Any]:
    shape = list(array.shape)
    if array.dtype == object:
        return {"dtype": "string", "shape": shape, "texts": array.ravel().tolist()}
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return {
        "dtype": array.dtype.name,
        "shape": shape,
        "base64": base64.b64encode(data).decode(),
    }


def _read(tensors: tuple[Tensor, ...], written: dict[str, Any]) -> dict[str, NDArray[Any]]:
    if set(written) != {tensor.name for tensor in tensors}:
        raise ValueError("the names are others")
    return {tensor.name: _array(tensor, written[tensor.name]) for tensor in tensors}


def _array(tensor: Tensor, written: dict[str, Any]) -> NDArray[Any]:
    """Return the array of *written*, in native bytes.

    Raises:
        ValueError: If it is not what `_write` writes, or not the tensor's.
    """
    dtype, shape = written["dtype"], written["shape"]
    if dtype != tensor.dtype or dtype not in DTYPES:
        raise ValueError(f"'{tensor.name}' has another dtype")
    if type(shape) is not list or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"'{tensor.name}' has no shape")
    if dtype == "string":
        texts = written["texts"]
        if type(texts) is not list or not all(type(text) is str for text in texts):
            raise ValueError(f"'{tensor.name}' holds no texts")
        array = np.empty(len(texts), dtype=object)
        array[:] = texts
    else:
        data = base64.b64decode(written["base64"], validate=True)
        array = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype)
    if array.size != math.prod(shape):
        raise ValueError(f"'{tensor.name}' does not fill its shape")
    return array.reshape(shape)
