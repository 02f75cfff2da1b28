"""A transform is data that can be written down, and a wrong one is refused where it is declared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mlembed import features
from mlembed.errors import DeclarationError
from mlembed.features import (
    Transform,
    bucket,
    clip,
    cyclic,
    day_of_week,
    difference,
    hour_of_day,
    log1p,
    product,
    ratio,
)

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY = (
    log1p("x"),
    clip("x", 0, 1),
    ratio("x", "y"),
    difference("x", "y"),
    product("x", "y"),
    bucket("x", [1, 2, 3]),
    hour_of_day("t"),
    day_of_week("t", 5.5),
    cyclic("x", 24),
)


def test_features_are_a_closed_vocabulary() -> None:
    """Every public transform is tested here, and nothing else is public."""
    assert {item.op for item in EVERY} == set(features.__all__) - {"Transform"}


@pytest.mark.parametrize("item", EVERY, ids=lambda item: item.op)
def test_transform_is_plain_data(item: Transform) -> None:
    """A transform is written as JSON and is equal to another declared alike."""
    data = json.loads(json.dumps(item.to_json(), allow_nan=False))

    assert (data["op"], data["inputs"]) == (item.op, list(item.inputs))
    assert hash(item) == hash(Transform(item.op, item.inputs, item.params))


def test_transform_writes_constants_as_doubles() -> None:
    """1 and 1.0 declare the same transform, so they give the same bytes."""
    assert json.dumps(clip("x", 0, 1).to_json()) == json.dumps(clip("x", 0.0, 1.0).to_json())
    assert clip("x", 0, 1).to_json()["params"] == {"lower": 0.0, "upper": 1.0}


def test_transform_nests() -> None:
    """Transforms of transforms name all columns they read, in order."""
    nested = ratio(difference("a", log1p("b")), clip("a", 0, 1))

    assert list(nested.columns()) == ["a", "b", "a"]
    assert nested.to_json()["inputs"][0]["inputs"][1] == log1p("b").to_json()


def test_transform_names_its_features() -> None:
    """Only `cyclic` yields two features, named after its parts."""
    assert [item.feature_names("f") for item in EVERY[:-1]] == [("f",)] * 8
    assert cyclic("x", 24).feature_names("f") == ("f_sin", "f_cos")
    assert [item.width for item in EVERY] == [1] * 8 + [2]


@pytest.mark.parametrize(
    ("declare", "arguments", "words"),
    [
        (log1p, (5,), "log1p: inputs"),
        (log1p, (None,), "log1p: inputs"),
        (
            ratio,
            (
                "a",
                2.0,
            ),
            "ratio: inputs",
        ),
        (
            difference,
            (
                ["a"],
                "b",
            ),
            "difference: inputs",
        ),
        (log1p, (cyclic("x", 24),), "log1p: 'cyclic' yields two features"),
        (
            clip,
            (
                "x",
                2,
                1,
            ),
            r"clip: lower \(2\) must not exceed upper \(1\)",
        ),
        (
            clip,
            (
                "x",
                float("nan"),
                1,
            ),
            "clip: lower must be a finite number",
        ),
        (
            clip,
            (
                "x",
                0,
                float("inf"),
            ),
            "clip: upper must be a finite number",
        ),
        (
            clip,
            (
                "x",
                "0",
                "1",
            ),
            "clip: lower must be a finite number",
        ),
        (
            clip,
            (
                "x",
                None,
                1,
            ),
            "clip: lower must be a finite number",
        ),
        (
            clip,
            (
                "x",
                0,
                10**400,
            ),
            "clip: upper must be a finite number",
        ),
        (
            bucket,
            (
                "x",
                [],
            ),
            "bucket: edges must be strictly increasing",
        ),
        (
            bucket,
            (
                "x",
                [1, 1],
            ),
            "bucket: edges must be strictly increasing",
        ),
        (
            bucket,
            (
                "x",
                [2, 1],
            ),
            "bucket: edges must be strictly increasing",
        ),
        (
            bucket,
            (
                "x",
                [2**60, 2**60 + 1],
            ),
            "bucket: edges must be strictly increasing",
        ),
        (
            bucket,
            (
                "x",
                None,
            ),
            "bucket: edges must be strictly increasing",
        ),
        (
            bucket,
            (
                "x",
                5,
            ),
            "bucket: edges must be strictly increasing",
        ),
        (
            bucket,
            (
                "x",
                ["a"],
            ),
            "bucket: edges must be a finite number",
        ),
        (
            bucket,
            (
                "x",
                [0, float("nan")],
            ),
            "bucket: edges must be a finite number",
        ),
        (
            hour_of_day,
            (
                "t",
                "CET",
            ),
            "hour_of_day: utc_offset_hours must be a finite",
        ),
        (
            day_of_week,
            (
                "t",
                float("inf"),
            ),
            "day_of_week: utc_offset_hours must be a finite",
        ),
        (
            cyclic,
            (
                "x",
                0,
            ),
            "cyclic: period must be more than 0",
        ),
        (
            cyclic,
            (
                "x",
                -24,
            ),
            "cyclic: period must be more than 0",
        ),
        (
            cyclic,
            (
                "x",
                float("nan"),
            ),
            "cyclic: period must be a finite number",
        ),
        (
            cyclic,
            (
                "x",
                None,
            ),
            "cyclic: period must be a finite number",
        ),
    ],
)
def test_transform_refuses_a_wrong_declaration(
    declare: Callable[..., Any], arguments: tuple[Any, ...], words: str
) -> None:
    """What could not be lowered is refused with the transform's and the constant's name."""
    with pytest.raises(DeclarationError, match=words):
        declare(*arguments)
