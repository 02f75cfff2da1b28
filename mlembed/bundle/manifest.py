"""The manifest: what a bundle holds, how its input is made and what its score means.

A bundle's id is the sha256 of the manifest's bytes, and the manifest names the sha256 of every
other file, so one digest stands for the whole.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Literal

from mlembed.bundle import strictjson
from mlembed.columns import Column
from mlembed.errors import BundleError, DeclarationError

SCHEMA = 1
MAX_FILES = 16
MAX_MANIFEST_BYTES = 1024 * 1024
MODEL, GOLDEN, REFERENCE = "model.onnx", "golden.json", "reference.json"
ROLES = ("model", "golden", "reference", "card", "evaluation", "proof")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the score means.

    Attributes:
        kind: `binary` (score is the probability of the positive class) or `regression`.
        label: Name of the label's column in the training data.
        positive: The positive class in words; empty for regression.
        threshold: Score from which the label is positive.
        abstain: Closed band of scores in which the model gives no label, or None.
        unit: Unit of a regression's score.
    """

    kind: Literal["binary", "regression"]
    label: str
    positive: str = ""
    threshold: float = 0.5
    abstain: tuple[float, float] | None = None
    unit: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a bundle: its name, length in bytes, sha256 in hex and role."""

    path: str
    size: int
    sha256: str
    role: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        name: Name of the model.
        version: Semantic version, `major.minor.patch`.
        created: Time of packing, ISO 8601 in UTC.
        columns: Columns of the input row, in order.
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

    @property
    def title(self) -> str:
        """The bundle as people name it: `name@version`."""
        return f"{self.name}@{self.version}"

    def to_bytes(self) -> bytes:
        """Write the manifest; equal manifests give equal bytes."""
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        data["columns"] = [column.to_json() for column in self.columns]
        data["task"] = dataclasses.asdict(self.task)
        data["files"] = [dataclasses.asdict(file) for file in self.files]
        return strictjson.dumps(data)

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read a manifest, refusing all that is not exactly as this version writes it.

        Raises:
            BundleError: Naming what is wrong.
        """
        raw = strictjson.loads(data, "manifest.json", MAX_MANIFEST_BYTES)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            raise BundleError(
                f"manifest.json: expected schema {SCHEMA}; a newer bundle needs a newer mlembed"
            )
        known = {field.name for field in dataclasses.fields(cls)}
        if set(raw) != known:
            raise BundleError(f"manifest.json: keys differ by {sorted(set(raw) ^ known)}")
        try:
            task = {**raw["task"]}
            if task.get("abstain") is not None:
                task["abstain"] = tuple(task["abstain"])
            values = {
                **raw,
                "columns": tuple(Column.from_json(column) for column in raw["columns"]),
                "features": tuple(raw["features"]),
                "task": Task(**task),
                "files": tuple(File(**file) for file in raw["files"]),
                "requires": tuple(raw["requires"]),
            }
            manifest = cls(**values)
        except (TypeError, KeyError, DeclarationError) as error:
            raise BundleError(f"manifest.json is malformed: {error}") from error
        manifest.check()
        return manifest

    def check(self) -> None:
        """Refuse names, versions and file lists that no registry may hold.

        Raises:
            BundleError: Listing every problem.
        """
        problems = []
        if self.requires:
            problems.append(f"it requires {list(self.requires)}, unknown to this mlembed")
        if not _NAME.fullmatch(self.name):
            problems.append("the name must match [a-z0-9][a-z0-9._-]{0,63}")
        if not is_version(self.version):
            problems.append("the version must be major.minor.patch")
        if not self.columns or len({c.name for c in self.columns}) != len(self.columns):
            problems.append("columns must be there, and each once")
        if self.task.kind not in ("binary", "regression"):
            problems.append("the task is neither binary nor regression")
        problems += _file_problems(self.files)
        if problems:
            raise BundleError(f"manifest.json: {'; '.join(problems)}")


def is_name(text: str) -> bool:
    """Tell whether *text* may name a model or an alias."""
    return _NAME.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Tell whether *text* is a `major.minor.patch` version."""
    return isinstance(text, str) and _VERSION.fullmatch(text) is not None


def is_sha256(text: object) -> bool:
    """Tell whether *text* is a sha256 in lower-case hex."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def _file_problems(files: tuple[File, ...]) -> list[str]:
    problems = []
    if not 1 <= len(files) < MAX_FILES or len({file.path for file in files}) != len(files):
        problems.append(f"files must be 1 to {MAX_FILES - 1}, each once")
    for file in files:
        if not is_name(file.path) or file.path == "manifest.json":
            problems.append("a file name must match [a-z0-9][a-z0-9._-]{0,63}")
        if file.role not in ROLES:
            problems.append(f"{file.path}: unknown role")
        if not (isinstance(file.size, int) and file.size >= 0 and is_sha256(file.sha256)):
            problems.append(f"{file.path}: size or sha256 is malformed")
    roles = {file.role: file.path for file in files}
    if roles.get("model") != MODEL or roles.get("golden") != GOLDEN:
        problems.append(f"{MODEL} and {GOLDEN} are owed")
    return problems
