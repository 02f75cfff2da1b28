"""Make the protocol's outputs of predictions, and write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.endpoints.messages import binary_answer, json_answer, to_json
from mlembed.endpoints.problems import Problem, told
from mlembed.endpoints.rows import plain
from mlembed.endpoints.v2.asked import HEADER, Wanted
from mlembed.endpoints.v2.binary import to_bytes
from mlembed.endpoints.v2.datatypes import DATATYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.endpoints.messages import Answer
    from mlembed.endpoints.v2.asked import Asked
    from mlembed.serving.batch import Batch
    from mlembed.serving.prediction import Prediction

    Arrays = dict[str, NDArray[Any]]


def of_prediction(prediction: Prediction) -> Arrays:
    """Return the outputs of one prediction; a graph's own come first where the names are the same."""
    score, odds, ends = prediction.score, prediction.probabilities, prediction.interval
    ours = {
        "score": np.array([np.nan if score is None else score], dtype=np.float64),
        "label": _texts([_label(prediction.label)]),
        "id": _texts([prediction.id]),
        "reason": _texts([prediction.reason]),
    }
    if odds is not None:
        ours["probabilities"] = np.array([[*odds.values()]], dtype=np.float64)
    if ends is not None:
        ours["interval"] = np.array([ends], dtype=np.float64)
    return {**ours, **prediction.outputs}


def of_batch(batch: Batch) -> Arrays:
    """Return the outputs of many predictions."""
    ours = {
        "score": batch.scores,
        "label": _texts([_label(label) for label in batch.labels]),
        "id": _texts(batch.ids),
        "reason": _texts(batch.reasons),
    }
    if batch.probabilities is not None:
        ours["probabilities"] = batch.probabilities
    if batch.intervals is not None:
        ours["interval"] = batch.intervals
    return {**ours, **batch.outputs}


def check_wanted(asked: Asked, names: Sequence[str]) -> None:
    """Refuse outputs that there are not, before anything is predicted.

    Raises:
        Problem: With the names there are.
    """
    unknown = [wanted.name for wanted in asked.outputs or () if wanted.name not in names]
    if unknown:
        raise Problem(
            "request", f"there is no output '{unknown[0][:64]}'; there are: {', '.join(names)}"
        )


def write(
    name: str, made: Prediction | Batch, arrays: Arrays, names: Sequence[str], asked: Asked
) -> Answer:
    """Answer with those outputs that were asked for.

    Args:
        name: The model, as the path names it.
        made: What was predicted.
        arrays: Its outputs.
        names: All outputs there are, in order; a fallback has not all of them.
        asked: The request.
    """
    body: dict[str, Any] = {"model_name": name}
    if made.version:
        body["model_version"] = made.version
    if asked.id is not None:
        body["id"] = asked.id
    if made.error:
        body["parameters"] = {"error": told(made.error)}
    buffers: list[bytes] = []
    wanted = asked.outputs or [Wanted(output, asked.is_binary) for output in names]
    body["outputs"] = [
        _output(output, arrays[output.name], buffers) for output in wanted if output.name in arrays
    ]
    if not buffers:
        return json_answer(body)
    text = to_json(body)
    return binary_answer(b"".join((text, *buffers)), {HEADER: str(len(text))})


def _output(wanted: Wanted, array: NDArray[Any], buffers: list[bytes]) -> Mapping[str, Any]:
    datatype = "BYTES" if array.dtype == object else DATATYPES[array.dtype.name]
    said = {"name": wanted.name, "datatype": datatype, "shape": list(array.shape)}
    if not wanted.is_binary:
        return {**said, "data": plain(array.ravel().tolist())}
    data = to_bytes(array)
    buffers.append(data)
    return {**said, "parameters": {"binary_data_size": len(data)}}


def _label(label: bool | str | None) -> str:  # noqa: FBT001  the label itself
    if label is None:
        return ""
    return label if isinstance(label, str) else str(bool(label)).lower()


def _texts(texts: Sequence[str]) -> NDArray[Any]:
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array
