"""A bundle answers for its golden rows, or it does not serve."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from bundles import toy_bundle
from mlembed.bundle.bundle import Bundle, pack
from mlembed.bundle.golden import Golden, read_golden
from mlembed.bundle.manifest import Task
from mlembed.errors import BundleError, GoldenError
from mlembed.serving.loading import Served, Serving
from mlembed.settings import Settings

GOOD = Golden(({"x": 1.0}, {"x": None}), (0.5, 4.0))


SEVERAL = Golden(({"x": 1.0}, {"x": None}), ((0.2, 0.3, 0.5), (0.5, 0.25, 0.25)))


def with_golden(data: bytes) -> Bundle:
    """Return the toy bundle with other golden rows."""
    bundle = toy_bundle()
    return pack(bundle.manifest, {**bundle.files, "golden.json": data})


def test_golden_round_trip() -> None:
    """Golden rows read back equal, missing values included."""
    assert read_golden(with_golden(GOOD.to_bytes())) == GOOD


def test_golden_replay_accepts_scores_within_tolerance() -> None:
    """The tolerance is relative above 1 and absolute below."""
    answers = {1.0: 0.5 + 0.9e-9, None: 4.0 + 3.9e-9}

    GOOD.replay("toy@1.0.0", lambda record: answers[record["x"]])


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({1.0: 0.5 + 1.1e-9, None: 4.0}, r"rows \[0\] here: off by up to 1\.1e-09"),
        ({1.0: 0.5, None: 4.0 + 4.1e-9}, r"rows \[1\] here: off by up to 4\.1e-09"),
        ({1.0: math.nan, None: 4.0}, r"rows \[0\] here: off by up to inf"),
        ({1.0: math.inf, None: -math.inf}, r"rows \[0, 1\] here: off by up to inf"),
        ({1.0: math.nan, None: 5.0}, r"rows \[0, 1\] here: off by up to inf"),
        ({1.0: 5.0, None: math.nan}, r"rows \[0, 1\] here: off by up to inf"),
    ],
    ids=str,
)
def test_golden_replay_names_the_rows(answers: dict[Any, float], words: str) -> None:
    """A row that differs is named with the difference, never with its values."""
    with pytest.raises(GoldenError, match=f"toy@1.0.0 does not reproduce its golden {words}"):
        GOOD.replay("toy@1.0.0", lambda record: answers[record["x"]])


def test_golden_replay_names_ten_rows_at_most() -> None:
    """A message stays short however many rows differ."""
    golden = Golden(({"x": 0.0},) * 50, (0.0,) * 50)

    with pytest.raises(GoldenError, match=r"rows \[0, 1, 2, 3, 4, 5, 6, 7, 8, 9\] here"):
        golden.replay("toy@1.0.0", lambda _: 1.0)


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"5",
        b"{}",
        b'{"records":[{}],"scores":[0.5]}',
        b'{"records":[],"scores":[],"tolerance":1e-9}',
        b'{"records":[{}],"scores":[0.5,0.6],"tolerance":1e-9}',
        b'{"records":[{}],"scores":["0.5"],"tolerance":1e-9}',
        b'{"records":[{}],"scores":"5","tolerance":1e-9}',
        b'{"records":[{}],"scores":[true],"tolerance":1e-9}',
        b'{"records":[{}],"scores":[0.5],"tolerance":"inf"}',
        b'{"records":[{}],"scores":[0.5],"tolerance":1e999}',
        b'{"records":[{}],"scores":[0.5],"tolerance":null}',
        b'{"records":[{}],"scores":[1' + b"0" * 400 + b'],"tolerance":1e-9}',
        b'{"records":["x"],"scores":[0.5],"tolerance":1e-9}',
        b'{"records":{"a":{}},"scores":[0.5],"tolerance":1e-9}',
    ],
    ids=lambda data: repr(data)[:60],
)
def test_read_golden_refuses_malformed_rows(data: bytes) -> None:
    """Golden rows that could not be compared are a malformed bundle."""
    with pytest.raises(BundleError, match=r"toy@1\.0\.0: golden\.json"):
        read_golden(with_golden(data))


def several(data: bytes) -> Bundle:
    """Return a bundle of three classes with these golden rows."""
    bundle = toy_bundle()
    task = Task(kind="multiclass", label="mode", classes=("tram", "bus", "walk"))
    manifest = dataclasses.replace(bundle.manifest, task=task)
    return pack(manifest, {**bundle.files, "golden.json": data})


def test_golden_round_trip_of_classes() -> None:
    """The probabilities of every class read back equal."""
    assert read_golden(several(SEVERAL.to_bytes())) == SEVERAL


@pytest.mark.parametrize("place", [0, 1, 2])
def test_golden_replay_compares_every_class(place: int) -> None:
    """One class that is off, or no number, is enough to refuse the row."""
    for wrong, told in ((0.01, r"0\.01"), (math.nan, "inf")):
        answers = {1.0: [0.2, 0.3, 0.5], None: [0.5, 0.25, 0.25]}
        answers[None][place] += wrong
        rows = iter(answers.values())

        with pytest.raises(GoldenError, match=rf"golden rows \[1\] here: off by up to {told}"):
            SEVERAL.replay("toy@1.0.0", lambda _, rows=rows: next(rows))  # type: ignore[misc]


@pytest.mark.parametrize(
    "scores",
    ["[0.5]", "[[0.5, 0.5]]", "[[0.2, 0.3, null]]", "[[0.2, 0.3, true]]", '["abc"]', "[[]]"],
)
def test_read_golden_refuses_rows_without_every_class(scores: str) -> None:
    """A multiclass's golden row holds one number for each of its classes."""
    data = f'{{"records":[{{}}],"scores":{scores},"tolerance":1e-9}}'.encode()

    with pytest.raises(
        BundleError, match=r"golden\.json holds no records with 3 probabilities each"
    ):
        read_golden(several(data))


def test_read_golden_refuses_classes_of_one_score() -> None:
    """A list of numbers is no score of a binary model."""
    with pytest.raises(BundleError, match=r"golden\.json holds no records with a score each"):
        read_golden(with_golden(SEVERAL.to_bytes()))


@pytest.mark.parametrize("error", [1e-6, -0.5, 1.0])
def test_served_refuses_a_bundle_that_misses_its_golden_rows(error: float) -> None:
    """A bundle whose scores are not those of its trainer never comes into service."""
    bundle = toy_bundle(golden_error=error)

    with pytest.raises(GoldenError, match=r"toy@1\.0\.0 does not reproduce its golden rows"):
        Served(bundle, Serving(Settings()))


def test_served_refuses_golden_rows_that_do_not_fit() -> None:
    """A golden record without its columns is a golden failure, not an error of the host."""
    golden = dataclasses.replace(read_golden(toy_bundle()), records=({"age": 1},), scores=(0.5,))

    with pytest.raises(GoldenError, match="a golden row does not fit"):
        Served(with_golden(golden.to_bytes()), Serving(Settings()))


def test_served_accepts_its_own_golden_rows() -> None:
    """The rows a trainer wrote are reproduced, missing and unknown values included."""
    served = Served(toy_bundle(), Serving(Settings()))
    golden = read_golden(toy_bundle())

    assert served.score(golden.records[0]) == pytest.approx(golden.scores[0], abs=1e-9)
