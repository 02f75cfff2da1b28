"""A model of several classes answers with the most probable one, and with how probable each is."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import math
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from bundles import COLUMNS, RECORD, Toy, toy_bundle, toy_rows, toy_table
from classes import CLASSES, class_bundle, root_bundle
from mlembed.bundle.bundle import pack
from mlembed.bundle.manifest import MODEL
from mlembed.errors import BundleError, GoldenError, InferenceError, SchemaError
from mlembed.serving.classes import ClassServed
from mlembed.serving.encoder import Encoder
from mlembed.serving.loading import Serving, serve
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns
from mlembed.testing import InMemoryRegistry, capture_predictions, override_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle

N = 60
MANY = tuple(f"class {number:03d}" for number in range(100))


def live(settings: mlembed.Settings, *bundles: Bundle, **options: Any) -> mlembed.Model:
    """Return a model that the last of *bundles* serves."""
    registry = InMemoryRegistry()
    for bundle in bundles:
        registry.publish(bundle)
    return mlembed.load(bundles[-1].manifest.name, registry=registry, settings=settings, **options)


def expected(bundle: Bundle, n: int = N, seed: int = 5) -> NDArray[np.float64]:
    """Return the probabilities that the bare graph gives for a table, `(n, n_classes)`."""
    matrix, _ = encode_columns(Encoder("toy", COLUMNS), toy_table(n, seed))
    return Session(bundle.files[MODEL]).run_matrix(matrix)


def read_as_many(model: mlembed.Model, *, is_wide: bool) -> ClassServed:
    """Let the version in service read its classes as it reads many, or few; return it."""
    assert model.version
    served = model._handle.current
    assert isinstance(served, ClassServed)
    served._is_wide = is_wide
    return served


@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:2], MANY], ids=len)
def test_predict_gives_the_most_probable_class(
    classes: tuple[str, ...], settings: mlembed.Settings
) -> None:
    """Label, score and probabilities are those of the bare graph, for few classes and many."""
    bundle = class_bundle(classes=classes)
    model, told = live(settings, bundle), expected(bundle)

    answers = [model.predict(row) for row in toy_rows(N, 5)]

    for answer, row in zip(answers, told.tolist(), strict=True):
        assert answer.probabilities is not None
        assert list(answer.probabilities) == list(classes)
        assert [*answer.probabilities.values()] == pytest.approx(row, abs=1e-12)
        assert answer.score == max(answer.probabilities.values())
        assert answer.label == max(answer.probabilities, key=answer.probabilities.__getitem__)
        assert (answer.reason, answer.interval) == ("ok", None)
    assert len({answer.label for answer in answers}) > 1


def test_predict_batch_is_predict(settings: mlembed.Settings) -> None:
    """A table gives scores, labels and probabilities of its records alone."""
    model = live(settings, class_bundle(abstain=(0.0, 0.6)))
    alone = [model.predict(row) for row in toy_rows(N, 5)]

    batch = model.predict_batch(toy_table(N, 5))

    assert batch.probabilities is not None
    assert batch.probabilities.shape == (N, 3)
    assert batch.scores.tolist() == pytest.approx([a.score for a in alone], rel=1e-12)
    assert batch.labels == [a.label for a in alone]
    assert batch.reasons == [a.reason for a in alone]
    assert set(batch.reasons) == {"ok", "abstain"}
    assert batch.intervals is None
    assert [dict(zip(CLASSES, row, strict=True)) for row in batch.probabilities.tolist()] == [
        pytest.approx(a.probabilities, rel=1e-12) for a in alone
    ]


def test_predict_batch_of_nothing(settings: mlembed.Settings) -> None:
    """A table without rows has no answers."""
    batch = live(settings, class_bundle()).predict_batch({column.name: [] for column in COLUMNS})

    assert batch.probabilities is not None
    assert (len(batch), batch.labels, batch.probabilities.shape) == (0, [], (0, 3))


def test_apredict_is_predict(settings: mlembed.Settings) -> None:
    """A coroutine gets the same answer, on the first call and on a later one."""
    model = live(settings, class_bundle())

    async def ask() -> list[mlembed.Prediction]:
        return [await model.apredict(RECORD), await model.apredict(RECORD)]

    first, later = asyncio.run(ask())
    alone = model.predict(RECORD)

    assert first.label == later.label == alone.label
    assert first.probabilities == later.probabilities == alone.probabilities


@pytest.mark.parametrize("is_wide", [False, True])
def test_first_of_equal_classes_is_the_label(
    is_wide: bool,  # noqa: FBT001  one of two ways
    settings: mlembed.Settings,
) -> None:
    """The order of the classes decides between classes that are equally probable."""
    model = live(settings, root_bundle())
    read_as_many(model, is_wide=is_wide)

    assert model.predict({"x": 0.16}).label == "tram"
    assert model.predict({"x": 0.01}).label == "walk"
    assert model.predict_batch({"x": [0.16, 0.01]}).labels == ["tram", "walk"]


def test_label_is_withheld_where_no_class_is_probable(settings: mlembed.Settings) -> None:
    """The band holds for the top probability; its ends belong to it."""
    score = live(settings, class_bundle()).predict(RECORD).score

    for band, reason in (
        ((0.0, score), "abstain"),
        ((0.0, math.nextafter(score, 0)), "ok"),
    ):
        answer = live(settings, class_bundle(abstain=band)).predict(RECORD)
        assert (answer.reason, answer.label is None) == (reason, reason == "abstain")
        assert answer.score == score
        assert answer.probabilities is not None


@pytest.mark.parametrize("is_wide", [False, True])
def test_no_finite_number_is_a_failure(
    is_wide: bool,  # noqa: FBT001  idem
    settings: mlembed.Settings,
) -> None:
    """A graph that gives NaN fails, one by one and in a table; the thread's row is used again."""
    model = live(settings, root_bundle())
    served = read_as_many(model, is_wide=is_wide)

    for ask in (
        lambda: model.predict({"x": -1.0}),
        lambda: model.predict_batch({"x": [0.16, -1.0]}),
    ):
        with pytest.raises(InferenceError, match=r"graph@1\.0\.0 gave no finite number"):
            ask()
    with pytest.raises(SchemaError):
        model.predict({"y": 1.0})
    assert model.predict({"x": 0.16}).label == "tram"
    assert len(served.own_rows.free) == 1


def test_failure_is_the_fallback(settings: mlembed.Settings) -> None:
    """Where a record does not fit the host's score answers, without label or probabilities."""
    model = live(settings, class_bundle(), fallback=0.25)

    failed, all_failed = model.predict({}), model.predict_batch({"age": [1.0]})

    assert (failed.reason, failed.score, failed.label) == ("fallback", 0.25, None)
    assert failed.probabilities is None
    assert (all_failed.labels, all_failed.probabilities) == ([None], None)
    with pytest.raises(SchemaError, match="'age' is missing"):
        live(settings, class_bundle()).predict({})


def test_prediction_of_classes_travels(settings: mlembed.Settings) -> None:
    """A copy, in this process or another, has the same label and probabilities."""
    for bundle in (class_bundle(), class_bundle(abstain=(0.0, 1.0)), class_bundle(classes=MANY)):
        prediction = live(settings, bundle).predict(RECORD)
        for again in (copy.deepcopy(prediction), pickle.loads(pickle.dumps(prediction))):  # noqa: S301  ours
            assert again == prediction
            assert (again.label, again.probabilities) == (
                prediction.label,
                prediction.probabilities,
            )
            assert repr(again) == repr(prediction)
            assert again.to_json() == prediction.to_json()


def test_prediction_of_classes_is_json(settings: mlembed.Settings) -> None:
    """Its plain form is strict JSON and names every class."""
    prediction = live(settings, class_bundle()).predict(RECORD, key="7")

    told = json.loads(json.dumps(prediction.to_json(), allow_nan=False))

    assert (told["label"], told["score"], told["key"]) == (prediction.label, prediction.score, "7")
    assert told["probabilities"] == prediction.probabilities
    assert f"label={prediction.label!r}" in repr(prediction)


def test_versions_may_swap_between_two_and_several_classes(settings: mlembed.Settings) -> None:
    """One model serves a binary version, then one of several classes, then a binary one again."""
    registry = InMemoryRegistry()
    registry.publish(toy_bundle())
    model = mlembed.load("toy", registry=registry, settings=settings)
    first = model.predict(RECORD)
    registry.publish(class_bundle(version="2.0.0"))
    assert model.refresh()
    second = model.predict(RECORD)
    registry.publish(toy_bundle(version="3.0.0"))
    assert model.refresh()
    third = model.predict(RECORD)

    assert (first.label, third.label) == (True, True)
    assert second.label in CLASSES
    assert (first.probabilities, third.probabilities) == (None, None)
    assert first.label is True  # the answer keeps the version that gave it


def test_override_answers_for_classes(settings: mlembed.Settings) -> None:
    """A host's test may answer with a class."""
    model = live(settings, class_bundle())

    with override_model("toy", returns=0.75, label="bus"), capture_predictions() as captured:
        given = model.predict(RECORD)
        batch = model.predict_batch(toy_table(2))

    assert (given.label, given.score, given.probabilities) == ("bus", 0.75, None)
    assert batch.labels == ["bus", "bus"]
    assert captured == [given]


def test_any_record_is_answered(settings: mlembed.Settings) -> None:
    """A record of the host's own class gives what its mapping gives."""
    model = live(settings, class_bundle())

    assert model.predict(Toy(**RECORD)).probabilities == model.predict(RECORD).probabilities


def test_hooks_see_classes(settings: mlembed.Settings) -> None:
    """A hook gets the very answer that the caller gets."""
    model = live(settings, class_bundle())

    with capture_predictions() as captured:
        given = model.predict(RECORD)

    assert captured[0] is given


@pytest.mark.parametrize("error", [1e-6, -0.1])
def test_golden_rows_of_classes_are_replayed(error: float) -> None:
    """A bundle that misses the probability of one class never comes into service."""
    with pytest.raises(GoldenError, match=r"toy@1\.0\.0 does not reproduce its golden rows"):
        serve(class_bundle(golden_error=error), Serving(mlembed.Settings()))


def test_graph_must_give_every_class() -> None:
    """A graph of another width than the manifest's classes is refused by both numbers."""
    good = class_bundle()
    task = dataclasses.replace(good.manifest.task, classes=(*CLASSES, "bike"))
    bundle = pack(dataclasses.replace(good.manifest, task=task), good.files)

    with pytest.raises(BundleError, match="gives 3 scores; the manifest says 7 and 4"):
        serve(bundle, Serving(mlembed.Settings()))


def test_served_classes_score_as_any_other(settings: mlembed.Settings) -> None:
    """The bare score of a record is the top probability."""
    served = serve(class_bundle(), Serving(settings))

    assert served.score(RECORD) == live(settings, class_bundle()).predict(RECORD).score
