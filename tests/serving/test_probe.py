"""What a bad record must not do: keep a model closed, leave the process, or reach the runtime."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mlembed.errors import CircuitOpenError, DataError, SchemaError
from mlembed.serving.breaker import Breaker
from mlembed.serving.feed import Feed
from mlembed.tensors import Tensor
from mlembed.training.examples import read_examples

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bad_record_gives_the_probe_back() -> None:
    """The one call that may try a failed graph again is the next good one."""
    breaker = Breaker("toy", 1, 0.0)
    breaker.fail(RuntimeError(), "1.0.0")
    breaker._seconds = 600.0
    breaker.enter("1.0.0")  # the pause is over
    with pytest.raises(CircuitOpenError) as caught:
        breaker.enter("1.0.0")
    breaker.fail(caught.value, "1.0.0")
    with pytest.raises(CircuitOpenError):
        breaker.enter("1.0.0")

    breaker.fail(SchemaError("toy", ("bad",)), "1.0.0")

    breaker.enter("1.0.0")


def test_bytes_without_a_meaning_are_no_texts() -> None:
    """However often good texts of that shape were given before."""
    feed = Feed("toy", [Tensor(name="words", dtype="string", shape=("N",))])
    feed.read({"words": np.array(["a", "b"], dtype=object)})

    with pytest.raises(SchemaError, match="words"):
        feed.read({"words": np.zeros(2, dtype="V1")})


def test_damaged_examples_are_data_errors(tmp_path: Path) -> None:
    """An array that is no archive, a damaged one, a bomb and a tower of brackets."""
    plain, deep, bomb = tmp_path / "plain.npz", tmp_path / "deep.json", tmp_path / "bomb.npz"
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(plain)
    deep.write_text("[" * 100_000)
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(64 * 1024 * 1024))

    for path in (plain, deep, bomb):
        with pytest.raises(DataError, match="cannot be read"):
            read_examples(path)
