"""Make a bundle of an ONNX model that was made elsewhere, whatever tensors it takes and gives.

The bundle is put in service once, here: what does not load, or answers differently the second time,
is never returned.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from typing import TYPE_CHECKING, Any

import mlembed
from mlembed.bundle.bundle import pack as pack_files
from mlembed.bundle.calls import GoldenCalls
from mlembed.bundle.manifest import Manifest, Task, is_name, is_version
from mlembed.errors import BundleError, DeclarationError
from mlembed.serving.feed import Feed
from mlembed.serving.loading import Serving
from mlembed.serving.session import TensorSession
from mlembed.serving.tensors import TensorServed
from mlembed.settings import Settings
from mlembed.tensors import Score
from mlembed.training.examples import made_up
from mlembed.training.onnxfile import read_onnx
from mlembed.training.origin import origin
from mlembed.training.packing import OLDEST_RUNTIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.tensors import Tensor
    from mlembed.training.onnxfile import OnnxFile

    Call = tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]

_MAX_SHOWN = 300


def pack(
    model: str | os.PathLike[str] | bytes,
    *,
    name: str,
    version: str = "1.0.0",
    examples: Sequence[Mapping[str, Any]] = (),
    score: str = "",
    description: str = "",
    tolerance: float | None = None,
) -> Bundle:
    """Pack an ONNX model with named tensors.

    Args:
        model: Path of the ONNX file, or its bytes.
        name: Name of the model.
        version: Version of the bundle, `major.minor.patch`.
        examples: Inputs by name, one mapping a call; with what the graph makes of them they become
            the golden calls, replayed before every start. Made up where none is given.
        score: The output that holds the score; `output:index` where it holds several numbers of
            one record. No score by default.
        description: What the model is for, in words.
        tolerance: Greatest difference of a float output on another machine, relative to its largest
            value; by default 1e-9 for double graphs, 1e-4 for single and 1e-2 for half and
            quantised ones.

    Raises:
        BundleError: If the model cannot be served, or not under this name and version.
        SchemaError: If an example does not fit.
        GoldenError: If the graph answers differently the second time.
    """
    if not is_name(name) or not is_version(version):
        raise BundleError(
            f"{name!r} {version!r}: a model's name is lower-case letters, digits, '.', '_' and "
            "'-', and its version major.minor.patch"
        )
    if tolerance is not None and not 0 <= tolerance < 1:
        raise BundleError("the tolerance is a share of an output's largest value: give 0 to 1")
    file = read_onnx(model)
    declared = _score(score, file.outputs)
    calls = _calls(f"{name}@{version}", file, examples)
    manifest = Manifest(
        name=name,
        version=version,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        columns=(),
        transforms={},
        features=(),
        task=Task(kind="regression", label=score),
        metrics={},
        training={
            "source": "bytes" if isinstance(model, bytes) else os.path.basename(model),  # noqa: PTH119
            "producer": file.producer,
            "description": description,
            "golden calls": "given" if examples else "made up",
            "python": platform.python_version(),
            **origin(),
            "libraries": _libraries(),
        },
        onnx=file.facts,
        runtime={"onnxruntime": f">={OLDEST_RUNTIME}"},
        inputs=file.inputs,
        outputs=file.outputs,
        score=declared,
    )
    golden = GoldenCalls(calls, file.tolerance if tolerance is None else tolerance)
    bundle = pack_files(
        manifest,
        {
            "model.onnx": file.data,
            "golden.json": golden.to_bytes(),
            "card.md": _card(manifest).encode("utf-8", "replace"),
        },
    )
    served = TensorServed(bundle, Serving(Settings(log=False)))
    if declared is not None:
        _check_score(served, calls[0][1], declared, is_placed=":" in score)
    return bundle


def _calls(title: str, file: OnnxFile, examples: Sequence[Mapping[str, Any]]) -> tuple[Call, ...]:
    """Return inputs the graph runs on, and what it makes of them.

    Raises:
        BundleError: If it runs on none.
    """
    graph, feed = TensorSession(file.data), Feed(title, file.inputs)
    why = ""
    if examples:
        given = [feed.read(example) for example in examples]
        try:
            return tuple((inputs, graph.run(dict(inputs))) for inputs in given)
        except Exception as error:  # the runtime raises its own types, which are not public
            why = _first_line(error)
            raise BundleError(f"the graph fails on the example: {why}; give another") from error
    for candidates in made_up(file.inputs):
        calls = []
        for inputs in candidates:
            try:
                calls.append((inputs, graph.run(dict(inputs))))
            except Exception as error:  # noqa: BLE001  idem
                why = why or _first_line(error)
        if calls:
            return tuple(calls)
    raise BundleError(
        f"the graph takes none of the inputs that were made up for it ({why}); give real ones: "
        "--example FILE.npz, or pack(examples=[{...}])"
    )


def _score(text: str, outputs: Sequence[Tensor]) -> Score | None:
    if not text:
        return None
    found = {tensor.name: tensor for tensor in outputs}
    name, index = text, 0
    if text not in found and ":" in text:  # a name may hold colons too
        name, _, place = text.rpartition(":")
        index = int(place) if place.isascii() and place.isdecimal() else -1
    try:
        score = Score(output=name, index=index)
    except DeclarationError as error:
        raise BundleError("the score is OUTPUT or OUTPUT:INDEX, the index from 0 on") from error
    if name not in found or found[name].dtype == "string":
        numbers = [tensor.name for tensor in outputs if tensor.dtype != "string"]
        raise BundleError(
            f"the score must be a number of an output; '{name[:64]}' is none. Outputs with numbers: "
            f"{', '.join(numbers) or 'none'}"
        )
    return score


def _check_score(
    served: TensorServed,
    outputs: Mapping[str, NDArray[Any]],
    score: Score,
    *,
    is_placed: bool,
) -> None:
    array = outputs[score.output]
    n_records = len(array) if array.ndim and served.counts_records(score.output) else 1
    places = array.size // max(1, n_records)
    if not is_placed and places > 1:
        raise BundleError(
            f"'{score.output}' holds {places} numbers a record; name the one that is the score: "
            f"{score.output}:0 to {score.output}:{places - 1}"
        )
    if score.index >= places:
        raise BundleError(
            f"'{score.output}' holds {places} numbers a record, so there is no number "
            f"{score.index}; give --score {score.output}:0 to {places - 1}"
        )


def _card(manifest: Manifest) -> str:
    lines = [f"# {manifest.title}", "", str(manifest.training["description"]), ""]
    for head, tensors in (("Input", manifest.inputs), ("Output", manifest.outputs)):
        lines += [f"| {head} | tensor |", "|---|---|"]
        lines += [f"| `{tensor.name}` | {tensor.text} |" for tensor in tensors]
        lines.append("")
    return "\n".join(lines)


def _libraries() -> dict[str, str]:
    names = ("onnx", "onnxruntime", "numpy")
    return {"mlembed": mlembed.__version__} | {n: importlib.metadata.version(n) for n in names}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:_MAX_SHOWN]
