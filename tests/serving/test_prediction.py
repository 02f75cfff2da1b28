"""A prediction is a value: it compares, hashes, travels and never changes its identity."""

from __future__ import annotations

import copy
import json
import pickle
import re
import uuid
from typing import TYPE_CHECKING

import pytest

import mlembed
from bundles import RECORD
from mlembed.serving.prediction import Answered, NamedPrediction
from mlembed.telemetry.ids import uuid7

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry
    from mlembed.serving.prediction import Prediction


@pytest.fixture
def predictions(registry: FileRegistry, settings: mlembed.Settings) -> tuple[Prediction, ...]:
    """Return an answer, another to the same record, and a fallback."""
    model = mlembed.load("toy", registry=registry, settings=settings, fallback=0.25)
    return model.predict(RECORD, key="7"), model.predict(RECORD), model.predict({})


@pytest.fixture
def named() -> Prediction:
    """Return a prediction of a batch, which is known by the batch's id and its row."""
    source = Answered("toy", "1.0.0", lambda _: (True, "ok"))
    return NamedPrediction((source, 1, 0, 0, 0.75, "ok", "", "7"), f"{uuid7(1, 1)}/3")


def test_prediction_travels(predictions: tuple[Prediction, ...], named: Prediction) -> None:
    """A copy, in this process or another, is equal and has the same id."""
    for prediction in (*predictions, named):
        for again in (
            copy.copy(prediction),
            copy.deepcopy(prediction),
            *(pickle.loads(pickle.dumps(prediction, p)) for p in range(2, 6)),  # noqa: S301  ours
        ):
            assert again == prediction
            assert hash(again) == hash(prediction)
            assert again.id == prediction.id
            assert repr(again) == repr(prediction)


def test_predictions_of_one_record_are_two(predictions: tuple[Prediction, ...]) -> None:
    """The same answer given twice is two predictions."""
    first, second, failed = predictions

    assert first != second
    assert first.score == second.score
    assert len({first, second, failed, copy.copy(first)}) == 3
    assert first != first.score
    assert (first == first.id) is False


def test_prediction_is_json(predictions: tuple[Prediction, ...]) -> None:
    """Its plain form is strict JSON and holds what a host keeps."""
    prediction, _, failed = predictions

    assert json.loads(json.dumps(prediction.to_json(), allow_nan=False)) == {
        "id": prediction.id,
        "model": "toy",
        "version": "1.0.0",
        "score": prediction.score,
        "label": True,
        "reason": "ok",
        "error": "",
        "key": "7",
    }
    assert json.loads(json.dumps(failed.to_json(), allow_nan=False))["reason"] == "fallback"


def test_prediction_id_is_a_uuid_of_its_time(predictions: tuple[Prediction, ...]) -> None:
    """The id is a UUIDv7 whose first bits are the milliseconds of the call."""
    for prediction in predictions:
        identity = uuid.UUID(prediction.id)

        assert (identity.version, identity.variant) == (7, uuid.RFC_4122)
        assert identity.int >> 80 == prediction.time_ns // 1_000_000
    assert predictions[0].id < predictions[1].id < predictions[2].id


def test_prediction_takes_no_other_attribute(predictions: tuple[Prediction, ...]) -> None:
    """A mistyped attribute is an error, and the id cannot be changed."""
    with pytest.raises(AttributeError):
        predictions[0].scores = 1.0  # type: ignore[attr-defined]  # the typing error is the point
    with pytest.raises(AttributeError):
        predictions[0].id = "x"  # type: ignore[misc]  # the same


def test_prediction_shows_no_feature(predictions: tuple[Prediction, ...]) -> None:
    """Its text names the model, the answer and the id; the key may be personal and stays out."""
    pattern = r"Prediction\(score=0\.\d+, label=True, model='toy@1\.0\.0', reason='ok', id='[0-9a-f-]{36}'\)"

    assert re.fullmatch(pattern, repr(predictions[0]))
    assert float(predictions[0]) == predictions[0].score


def test_prediction_that_fell_back_says_why(predictions: tuple[Prediction, ...]) -> None:
    """What is printed of a fallback tells what failed, for nobody looks further."""
    failed = predictions[2]

    assert f"reason='fallback', error={failed.error!r}, id=" in repr(failed)
    assert "error=" not in repr(predictions[0])
