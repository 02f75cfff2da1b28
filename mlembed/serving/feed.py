"""Check a host's arrays against the tensors a graph takes.

Nothing is converted that could change a value: an array of another dtype is refused, with the remedy.
Lists and numbers of Python have no dtype, so they become the one that is wanted, where they fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import SchemaError
from mlembed.serving.fields import FieldProblem
from mlembed.tensors import FLOATS, INTEGERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.tensors import Axis, Tensor

    Arrays = dict[str, NDArray[Any]]

_MAX_NAMED, _MAX_NAME, _MAX_KNOWN = 10, 64, 1024
_PLAIN = (bool, int, float, str, bytes, list, tuple, type(None))
_TEXT_KINDS = "UOT"


class Feed:
    """Makes what the runtime takes of what hosts give.

    Args:
        title: The bundle as people name it, for errors.
        inputs: The tensors of its graph.
    """

    def __init__(self, title: str, inputs: Sequence[Tensor]) -> None:
        self._title = title
        self._inputs = tuple(inputs)
        self._names = {tensor.name for tensor in inputs}
        # Texts are looked at one by one, whatever their dtype.
        self._dtypes = [
            (t.name, None if t.dtype == "string" else np.dtype(t.dtype)) for t in inputs
        ]
        self._known: set[tuple[tuple[int, ...], ...]] = set()

    def read(self, record: Any) -> Arrays:
        """Return the arrays of *record* in the order of the inputs, as the runtime reads them.

        They are in native bytes and contiguous, and texts are objects.

        Floats may be NaN and infinite, and an axis without a fixed length may be empty: what they
        mean is the graph's to say.

        Args:
            record: A mapping of exactly the inputs: arrays of their dtype and shape, or lists and
                numbers of Python.

        Raises:
            SchemaError: Listing every input that is missing, unknown, or of another dtype or shape.
        """
        if type(record) is dict and self._shapes(record) in self._known:
            return {name: record[name] for name, _ in self._dtypes}
        arrays = self._read(record)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known.add(tuple([array.shape for array in arrays.values()]))
        return arrays

    def _shapes(self, record: dict[Any, Any]) -> tuple[tuple[int, ...], ...] | None:
        """Return the shapes of arrays that need no conversion; None where one might."""
        if len(record) != len(self._dtypes):
            return None
        shapes = []
        for name, dtype in self._dtypes:
            array = record.get(name)
            if dtype is None or type(array) is not np.ndarray or array.dtype != dtype:
                return None
            flags = array.flags
            if not (flags.c_contiguous and flags.aligned):
                return None
            shapes.append(array.shape)
        return tuple(shapes)

    def _read(self, record: Any) -> Arrays:
        given, problems = self._given(record), []
        arrays: Arrays = {}
        lengths: dict[str, tuple[int, str]] = {}
        for tensor in self._inputs:
            if tensor.name not in given:
                problems.append(f"'{tensor.name}' is missing, expected {tensor.text}")
                continue
            try:
                array = as_array(tensor, given[tensor.name])
                _check_shape(tensor, array, lengths)
            except FieldProblem as problem:
                problems.append(f"'{tensor.name}' {problem}")
            else:
                arrays[tensor.name] = array
        if len(given) > len(arrays):
            problems += self._unknown(given)
        if problems:
            raise SchemaError(self._title, tuple(problems))
        return arrays

    def _given(self, record: Any) -> Mapping[Any, Any]:
        if type(record) is dict:
            return record
        if not isinstance(record, Mapping):
            name = self._inputs[0].name
            problem = (
                f"{_kind(record)} was given, expected a mapping of its inputs; "
                f"give {{'{name}': array}}"
            )
            raise SchemaError(self._title, (problem,))
        try:
            return {name: record[name] for name in record}
        except Exception as error:
            problem = f"the record cannot be read: it raised {type(error).__name__}"
            raise SchemaError(self._title, (problem,)) from error

    def _unknown(self, given: Mapping[Any, Any]) -> list[str]:
        unknown = [name for name in given if name not in self._names]
        shown = sorted(
            f"'{name[:_MAX_NAME]}'" if isinstance(name, str) else f"a {type(name).__name__}"
            for name in unknown[:_MAX_NAMED]
        )
        inputs = ", ".join(f"'{tensor.name}'" for tensor in self._inputs[:_MAX_NAMED])
        problems = [f"{name} is no input; give {inputs}" for name in shown]
        if len(unknown) > len(shown):
            problems.append(f"{len(unknown) - len(shown)} more are no inputs")
        return problems


def one_record(inputs: Sequence[Tensor], arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return the first record of *arrays* where the first axis of every input counts records."""
    if all(tensor.shape and tensor.may_batch for tensor in inputs):
        return {name: array[:1] for name, array in arrays.items()}
    return dict(arrays)


def as_array(tensor: Tensor, value: Any) -> NDArray[Any]:
    """Return *value* with the dtype of *tensor*, its shape not checked.

    Raises:
        FieldProblem: If it has another dtype, or does not fit into it.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise FieldProblem("is a masked array; give filled(...) of it, a graph knows no mask")
    if tensor.dtype == "string":
        return _texts(tensor, value)
    if isinstance(value, _PLAIN) and not isinstance(value, np.generic):
        return _from_python(tensor, value)
    try:
        array = np.asarray(value)
    except Exception as error:  # a host's object may raise anything
        raise FieldProblem(
            f"is {_kind(value)}, which raised {type(error).__name__} when it was read as an array; "
            f"give a numpy array, {tensor.text}"
        ) from error
    if array.dtype.name != tensor.dtype:
        raise FieldProblem(f"is {_described(array)}, expected {tensor.text}{_cast(tensor, array)}")
    # A scalar stays one: numpy's own ascontiguousarray would give it an axis.
    array = np.asarray(array, dtype=tensor.dtype, order="C")
    return array if array.flags.aligned else array.copy()


def _from_python(tensor: Tensor, value: Any) -> NDArray[Any]:
    try:
        found = np.asarray(value)
    except Exception as error:  # an item may be of the host's own class
        raise FieldProblem(
            f"is a {type(value).__name__} that makes no array ({type(error).__name__}), expected "
            f"{tensor.text}; its parts must be numbers, and as long as each other"
        ) from error
    kind = found.dtype.kind
    if found.size == 0:
        return found.astype(tensor.dtype)
    if tensor.dtype == "bool" and kind == "b":
        return found
    if tensor.dtype in INTEGERS and kind in "iu":
        limits = np.iinfo(tensor.dtype)
        if int(found.min()) >= limits.min and int(found.max()) <= limits.max:
            return found.astype(tensor.dtype)
        raise FieldProblem(f"holds numbers beyond {tensor.dtype}, expected {tensor.text}")
    if tensor.dtype in FLOATS and kind in "iuf":
        return _floats(tensor, found)
    wanted = {"bool": "true or false"}.get(tensor.dtype) or (
        "whole numbers" if tensor.dtype in INTEGERS else "numbers"
    )
    raise FieldProblem(
        f"holds {_NAMES.get(kind, 'no numbers')}, expected {tensor.text}; give {wanted}"
    )


_NAMES = {
    "b": "booleans",
    "i": "whole numbers",
    "u": "whole numbers",
    "f": "numbers with a fraction",
    "U": "texts",
    "O": "what is no number, or one too large",
}


def _floats(tensor: Tensor, found: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        array: NDArray[Any] = found.astype(tensor.dtype)
    if found.dtype.kind in "iu" and not (array.astype(object) == found.astype(object)).all():
        raise FieldProblem(
            f"holds whole numbers that {tensor.dtype} cannot hold, expected {tensor.text}; give an "
            f"array, rounded by .astype(np.{tensor.dtype})"
        )
    if (np.isinf(array) & np.isfinite(found)).any():
        raise FieldProblem(f"holds numbers beyond {tensor.dtype}, expected {tensor.text}")
    return array


def _texts(tensor: Tensor, value: Any) -> NDArray[Any]:
    """Return an array of plain str, which the runtime copies as UTF-8."""
    try:
        array = value if isinstance(value, np.ndarray) else np.array(value, dtype=object)
    except Exception as error:  # idem
        raise FieldProblem(
            f"is {_kind(value)}, which raised {type(error).__name__} when it was read as an array; "
            f"give texts, {tensor.text}"
        ) from error
    if array.dtype.kind not in _TEXT_KINDS:
        raise FieldProblem(f"is {_described(array)}, expected {tensor.text}; give texts")
    texts = array.ravel().tolist()
    others = {type(text) for text in texts} - {str}
    if strange := sorted(kind.__name__ for kind in others if not issubclass(kind, str)):
        remedy = "decode them first" if strange == ["bytes"] else "give texts alone, '' for none"
        raise FieldProblem(f"holds {', '.join(strange)}, expected {tensor.text}; {remedy}")
    if others:
        texts = [str.__str__(text) for text in texts]  # of a member its value, not its name
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        raise FieldProblem(
            "holds half a surrogate pair, which is no text; give .encode('utf-8', 'replace').decode()"
        ) from None
    result = np.empty(len(texts), dtype=object)
    result[:] = texts
    return result.reshape(array.shape)


def _check_shape(tensor: Tensor, array: NDArray[Any], lengths: dict[str, tuple[int, str]]) -> None:
    """Refuse another shape; *lengths* are those of the named axes so far, and where they stood."""
    shape = tensor.shape
    if shape is None:
        return
    if len(shape) != array.ndim:
        raise FieldProblem(f"is {_described(array)}, expected {tensor.text}{_rank(shape, array)}")
    for place, (axis, length) in enumerate(zip(shape, array.shape, strict=True)):
        if isinstance(axis, int) and axis != length:
            raise FieldProblem(
                f"is {_described(array)}, expected {tensor.text}: axis {place} must have {axis}; "
                "resize, pad or transpose the array"
            )
        if isinstance(axis, str):
            known, where = lengths.setdefault(axis, (length, tensor.name))
            if known != length:
                raise FieldProblem(
                    f"is {_described(array)}, expected {tensor.text}: {axis} is {length} here and "
                    f"{known} in '{where}'; give both the same length"
                )


def _rank(shape: tuple[Axis, ...], array: NDArray[Any]) -> str:
    if len(shape) == array.ndim + 1 and not isinstance(shape[0], int):
        return "; add the first axis with array[None]"
    return f"; give {len(shape)} axes, for example with array.reshape(...)"


def _cast(tensor: Tensor, array: NDArray[Any]) -> str:
    if array.dtype.kind in "biuf":
        return (
            f"; convert it with .astype(np.{'bool_' if tensor.dtype == 'bool' else tensor.dtype})"
        )
    return "; give an array of numbers"


def _described(array: NDArray[Any]) -> str:
    return f"{array.dtype.name}[{', '.join(map(str, array.shape))}]"


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
