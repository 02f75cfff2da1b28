"""A score becomes a label as the manifest says, to the last bit of the threshold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlembed
from bundles import RECORD, toy_bundle, toy_table
from mlembed.bundle.manifest import Task
from mlembed.serving.decision import decider
from mlembed.testing import InMemoryRegistry

if TYPE_CHECKING:
    from mlembed.serving.prediction import Prediction

SCORES = st.floats(0, 1)


def answer(settings: mlembed.Settings, **arguments: Any) -> Prediction:
    """Return what a toy model of these decisions says of RECORD."""
    registry = InMemoryRegistry()
    registry.publish(toy_bundle(**arguments))
    return mlembed.load("toy", registry=registry, settings=settings).predict(RECORD)


def test_label_is_positive_from_the_threshold_on(settings: mlembed.Settings) -> None:
    """A score equal to the threshold is positive; the next double above it is not reached."""
    score = answer(settings).score

    assert answer(settings, threshold=score).label is True
    assert answer(settings, threshold=math.nextafter(score, 1)).label is False


def test_label_is_withheld_in_the_closed_band(settings: mlembed.Settings) -> None:
    """Both ends of the band belong to it; a score just outside is decided by the threshold."""
    score = answer(settings).score
    above, below = math.nextafter(score, 1), math.nextafter(score, 0)

    for band in ((score, 1.0), (0.0, score), (score, score)):
        prediction = answer(settings, abstain=band)
        assert (prediction.label, prediction.reason) == (None, "abstain")
        assert prediction.score == score
    for band in ((above, 1.0), (0.0, below)):
        assert answer(settings, abstain=band).reason == "ok"


@given(score=SCORES, threshold=SCORES, ends=st.tuples(SCORES, SCORES))
def test_decider_says_what_the_manifest_says(
    score: float, threshold: float, ends: tuple[float, float]
) -> None:
    """Outside the band the label is the side of the threshold, inside there is none."""
    low, high = sorted(ends)
    task = Task(kind="binary", label="bought", threshold=threshold, abstain=(low, high))

    label, reason = decider(task)(score)

    assert (reason == "abstain") == (low <= score <= high)
    assert label is (None if reason == "abstain" else score >= threshold)


def test_batch_decides_every_row_as_predict(settings: mlembed.Settings) -> None:
    """Labels and reasons of a table are those of its rows."""
    registry = InMemoryRegistry()
    registry.publish(toy_bundle(threshold=0.4, abstain=(0.3, 0.8)))
    model = mlembed.load("toy", registry=registry, settings=settings)
    decide = decider(toy_bundle(threshold=0.4, abstain=(0.3, 0.8)).manifest.task)

    batch = model.predict_batch(toy_table(200, seed=3))

    assert set(batch.reasons) == {"ok", "abstain"}
    assert list(zip(batch.labels, batch.reasons, strict=True)) == [
        decide(score) for score in batch.scores.tolist()
    ]


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_regression_has_no_label(settings: mlembed.Settings, threshold: float) -> None:
    """A quantity is not decided, whatever threshold the manifest holds."""
    registry = InMemoryRegistry()
    registry.publish(toy_bundle(kind="regression", threshold=threshold))
    model = mlembed.load("toy", registry=registry, settings=settings)

    prediction, batch = model.predict(RECORD), model.predict_batch(toy_table(9))

    assert (prediction.label, prediction.reason) == (None, "ok")
    assert (set(batch.labels), set(batch.reasons)) == ({None}, {"ok"})
    assert math.isfinite(prediction.score)
