"""The manifest: what a bundle holds, how its input is made and what its score means.

A bundle's id is the sha256 of the manifest's bytes, and the manifest names the sha256 of every
other file, so one digest stands for the whole.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from typing import Any

from mlembed.bundle import strictjson
from mlembed.bundle.task import Interval, Task
from mlembed.columns import Column, is_finite_number
from mlembed.errors import BundleError, first_line
from mlembed.tensors import MAX_TENSORS, Score, Tensor

__all__ = ["File", "Interval", "Manifest", "Task"]

SCHEMA = 1
MAX_FILES = 16
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_FILE_BYTES = 2**31 - 1  # what protocol buffers can hold
MAX_BUNDLE_BYTES = 2**32 - 2**21  # so that every bundle fits into one file, .mlb, of 4 GiB
MODEL, GOLDEN, REFERENCE = "model.onnx", "golden.json", "reference.json"
# Beside the manifest and not listed in it, as it signs the manifest.
SIGNATURE, MAX_SIGNATURE_BYTES = "bundle.sig.json", 256 * 1024
_UNLISTED = ("manifest.json", SIGNATURE)
_OWED = {MODEL: "model", GOLDEN: "golden"}
ROLES = ("model", "golden", "reference", "card", "evaluation", "proof")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# Windows opens a device under these names, whatever the folder and the suffix.
_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{port}{n}" for port in ("com", "lpt") for n in "123456789"
}
NAME_RULE = "[a-z0-9][a-z0-9._-]{0,63}, without a '.' at the end and no device of Windows"
_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TEXTS = ("name", "version", "created")
_OBJECTS = ("task", "transforms", "metrics", "training", "onnx", "runtime")
_LISTS = {"columns": dict, "files": dict, "features": str, "requires": str}
_TENSORS = ("inputs", "outputs", "score")  # written only where the graph takes tensors


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """One file of a bundle: its name, length in bytes, sha256 in hex and role."""

    path: str
    size: int
    sha256: str
    role: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        name: Name of the model.
        version: Semantic version, `major.minor.patch`.
        created: Time of packing, ISO 8601 in UTC.
        columns: Columns of the input row, in order; none where the graph takes tensors.
        transforms: Declared transforms by name, for people; the graph computes them.
        features: Names of the features the estimator sees, in order.
        task: What the score means.
        metrics: Held-out metrics by name.
        training: Where it came from: estimator, data digest, seed, library versions.
        onnx: IR version and operator sets of the graph.
        runtime: Oldest onnxruntime that can run it.
        files: Every other file of the bundle.
        requires: Abilities a host must have; a host refuses what it does not know.
        schema: Version of this format.
        inputs: Tensors the graph takes; none where it takes a row of columns.
        outputs: Tensors it gives.
        score: Which number of the outputs is the score, or None where there is none.
    """

    name: str
    version: str
    created: str
    columns: tuple[Column, ...]
    transforms: dict[str, Any]
    features: tuple[str, ...]
    task: Task
    metrics: dict[str, float]
    training: dict[str, Any]
    onnx: dict[str, Any]
    runtime: dict[str, str]
    files: tuple[File, ...] = ()
    requires: tuple[str, ...] = ()
    schema: int = SCHEMA
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    score: Score | None = None

    @property
    def title(self) -> str:
        """The bundle as people name it: `name@version`."""
        return f"{self.name}@{self.version}"

    def to_bytes(self) -> bytes:
        """Write the manifest; equal manifests give equal bytes."""
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        data["columns"] = [column.to_json() for column in self.columns]
        data["task"] = self.task.to_json()
        data["files"] = [dataclasses.asdict(file) for file in self.files]
        data["inputs"] = [tensor.to_json() for tensor in self.inputs]
        data["outputs"] = [tensor.to_json() for tensor in self.outputs]
        data["score"] = None if self.score is None else dataclasses.asdict(self.score)
        absent = () if self.inputs else _TENSORS
        return strictjson.dumps({key: data[key] for key in data if key not in absent})

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read a manifest, refusing all that is not exactly as this version writes it.

        Raises:
            BundleError: Naming what is wrong.
        """
        raw = strictjson.loads(data, "manifest.json", MAX_MANIFEST_BYTES)
        schema = raw.get("schema") if isinstance(raw, dict) else None
        if type(schema) is not int or schema != SCHEMA:
            raise BundleError(
                f"manifest.json: expected schema {SCHEMA}; a newer bundle needs a newer mlembed"
            )
        absent = set() if "inputs" in raw else {*_TENSORS}
        known = {field.name for field in dataclasses.fields(cls)} - absent
        if set(raw) != known:
            raise BundleError(
                f"manifest.json: keys differ by {str(sorted(set(raw) ^ known))[:200]}"
            )
        problems = [text for text, good in _shape(raw).items() if not good]
        if b"\\u0000" in data and any("\0" in text for text in strictjson.texts(raw)):
            problems.append("a text holds NUL; clean the data that it came from")
        if problems:
            raise BundleError(f"manifest.json: {'; '.join(problems)}")
        try:
            values = {
                **raw,
                "columns": tuple(Column.from_json(column) for column in raw["columns"]),
                "features": tuple(raw["features"]),
                "task": Task.from_json(raw["task"]),
                "files": tuple(File(**file) for file in raw["files"]),
                "requires": tuple(raw["requires"]),
            }
            if "inputs" in raw:
                values["inputs"] = tuple(map(Tensor.from_json, raw["inputs"]))
                values["outputs"] = tuple(map(Tensor.from_json, raw["outputs"]))
                values["score"] = None if raw["score"] is None else Score(**raw["score"])
            manifest = cls(**values)
        except TypeError as error:
            raise BundleError(f"manifest.json is malformed: {first_line(error)}") from error
        manifest.check()
        return manifest

    def check(self) -> None:
        """Refuse names, versions and file lists that no registry may hold.

        Raises:
            BundleError: Listing every problem.
        """
        columns = [column.name for column in self.columns]
        checks = {
            f"it requires {str([*self.requires])[:200]}, unknown to this mlembed": not self.requires,
            f"the name must be {NAME_RULE}": is_name(self.name),
            "the version must be major.minor.patch": is_version(self.version),
            "created must be a time in UTC, as 2026-01-02T03:04:05+00:00": is_moment(self.created),
            "columns must be there, or inputs, and not both": bool(columns) != bool(self.inputs),
            "columns must be there, and each once": len(set(columns)) == len(columns),
            **_tensor_checks(self),
            "an interval and classes need a graph of columns": not self.inputs
            or not (self.task.interval or self.task.classes),
        }
        problems = [text for text, good in checks.items() if not good] + self.task.problems()
        problems += _file_problems(self.files)
        if problems:
            raise BundleError(f"manifest.json: {'; '.join(problems)}")


def is_name(text: object) -> bool:
    """Tell whether *text* may name a model, an alias or a file, on every operating system."""
    return (
        isinstance(text, str)
        and _NAME.fullmatch(text) is not None
        and not text.endswith(".")
        and text.split(".")[0] not in _DEVICES
    )


def is_version(text: object) -> bool:
    """Tell whether *text* is a `major.minor.patch` version."""
    return isinstance(text, str) and _VERSION.fullmatch(text) is not None


def version_key(version: str) -> tuple[int, int, int]:
    """Return what sorts a `major.minor.patch` *version* among others."""
    major, minor, patch = version.split(".")
    return int(major), int(minor), int(patch)


def is_moment(text: object) -> bool:
    """Tell whether *text* is a time in UTC to the second or finer, in ISO 8601's usual form."""
    match = _MOMENT.fullmatch(text) if isinstance(text, str) else None
    try:
        return match is not None and bool(dt.datetime.fromisoformat(match[0]))
    except ValueError:
        return False


def is_sha256(text: object) -> bool:
    """Tell whether *text* is a sha256 in lower-case hex."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def _shape(raw: dict[str, Any]) -> dict[str, bool]:
    """Return what the JSON types of a manifest must be, and whether they are."""
    shape = {f"{key} must be an object": isinstance(raw[key], dict) for key in _OBJECTS}
    shape |= {f"{key} must be text": isinstance(raw[key], str) for key in _TEXTS}
    lists = _LISTS | (dict.fromkeys(_TENSORS[:2], dict) if "inputs" in raw else {})
    for key, kind in lists.items():
        good = isinstance(raw[key], list) and all(isinstance(item, kind) for item in raw[key])
        shape[f"{key} must be a list of {'objects' if kind is dict else 'texts'}"] = good
    shape["score must be an object or null"] = isinstance(raw.get("score"), dict | None)
    metrics = raw["metrics"].values() if isinstance(raw["metrics"], dict) else ()
    shape["metrics must be numbers"] = all(map(is_finite_number, metrics))
    return shape


def _tensor_checks(manifest: Manifest) -> dict[str, bool]:
    """Return what must hold of a graph's tensors, and whether it does."""
    if not (manifest.inputs or manifest.outputs or manifest.score):
        return {}
    outputs = {tensor.name: tensor for tensor in manifest.outputs}
    score = manifest.score
    scored = outputs.get(score.output) if score is not None else None
    return {
        f"{side} must be 1 to {MAX_TENSORS} tensors, each once": 1 <= len(tensors) <= MAX_TENSORS
        and len({tensor.name for tensor in tensors}) == len(tensors)
        for side, tensors in (("inputs", manifest.inputs), ("outputs", manifest.outputs))
    } | {
        "the score must be a number of an output": score is None
        or (scored is not None and scored.dtype != "string")
    }


def _file_problems(files: tuple[File, ...]) -> list[str]:
    problems = []
    named = {f.path: f for f in files if is_name(f.path) and f.path not in _UNLISTED}
    if not 1 <= len(files) < MAX_FILES or len(named) != len(files):
        problems.append(f"files must be 1 to {MAX_FILES - 1}, each once, named {NAME_RULE}")
    for path, file in named.items():
        if file.role not in ROLES:
            problems.append(f"{path}: unknown role")
        if type(file.size) is not int or file.size < 0 or not is_sha256(file.sha256):
            problems.append(f"{path}: size or sha256 is malformed")
        elif file.size > MAX_FILE_BYTES:
            problems.append(f"{path}: it is larger than {MAX_FILE_BYTES} bytes, the most of ONNX")
    if not problems and sum(file.size for file in files) > MAX_BUNDLE_BYTES:
        problems.append(f"its files are larger than {MAX_BUNDLE_BYTES} bytes together")
    if not all(path in named and named[path].role == role for path, role in _OWED.items()):
        problems.append(f"{' and '.join(_OWED)} are owed")
    return problems
