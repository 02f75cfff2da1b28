"""The Open Inference Protocol, as its own description has it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import mlembed
from bundles import RECORD
from endpoints.asking import get, post
from mlembed.endpoints import Endpoints, Request
from mlembed.testing import InMemoryRegistry, capture_predictions, override_model
from mlembed.training import pack
from tensorgraphs import data, identity_model, odds

VECTORS: dict[str, tuple[str, Any]] = {
    "age": ("FP64", 41.0),
    "income": ("FP64", 30_000.0),
    "visits": ("INT64", 7),
    "member": ("BOOL", True),
    "town": ("BYTES", "oslo"),
    "plan": ("BYTES", "plus"),
    "seen": ("BYTES", RECORD["seen"].isoformat()),
}
INFER = "v2/models/toy/infer"


def inputs(n: Any = 1, **changed: Any) -> list[dict[str, Any]]:
    """Return the toy's record, *n* times, as inputs; *changed* are keys of single inputs."""
    made = []
    for name, (datatype, value) in VECTORS.items():
        tensor = {"name": name, "shape": [n], "datatype": datatype, "data": [value] * n}
        made.append(tensor | changed.get(name, {}))
    return [tensor for tensor in made if not tensor.get("absent")]


def outputs(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the data of each output."""
    return {output["name"]: output["data"] for output in answer["outputs"]}


def test_answer_is_that_of_the_model(
    endpoints: Endpoints, models: dict[str, mlembed.Model]
) -> None:
    """JSON in the protocol's form gives the model's score, label, id and reason."""
    wanted = models["toy"].predict(RECORD)

    with capture_predictions() as made:
        status, answer = post(endpoints, INFER, {"id": "42", "inputs": inputs()})

    assert status == 200
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("toy", "1.0.0", "42")
    assert outputs(answer) == {
        "score": [wanted.score],
        "label": [str(wanted.label).lower()],
        "id": [made[0].id],
        "reason": ["ok"],
    }


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("age", {"datatype": "FP32"}),
        ("age", {"datatype": "UINT8", "data": [41]}),
        ("visits", {"datatype": "FP64", "data": [7.0]}),
        ("visits", {"datatype": "INT8"}),
        ("member", {"datatype": "INT32", "data": [1]}),
        ("seen", {"datatype": "FP64", "data": [RECORD["seen"].timestamp()]}),
        ("seen", {"datatype": "INT64", "data": [int(RECORD["seen"].timestamp())]}),
        ("town", {"shape": [1, 1]}),
        ("town", {"shape": [1, 1], "data": [["oslo"]]}),
    ],
)
def test_a_column_takes_what_says_the_same(
    endpoints: Endpoints, models: dict[str, mlembed.Model], name: str, change: dict[str, Any]
) -> None:
    """A value in another data type or shape that holds it gives the same score."""
    _, answer = post(endpoints, INFER, {"inputs": inputs(**{name: change})})

    assert outputs(answer)["score"] == [models["toy"].predict(RECORD).score]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    "change",
    [
        {"income": {"absent": True}, "plan": {"absent": True}},
        {"income": {"data": None}, "plan": {"data": None}},
        {"income": {"data": None}, "plan": {"data": ""}},
    ],
)
def test_what_may_be_missing_is_absent_null_or_empty(
    endpoints: Endpoints, models: dict[str, mlembed.Model], n: int, change: dict[str, Any]
) -> None:
    """A nullable column is missing where it is not given, null, or an empty text."""
    whole = {k: (v if v.get("absent") else {"data": [v["data"]] * n}) for k, v in change.items()}
    wanted = models["toy"].predict(RECORD | {"income": None, "plan": None})

    _, answer = post(endpoints, INFER, {"inputs": inputs(n, **whole)})

    assert outputs(answer)["score"] == pytest.approx([wanted.score] * n, abs=1e-12)


def test_a_key_is_that_of_the_prediction(endpoints: Endpoints) -> None:
    """The parameter `key` is the host's key of one record, and of no more."""
    body = {"inputs": inputs(), "parameters": {"key": "c-9", "priority": 3}}

    with capture_predictions() as made:
        post(endpoints, INFER, body)
        status, answer = post(endpoints, INFER, body | {"inputs": inputs(2)})

    assert [prediction.key for prediction in made] == ["c-9"]
    assert status == 400
    assert "of one record, and 2 are given" in answer["error"]


def test_classes_and_intervals_are_outputs(endpoints: Endpoints) -> None:
    """What a task has beside the score is an output with its own shape, as the metadata says."""
    _, classes = post(endpoints, "v2/models/classes/infer", {"inputs": inputs(2)})
    _, amount = post(endpoints, "v2/models/amount/infer", {"inputs": inputs(2)})

    for name, answer in (("classes", classes), ("amount", amount)):
        _, metadata = get(endpoints, f"v2/models/{name}")
        said = {o["name"]: (o["datatype"], o["shape"][1:]) for o in metadata["outputs"]}
        assert said == {o["name"]: (o["datatype"], o["shape"][1:]) for o in answer["outputs"]}
        assert all(output["shape"][0] == 2 for output in answer["outputs"])
    assert len(outputs(classes)["probabilities"]) == 6
    low, high = outputs(amount)["interval"][:2]
    assert (low, high) == pytest.approx(
        (outputs(amount)["score"][0] - 1.0, outputs(amount)["score"][0] + 2.0)
    )


def test_no_records_are_no_answers(endpoints: Endpoints) -> None:
    """Tensors of the length 0 give such ones."""
    empty = {name: {"shape": [0], "data": []} for name in VECTORS}

    status, answer = post(endpoints, INFER, {"inputs": inputs(**empty)})

    assert status == 200
    assert outputs(answer) == {"score": [], "label": [], "id": [], "reason": []}


def test_a_graph_that_counts_no_records_is_asked_once(endpoints: Endpoints) -> None:
    """Where an input has no axis of records the tensors go to the graph as they are."""
    given = [
        {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
        {"name": "ids", "datatype": "INT64", "shape": [2, 2], "data": [[1, 2], [3, 4]]},
        {"name": "mask", "datatype": "BOOL", "shape": [2, 2], "data": [True, False, True, True]},
        {"name": "scale", "datatype": "FP16", "shape": [], "data": [0.5]},
    ]

    status, answer = post(endpoints, "v2/models/mixed/infer", {"inputs": given})

    assert status == 200, answer
    assert outputs(answer)["total"] == [1, 7]
    assert "score" not in outputs(answer)


def test_metadata_tells_the_tensors_of_a_graph(endpoints: Endpoints) -> None:
    """A graph's tensors keep their names, types and shapes; -1 is any length."""
    _, answer = get(endpoints, "v2/models/pixels")

    assert answer["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 2, 2]}]
    assert answer["outputs"][:2] == [
        {"name": "odds", "datatype": "FP32", "shape": [-1, 3]},
        {"name": "class", "datatype": "INT64", "shape": [-1]},
    ]


def test_a_number_that_json_has_not_is_null(settings: mlembed.Settings) -> None:
    """What a graph gives that is not finite is null, and null in floats is NaN."""
    registry = InMemoryRegistry()
    registry.publish(pack(data(identity_model("float32", ["N"])), name="same"))
    model = mlembed.load("same", registry=registry, settings=settings)
    tensor = {"name": "x", "datatype": "FP32", "shape": [3], "data": [1.5, None, 2]}

    status, answer = post(Endpoints({"same": model}), "v2/models/same/infer", {"inputs": [tensor]})

    assert status == 200
    assert outputs(answer)["y"] == [1.5, None, 2.0]


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_whole_numbers_are_exact(settings: mlembed.Settings, dtype: str) -> None:
    """No whole number becomes a double on its way in or out, however large its neighbour."""
    registry = InMemoryRegistry()
    registry.publish(pack(data(identity_model(dtype, ["N"])), name="same"))
    model = mlembed.load("same", registry=registry, settings=settings)
    limits = np.iinfo(dtype)
    numbers = [int(limits.max), int(limits.max) - 1, int(limits.min), 1]
    tensor = {"name": "x", "datatype": dtype.upper(), "shape": [4], "data": numbers}

    _, answer = post(Endpoints({"same": model}), "v2/models/same/infer", {"inputs": [tensor]})

    assert outputs(answer)["y"] == numbers


def test_versions_are_those_in_service(endpoints: Endpoints) -> None:
    """The version in service may be named, and no other."""
    body = {"inputs": inputs()}

    assert post(endpoints, "v2/models/toy/versions/1.0.0/infer", body)[0] == 200
    for path in ("", "/ready"):
        status, answer = get(endpoints, f"v2/models/toy/versions/2.0.0{path}")
        assert (status, answer) == (404, {"error": "In service is the version 1.0.0"})
    status, answer = post(endpoints, "v2/models/toy/versions/2.0.0/infer", body)
    assert (status, answer) == (404, {"error": "In service is the version 1.0.0"})


def test_an_override_answers_over_v2_too(endpoints: Endpoints) -> None:
    """A test's override takes any tensors, one record and many."""
    with override_model("toy", returns=0.25):
        for n in (1, 2):
            _, answer = post(endpoints, INFER, {"inputs": inputs(n)})
            assert outputs(answer)["score"] == [0.25] * n


def test_a_fallback_has_the_outputs_it_can(settings: mlembed.Settings) -> None:
    """A fallback answers with its score and says so; what only the graph could give is left out."""
    registry = InMemoryRegistry()
    model = mlembed.load("a", registry=registry, fallback=0.5, settings=settings)
    endpoints = Endpoints({"a": model})

    for n in (1, 2):
        status, answer = post(endpoints, "v2/models/a/infer", {"inputs": inputs(n)})
        assert status == 200
        assert outputs(answer)["score"] == [0.5] * n
        assert outputs(answer)["reason"] == ["fallback"] * n
        assert answer["parameters"] == {"error": "NotFoundError"}


def test_one_image_of_several_is_as_it_would_be_alone(endpoints: Endpoints) -> None:
    """A batch of tensors gives each record its own outputs."""
    pixels = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    tensor = {"name": "pixels", "datatype": "FP32", "shape": [2, 2, 2], "data": pixels.tolist()}

    _, answer = post(endpoints, "v2/models/pixels/infer", {"inputs": [tensor]})

    assert outputs(answer)["odds"] == pytest.approx(odds(pixels).ravel().tolist(), abs=1e-6)


async def test_coroutines_infer_alike(endpoints: Endpoints) -> None:
    """`aanswer` gives the outputs that `answer` gives."""
    for n in (1, 3):
        body = json.dumps({"inputs": inputs(n), "outputs": [{"name": "score"}]}).encode()
        request = Request("POST", INFER, {"content-type": "application/json"}, body)

        here, there = endpoints.answer(request), await endpoints.aanswer(request)

        assert here == there
