"""Arrays reach the graph as they are, or are refused by name with what was wanted and the remedy."""

from __future__ import annotations

import collections
import enum
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlembed.errors import SchemaError
from mlembed.serving.feed import Feed, one_record
from mlembed.tensors import DTYPES, FLOATS, INTEGERS, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.tensors import Shape


class Word(str, enum.Enum):  # noqa: UP042  what old code has; its str() is not its value
    """Members that are texts."""

    HELLO = "hello"


class Broken:
    """Something whose array cannot be had."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("secret value")


class BrokenMapping(collections.UserDict[str, Any]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("secret value")


def feed(dtype: str = "float32", shape: Shape = ("N", 2)) -> Feed:
    """Return the feed of one input, `x`."""
    return Feed("m@1.0.0", [Tensor(name="x", dtype=dtype, shape=shape)])


def read(value: Any, dtype: str = "float32", shape: Shape = ("N", 2)) -> NDArray[Any]:
    """Return the array that *value* becomes; a second look must give the same."""
    checker = feed(dtype, shape)
    first, again = checker.read({"x": value}), checker.read({"x": value})
    assert first["x"].dtype == again["x"].dtype
    assert first["x"].shape == again["x"].shape
    return again["x"]


def refused(value: Any, dtype: str = "float32", shape: Shape = ("N", 2)) -> str:
    """Return why *value* is refused."""
    with pytest.raises(SchemaError) as caught:
        feed(dtype, shape).read({"x": value})
    (problem,) = caught.value.problems
    assert problem.startswith("'x' ")
    return problem


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool"])
def test_arrays_of_the_dtype_are_taken_as_they_are(dtype: str) -> None:
    """Nothing is copied that the runtime could read."""
    array = np.ones((3, 2), dtype=dtype)

    found = feed(dtype).read({"x": array})["x"]

    assert np.shares_memory(found, array)
    assert found.dtype == array.dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("given", DTYPES)
def test_arrays_of_another_dtype_are_refused(dtype: str, given: str) -> None:
    """No array is ever cast, whatever its values: not even to a wider dtype."""
    array = np.full((1, 2), "1") if given == "string" else np.ones((1, 2), dtype=given)

    if given == dtype:
        assert read(array, dtype).shape == (1, 2)
        return
    problem = refused(array, dtype)
    shown = "str32" if given == "string" else given
    assert f"is {shown}[1, 2], expected {dtype}[N, 2]" in problem
    remedy = f".astype(np.{'bool_' if dtype == 'bool' else dtype})"
    assert (remedy in problem) == ("string" not in {dtype, given})


@pytest.mark.parametrize(
    "array",
    [
        np.arange(8, dtype=np.float32).reshape(2, 4)[:, ::2],
        np.asfortranarray(np.arange(4, dtype=np.float32).reshape(2, 2)),
        np.arange(4, dtype=">f4").reshape(2, 2),
        np.frombuffer(b"\0" + np.arange(4, dtype=np.float32).tobytes(), np.uint8)[1:]
        .view(np.float32)
        .reshape(2, 2),
        np.arange(4, dtype=np.float32).reshape(2, 2)[::-1, ::-1],
        np.broadcast_to(np.float32(3), (2, 2)),
    ],
    ids=["strided", "columns first", "big-endian", "unaligned", "reversed", "broadcast"],
)
def test_unusual_memory_is_laid_out_anew(array: NDArray[Any]) -> None:
    """The runtime reads plain memory: the values stay, their places change."""
    checker = feed()
    checker.read({"x": np.zeros((2, 2), np.float32)})  # the shape is known: no second look

    found = checker.read({"x": array})["x"]

    assert found.tolist() == array.tolist()
    assert found.flags.c_contiguous
    assert found.flags.aligned
    assert found.dtype.isnative


@pytest.mark.parametrize(
    ("value", "dtype", "shape", "wanted"),
    [
        ([[1, 2.5]], "float32", ("N", 2), [[1.0, 2.5]]),
        ([[0.1, 0.2]], "float16", ("N", 2), np.array([[0.1, 0.2]], np.float16).tolist()),
        (((1, 2), (3, 4)), "int8", ("N", 2), [[1, 2], [3, 4]]),
        ([2**63], "uint64", ("N",), [2**63]),
        (True, "bool", (), True),
        (7, "int64", (), 7),
        (7, "float64", (), 7.0),
        ("hi", "string", (), "hi"),
        (["hi", Word.HELLO, np.str_("x")], "string", ("N",), ["hi", "hello", "x"]),
        ([], "int64", ("N",), []),
        ([[], []], "float32", (2, "L"), [[], []]),
        ([], "string", ("N",), []),
        ([[float("nan"), float("-inf")]], "float32", (1, 2), None),
    ],
)
def test_lists_and_numbers_of_python_are_converted(
    value: Any, dtype: str, shape: Shape, wanted: Any
) -> None:
    """What has no dtype takes the one that is wanted."""
    found = read(value, dtype, shape)

    assert found.dtype.name == ("object" if dtype == "string" else dtype)
    assert wanted is None or found.tolist() == wanted
    if dtype == "string":
        assert {type(text) for text in found.ravel().tolist()} <= {str}


@pytest.mark.parametrize(
    ("value", "dtype", "why"),
    [
        ([[1, 300]], "int8", "holds numbers beyond int8"),
        ([[-1, 0]], "uint8", "holds numbers beyond uint8"),
        ([[1.0, 2.0]], "int64", "holds numbers with a fraction, expected int64[N, 2]; give whole"),
        ([[True, False]], "int64", "holds booleans, expected int64[N, 2]; give whole numbers"),
        ([[True, False]], "float32", "holds booleans, expected float32[N, 2]; give numbers"),
        ([[1, 0]], "bool", "holds whole numbers, expected bool[N, 2]; give true or false"),
        ([["1", "2"]], "float32", "holds texts, expected float32[N, 2]; give numbers"),
        ([[None, 1.0]], "float32", "holds what is no number, or one too large"),
        ([[2**70, 1]], "int64", "holds what is no number, or one too large"),
        ([[1e39, 1]], "float32", "holds numbers beyond float32"),
        ([[70000, 1]], "float16", "holds whole numbers that float16 cannot hold"),
        ([[2**24 + 1, 1]], "float32", "holds whole numbers that float32 cannot hold"),
        ([[1.0], [1.0, 2.0]], "float32", "that makes no array (ValueError), expected float32[N, 2]"),
        ([[Broken()]], "float32", "is a list that makes no array (RuntimeError)"),
        (None, "float32", "holds what is no number, or one too large"),
        (b"ab", "float32", "holds no numbers"),
        ("ab", "float32", "holds texts"),
        ({"a": 1}, "float32", "is object[], expected float32[N, 2]; give an array of numbers"),
        (object(), "float32", "is object[], expected float32[N, 2]; give an array of numbers"),
        (Broken(), "float32", "is Broken, which raised RuntimeError when it was read as an array"),
        (np.ma.masked_array([[1.0, 2.0]], [[False, True]]), "float32", "is a masked array; give filled"),
        (np.array([[1, "a"]], dtype=object), "float32", "is object[1, 2], expected float32[N, 2]"),
        (np.array([["2026-01-01"] * 2], dtype="M8[D]"), "int64", "is datetime64[D][1, 2]"),
        (np.array([[1 + 2j, 1]]), "float64", "is complex128[1, 2], expected"),
        (np.zeros(1, dtype=[("a", "f4")]), "float32", "expected float32[N, 2]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_dtype_is_refused(value: Any, dtype: str, why: str) -> None:
    """Nothing is rounded, cut off or guessed, and no value is shown."""
    problem = refused(value, dtype)

    assert why in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.array(["a", 1], dtype=object), "holds int, expected string[N]; give texts alone"),
        (np.array(["a", None], dtype=object), "holds NoneType, expected string[N]; give texts"),
        (np.array(["a", np.nan], dtype=object), "holds float, expected string[N]"),
        (["a", b"b"], "holds bytes, expected string[N]; decode them first"),
        (np.array([b"a"]), "is bytes8[1], expected string[N]; give texts"),
        (np.array([1.0]), "is float64[1], expected string[N]; give texts"),
        (["a", ["b"]], "holds list, expected string[N]"),
        (["a\ud800"], "holds half a surrogate pair"),
        (np.array(["a\udfff"]), "holds half a surrogate pair"),
        (7, "holds int, expected string[N]"),
        (Broken(), "is Broken, which raised RuntimeError"),
    ],
)
def test_what_is_no_text_is_refused(value: Any, why: str) -> None:
    """A string tensor holds whole texts, and nothing that would be made one."""
    problem = refused(value, "string", ("N",))

    assert why in problem
    assert "secret" not in problem


@pytest.mark.parametrize(
    ("given", "shape", "why"),
    [
        ((2,), ("N", 2), "add the first axis with array[None]"),
        ((2,), (1, 2), "give 2 axes, for example with array.reshape(...)"),
        ((1, 2, 1), ("N", 2), "give 2 axes, for example with array.reshape(...)"),
        ((1, 3), ("N", 2), "axis 1 must have 2; resize, pad or transpose the array"),
        ((0, 3), ("N", 2), "axis 1 must have 2"),
        ((2, 2), (1, 2), "axis 0 must have 1"),
        ((1,), (), "give 0 axes"),
        ((), (2,), "give 1 axes"),
        ((3, 4), ("N", "N"), "N is 4 here and 3 in 'x'; give both the same length"),
    ],
)
def test_another_shape_is_refused(given: tuple[int, ...], shape: Shape, why: str) -> None:
    """The message says which shape came, which was wanted, and what to do."""
    problem = refused(np.zeros(given, np.float32), "float32", shape)

    assert f"is float32[{', '.join(map(str, given))}], expected float32" in problem
    assert why in problem


@pytest.mark.parametrize("given", [(0, 2), (1, 2), (5000, 2)])
def test_a_dynamic_axis_has_any_length(given: tuple[int, ...]) -> None:
    """Also none: what an empty array means is the graph's to say."""
    assert read(np.zeros(given, np.float32)).shape == given


@pytest.mark.parametrize("given", [(), (3,), (1, 2, 3)])
def test_an_unknown_shape_takes_any(given: tuple[int, ...]) -> None:
    """A graph that names no shape is fed whatever comes."""
    assert read(np.zeros(given, np.float32), shape=None).shape == given


def test_floats_may_be_no_numbers() -> None:
    """NaN and infinity reach the graph: they stand for missing values and masks."""
    array = np.array([[np.nan, -np.inf]], np.float32)

    assert read(array) is not None


PAIR = [
    Tensor(name="ids", dtype="int64", shape=("N", "L")),
    Tensor(name="mask", dtype="bool", shape=("N", "L")),
]


def test_a_named_axis_agrees_between_inputs() -> None:
    """An axis of one name has one length; the message names both inputs."""
    ids, mask = np.zeros((2, 3), np.int64), np.zeros((2, 4), bool)

    with pytest.raises(SchemaError, match=r"'mask' is bool\[2, 4\].*L is 4 here and 3 in 'ids'"):
        Feed("m@1.0.0", PAIR).read({"ids": ids, "mask": mask})


def test_arrays_come_in_the_order_of_the_inputs() -> None:
    """However the host orders them, at first sight and when their shapes are known."""
    checker = Feed("m@1.0.0", PAIR)
    record = {"mask": np.zeros((2, 3), bool), "ids": np.zeros((2, 3), np.int64)}

    assert [list(checker.read(record)) for _ in range(2)] == [["ids", "mask"]] * 2


def test_every_problem_is_listed_at_once() -> None:
    """Missing, wrong and unknown inputs come in one message, none of them with a value."""
    record = {"mask": [[1]], "mosk": 1, 7: 1, "n" * 100: 1}

    with pytest.raises(SchemaError) as caught:
        Feed("m@1.0.0", PAIR).read(record)

    text = str(caught.value)
    assert "'ids' is missing, expected int64[N, L]" in text
    assert "'mask' holds whole numbers, expected bool[N, L]" in text
    assert "'mosk' is no input; give 'ids', 'mask'" in text
    assert "a int is no input" in text
    assert "n" * 65 not in text
    assert "python -m mlembed inspect m@1.0.0" in text


def test_many_unknown_inputs_are_counted() -> None:
    """A message stays readable whatever is given."""
    with pytest.raises(SchemaError, match="990 more are no inputs"):
        feed().read({f"y{i}": 0 for i in range(1000)})


@pytest.mark.parametrize("record", [np.zeros((1, 2)), [1], None, 7, "x", [("x", 1)]])
def test_what_is_no_mapping_is_refused(record: Any) -> None:
    """Inputs have names."""
    with pytest.raises(SchemaError, match=r"expected a mapping of its inputs; give {'x': array}"):
        feed().read(record)


def test_other_mappings_are_read_like_dictionaries() -> None:
    """And one that cannot be read is told, without what it said."""
    array = np.zeros((1, 2), np.float32)

    assert feed().read(collections.UserDict({"x": array}))["x"] is array
    with pytest.raises(SchemaError, match=r"cannot be read: it raised RuntimeError\."):
        feed().read(BrokenMapping({"x": array}))


def test_a_known_shape_is_no_excuse() -> None:
    """After many good calls a bad one is refused as at first."""
    checker = feed()
    for _ in range(3):
        checker.read({"x": np.zeros((1, 2), np.float32)})

    for bad in (np.zeros((1, 2)), np.zeros((1, 3), np.float32), [[1, "a"]]):
        with pytest.raises(SchemaError):
            checker.read({"x": bad})
    with pytest.raises(SchemaError):
        checker.read({"y": np.zeros((1, 2), np.float32)})
    with pytest.raises(SchemaError):
        checker.read({"x": np.zeros((1, 2), np.float32), "y": 1})


def test_shapes_that_are_remembered_are_bounded() -> None:
    """A host whose shapes never repeat costs no memory."""
    checker = feed()

    for length in range(3000):
        checker.read({"x": np.zeros((length, 2), np.float32)})

    assert len(checker._known) <= 1024


def test_one_record_is_the_first() -> None:
    """Where every first axis counts records one is taken; elsewhere nothing is."""
    arrays = {"ids": np.arange(6).reshape(2, 3), "mask": np.zeros((2, 3), bool)}

    assert {n: a.shape for n, a in one_record(PAIR, arrays).items()} == {
        "ids": (1, 3),
        "mask": (1, 3),
    }
    fixed = [PAIR[0], Tensor(name="mask", dtype="bool", shape=(2, "L"))]
    assert one_record(fixed, arrays)["ids"].shape == (2, 3)
