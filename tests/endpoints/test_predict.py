"""One record or several come as JSON, and predictions go back as `Prediction.to_json` gives them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mlembed
from bundles import RECORD
from endpoints.asking import JSON, PLAIN, post
from mlembed.endpoints import Endpoints, Request
from mlembed.testing import InMemoryRegistry, capture_predictions, override_model
from tensorgraphs import odds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.serving.batch import Batch

PIXELS = [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]


def test_one_record_is_answered_as_the_model_answers(
    endpoints: Endpoints, models: dict[str, mlembed.Model]
) -> None:
    """The answer is the prediction's own JSON, with the caller's key."""
    expected = models["toy"].predict(RECORD)

    status, answer = post(endpoints, "models/toy/predict", {"record": PLAIN, "key": "42"})

    assert status == 200
    assert answer == expected.to_json() | {"id": answer["id"], "key": "42"}


def test_a_key_may_be_a_whole_number(endpoints: Endpoints) -> None:
    """A primary key is sent as it is, and is a text from then on."""
    _, answer = post(endpoints, "models/toy/predict", {"record": PLAIN, "key": 42})

    assert answer["key"] == "42"


@pytest.mark.parametrize("name", ["toy", "classes", "amount"])
def test_records_are_answered_in_their_order(
    endpoints: Endpoints, models: dict[str, mlembed.Model], name: str
) -> None:
    """Several records give what each alone gives, whatever the model's task."""
    records = [PLAIN | {"age": float(age)} for age in (20, 40, 60)]
    alone = [models[name].predict(record).to_json() for record in records]

    status, answer = post(endpoints, f"models/{name}/predict", {"records": records})

    assert status == 200
    for given, expected in zip(answer["predictions"], alone, strict=True):
        assert list(given) == list(expected)
        assert given["score"] == pytest.approx(expected["score"], abs=1e-12)
        near = {"id", "score", "probabilities", "interval"}
        assert {k: v for k, v in given.items() if k not in near} == {
            k: v for k, v in expected.items() if k not in near
        }


def test_keys_are_those_of_the_records(endpoints: Endpoints) -> None:
    """Each prediction of several has its own key, and is one that an outcome finds by it."""
    body = {"records": [PLAIN] * 3, "keys": ["a", 7, None]}

    with capture_predictions() as made:
        _, answer = post(endpoints, "models/toy/predict", body)

    assert [row["key"] for row in answer["predictions"]] == ["a", "7", None]
    assert [prediction.key for prediction in made] == ["a", "7", None]
    assert [prediction.id for prediction in made] == [row["id"] for row in answer["predictions"]]


@pytest.mark.parametrize("name", ["toy", "pixels"])
def test_no_record_is_answered_where_one_does_not_fit(endpoints: Endpoints, name: str) -> None:
    """With keys, too, the last record is looked at before the first is answered."""
    good: dict[str, Any] = PLAIN if name == "toy" else {"pixels": PIXELS[:1]}
    body = {"records": [good, {}], "keys": ["a", "b"]}

    with capture_predictions() as made:
        status, answer = post(endpoints, f"models/{name}/predict", body)

    assert status == 422
    assert "is missing" in answer["problems"][0]
    assert made == []


def test_a_batch_that_takes_keys_is_given_them(
    models: dict[str, mlembed.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host's own model keeps the keys of a batch, so it is asked once for all records."""
    model, given = models["toy"], []
    whole = model.predict_batch

    def predict_batch(data: Any, *, keys: Sequence[Any] | None = None) -> Batch:
        given.append(keys)
        return whole(data)

    monkeypatch.setattr(model, "predict_batch", predict_batch)

    body = {"records": [PLAIN] * 2, "keys": ["a", "b"]}
    _, answer = post(Endpoints({"toy": model}), "models/toy/predict", body)

    assert given == [["a", "b"]]
    assert [row["key"] for row in answer["predictions"]] == ["a", "b"]


def test_no_records_are_no_predictions(endpoints: Endpoints) -> None:
    """An empty list is answered with one."""
    assert post(endpoints, "models/toy/predict", {"records": []}) == (200, {"predictions": []})


def test_what_may_be_missing_may_be_left_out_or_null(endpoints: Endpoints) -> None:
    """A nullable field that is null, and one that is not there, mean the same."""
    null = PLAIN | {"income": None}
    absent = {name: value for name, value in PLAIN.items() if name != "income"}

    _, one = post(endpoints, "models/toy/predict", {"record": null})
    _, two = post(endpoints, "models/toy/predict", {"records": [absent, null]})

    assert {row["score"] for row in two["predictions"]} == {one["score"]}


def test_tensors_come_as_lists(endpoints: Endpoints) -> None:
    """A graph of tensors is given nested lists and gives its outputs as such."""
    _, answer = post(endpoints, "models/pixels/predict", {"record": {"pixels": PIXELS[:1]}})

    wanted = odds(np.array(PIXELS[:1], dtype=np.float32))
    assert answer["outputs"]["odds"] == [pytest.approx(wanted[0].tolist(), abs=1e-6)]
    assert answer["score"] == pytest.approx(wanted[0, 2], abs=1e-6)


def test_records_of_tensors_each_have_their_outputs(endpoints: Endpoints) -> None:
    """Of several records each row has the outputs of its own."""
    records = [{"pixels": [image]} for image in PIXELS]

    _, answer = post(endpoints, "models/pixels/predict", {"records": records})

    wanted = odds(np.array(PIXELS, dtype=np.float32))
    for row, expected in zip(answer["predictions"], wanted, strict=True):
        assert row["outputs"]["odds"] == [pytest.approx(expected.tolist(), abs=1e-6)]


def test_a_graph_without_score_answers_null(endpoints: Endpoints) -> None:
    """Where a bundle declares no score there is none, and no number stands for it."""
    record = {"text": ["a"], "ids": [[1, 2]], "mask": [[True, False]], "scale": 0.5}

    status, answer = post(endpoints, "models/mixed/predict", {"record": record})

    assert status == 200
    assert answer["score"] is None
    assert answer["outputs"] == {"echo": ["a"], "total": [1], "scaled": [0.5]}


def test_what_does_not_fit_is_named_and_not_shown(endpoints: Endpoints) -> None:
    """Every bad field is told, and no value of it."""
    bad = PLAIN | {"age": "secret-age", "town": 77_001, "member": None, "more": "secret-more"}

    status, answer = post(endpoints, "models/toy/predict", {"record": bad})

    assert (status, answer["type"]) == (422, "urn:problem-type:mlembed:record")
    assert [text.split("'")[1] for text in answer["problems"]] == ["age", "member", "town", "more"]
    assert not {"secret-age", "77001", "secret-more"} & set(str(answer).split())


def test_a_bad_record_of_several_is_named_by_its_place(endpoints: Endpoints) -> None:
    """Of several records the first bad one is told, whatever is wrong with it."""
    records = [PLAIN, PLAIN | {"age": 130}, PLAIN | {"more": 1}]

    _, answer = post(endpoints, "models/toy/predict", {"records": records})

    assert answer["problems"] == ["'more' is no column"]
    _, answer = post(endpoints, "models/toy/predict", {"records": records[:2]})
    assert "first in row 1" in answer["problems"][0]


def test_names_of_no_column_cannot_become_a_matrix(endpoints: Endpoints) -> None:
    """A thousand records with names of their own cost no more than a few names."""
    records = [PLAIN | {f"x{place}_{n}": None for n in range(4)} for place in range(50)]

    status, answer = post(endpoints, "models/toy/predict", {"records": records})

    assert status == 422
    assert len(answer["problems"]) == 10


def test_a_whole_number_of_any_length_is_refused(endpoints: Endpoints) -> None:
    """What no double holds is said to be so, and stops nothing."""
    status, answer = post(endpoints, "models/toy/predict", {"record": PLAIN | {"age": 10**90}})

    assert status == 422
    assert answer["problems"][0].startswith("'age'")


def test_unknown_model_tells_the_names(endpoints: Endpoints) -> None:
    """Who mistypes a name is told those there are."""
    status, answer = post(endpoints, "models/tou/predict", {"record": PLAIN})

    assert (status, answer["type"]) == (404, "urn:problem-type:mlembed:unknown-model")
    assert answer["detail"] == "The models are: amount, classes, lookup, mixed, pixels, toy"


def test_an_override_answers_over_http_too(endpoints: Endpoints) -> None:
    """A test that overrides a model gets its answer from the endpoints, for one record and many."""
    with override_model("toy", returns=0.25):
        _, one = post(endpoints, "models/toy/predict", {"record": {"any": 1}})
        _, two = post(endpoints, "models/toy/predict", {"records": [{"any": 1}, {"any": 2}]})

    assert (one["score"], one["version"]) == (0.25, "override")
    assert [row["score"] for row in two["predictions"]] == [0.25, 0.25]


@pytest.mark.parametrize(
    "body", [{"record": PLAIN}, {"records": [PLAIN] * 2}, {"record": {}}, {"records": 1}]
)
async def test_coroutines_get_the_same_answers(endpoints: Endpoints, body: Any) -> None:
    """`aanswer` answers as `answer` does, whether it can or not."""
    request = Request("POST", "models/toy/predict", JSON, json.dumps(body).encode())

    here, there = endpoints.answer(request), await endpoints.aanswer(request)

    assert (here.status, here.headers) == (there.status, there.headers)
    one, other = json.loads(here.body), json.loads(there.body)
    assert _scores(one) == _scores(other)
    assert one.get("problems") == other.get("problems")


def _scores(answer: dict[str, Any]) -> list[float | None]:
    rows = answer.get("predictions", [answer])
    return [row.get("score") for row in rows]


def test_a_model_that_is_not_there_is_unavailable(absent: mlembed.Model) -> None:
    """Where nothing can be loaded the client is asked to come back, and no path is told."""
    status, answer = post(Endpoints({"a": absent}), "models/a/predict", {"record": {}})

    assert (status, answer["type"]) == (503, "urn:problem-type:mlembed:unavailable")
    assert answer["detail"] == "NotFoundError; the server's log says more"


def test_a_fallback_is_an_answer(settings: mlembed.Settings) -> None:
    """A model with a fallback answers 200 and says why, for one record and many."""
    model = mlembed.load("a", registry=InMemoryRegistry(), fallback=0.5, settings=settings)
    endpoints = Endpoints({"a": model})

    status, one = post(endpoints, "models/a/predict", {"record": PLAIN})
    _, many = post(endpoints, "models/a/predict", {"records": [PLAIN] * 2, "keys": ["x", "y"]})

    assert status == 200
    assert (one["score"], one["reason"], one["error"]) == (0.5, "fallback", "NotFoundError")
    assert [row["reason"] for row in many["predictions"]] == ["fallback"] * 2


def test_a_failing_graph_is_told_without_its_reason(
    endpoints: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    """What the runtime says of a record stays on the server."""
    status, answer = post(endpoints, "models/lookup/predict", {"record": {"place": [9]}})

    assert (status, answer["type"]) == (500, "urn:problem-type:mlembed:model-failed")
    assert answer["detail"] == "InferenceError; the server's log says more"
    assert "InferenceError in the model" in caplog.text
