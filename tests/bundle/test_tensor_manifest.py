"""A manifest holds columns or tensors, never both, and what it says of tensors is checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bundles import toy_bundle
from mlembed.bundle.manifest import Manifest
from mlembed.errors import BundleError
from mlembed.tensors import Score
from tensorgraphs import mixed_bundle, pixels_bundle

if TYPE_CHECKING:
    from collections.abc import Callable


def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return the bytes of a manifest after *change*."""
    raw = json.loads(pixels_bundle().manifest_bytes)
    change(raw)
    return json.dumps(raw).encode()


@pytest.mark.parametrize("bundle", [pixels_bundle, mixed_bundle])
def test_a_manifest_of_tensors_survives(bundle: Callable[[], Any]) -> None:
    """Read and written again it has the same bytes."""
    data = bundle().manifest_bytes

    assert Manifest.from_bytes(data).to_bytes() == data


def test_a_manifest_of_columns_says_nothing_of_tensors() -> None:
    """Bundles that were published before tensors keep their bytes, and so their id."""
    raw = json.loads(toy_bundle().manifest_bytes)

    assert not {"inputs", "outputs", "score"} & set(raw)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: raw.update(columns=[c.to_json() for c in toy_bundle().manifest.columns]), "and not both"),
        (lambda raw: raw.update(inputs=[]), "columns must be there, or inputs"),
        (lambda raw: raw.update(outputs=[]), "outputs must be 1 to 1024 tensors"),
        (lambda raw: raw.update(inputs=raw["inputs"] * 2), "inputs must be 1 to 1024 tensors, each once"),
        (lambda raw: raw.update(inputs={}), "inputs must be a list of objects"),
        (lambda raw: raw.update(outputs=["odds"]), "outputs must be a list of objects"),
        (lambda raw: raw.pop("outputs"), r"keys differ by \['outputs'\]"),
        (lambda raw: raw.pop("score"), r"keys differ by \['score'\]"),
        (lambda raw: raw.update(score="odds"), "score must be an object or null"),
        (lambda raw: raw.update(score={"output": "odds"}), None),
        (lambda raw: raw.update(score={"output": "gone", "index": 0}), "the score must be a number of an"),
        (lambda raw: raw.update(score={"output": "odds", "index": -1}), "an output's name and a place"),
        (lambda raw: raw.update(score={"place": 1}), "manifest.json is malformed"),
        (lambda raw: raw["inputs"][0].update(dtype="object"), "the dtype must be one of"),
        (lambda raw: raw["inputs"][0].update(shape=["N", -2]), "the shape must be"),
    ],
)  # fmt: skip
def test_malformed_tensors_are_refused(
    change: Callable[[dict[str, Any]], None], why: str | None
) -> None:
    """Each mistake is named; a place left out is the first."""
    data = changed(change)

    if why is None:
        assert Manifest.from_bytes(data).score == Score(output="odds", index=0)
    else:
        with pytest.raises(BundleError, match=why):
            Manifest.from_bytes(data)


def test_a_text_cannot_be_the_score() -> None:
    """A score is a number."""
    raw = json.loads(mixed_bundle().manifest_bytes)
    raw["score"] = {"output": "echo", "index": 0}

    with pytest.raises(BundleError, match="the score must be a number of an output"):
        Manifest.from_bytes(json.dumps(raw).encode())
