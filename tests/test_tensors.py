"""Descriptions of tensors: what may be one, how it reads, and which replaces which."""

from __future__ import annotations

from typing import Any

import pytest

from mlembed.errors import DeclarationError
from mlembed.tensors import DTYPES, Score, Shape, Tensor


def x(shape: Any = ("N", 3), dtype: str = "float32", name: Any = "x") -> Tensor:
    """Return a tensor."""
    return Tensor(name=name, dtype=dtype, shape=shape)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (("N", 3, None), "float32[N, 3, ?]"),
        ((), "float32[]"),
        (None, "float32 of any shape"),
    ],
)
def test_a_tensor_reads_as_people_write_it(shape: Shape, text: str) -> None:
    """Named axes by their names, others by length or a question mark."""
    assert x(shape).text == text


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [None, (), (3,), ("N", None, 0)])
def test_a_tensor_survives_json(dtype: str, shape: Shape) -> None:
    """What is written is read back the same."""
    described = x(shape, dtype)

    assert Tensor.from_json(described.to_json()) == described


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": ""}, "the name must be"),
        ({"name": 7}, "the name must be"),
        ({"name": "n" * 513}, "the name must be"),
        ({"dtype": "complex64"}, "the dtype must be one of float16"),
        ({"shape": (-1,)}, "the shape must be"),
        ({"shape": (True,)}, "the shape must be"),
        ({"shape": (2**50,)}, "the shape must be"),
        ({"shape": ("",)}, "the shape must be"),
        ({"shape": (1.5,)}, "the shape must be"),
        ({"shape": "N"}, "the shape must be"),
        ({"shape": (1,) * 33}, "the shape must be"),
    ],
)
def test_what_is_no_tensor_is_refused(change: dict[str, Any], why: str) -> None:
    """A manifest cannot describe what no array could be."""
    with pytest.raises(DeclarationError, match=why):
        x(**change)


def test_other_keys_are_refused() -> None:
    """A manifest says no more of a tensor than this version understands."""
    with pytest.raises(DeclarationError, match="has a name, a dtype and a shape"):
        Tensor.from_json({**x().to_json(), "layout": "NCHW"})


@pytest.mark.parametrize(
    ("old", "new", "takes"),
    [
        (x(("N", 3)), x(("M", 3)), True),
        (x((1, 3)), x(("N", 3)), True),
        (x(("N", 3)), x((1, 3)), False),
        (x(("N", 3)), x(("N", 4)), False),
        (x(("N", 3)), x(("N", 3, 1)), False),
        (x(("N", 3)), x(None), True),
        (x(None), x(("N", 3)), False),
        (x(), x(dtype="float64"), False),
    ],
)
def test_a_wider_tensor_takes_a_narrower_one(old: Tensor, new: Tensor, takes: bool) -> None:  # noqa: FBT001
    """A new version must take every array that fitted the old one."""
    assert new.takes(old) is takes


@pytest.mark.parametrize(
    ("shape", "may"),
    [(("N", 3), True), ((None,), True), (None, True), ((1, 3), False), ((), False)],
)
def test_a_dynamic_first_axis_may_count_records(shape: Shape, may: bool) -> None:  # noqa: FBT001
    """A fixed first axis, or none at all, cannot."""
    assert x(shape).may_batch is may


@pytest.mark.parametrize("index", [-1, True, 1.0, "0"])
def test_a_score_is_a_place_in_an_output(index: Any) -> None:
    """Only whole numbers from 0 on name a place."""
    with pytest.raises(DeclarationError, match="an output's name and a place"):
        Score(output="y", index=index)
