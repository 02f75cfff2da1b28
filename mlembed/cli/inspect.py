"""`mlembed inspect`: what a bundle takes, gives and is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.bundle.golden import Golden, read_golden
from mlembed.bundle.manifest import GOLDEN
from mlembed.bundle.single import SUFFIX, read_bundle
from mlembed.cli.options import JsonOption, RegistryOption, registry_of
from mlembed.cli.output import say, show_json, show_table
from mlembed.registry.pointer import parse_ref

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.manifest import Manifest, Task
    from mlembed.columns import Column

_MAX_NAMED = 6
_MAX_ROWS = 5
_MAX_CHARACTERS = 24


def inspect(
    ref: Annotated[
        str, typer.Argument(help="name@alias, name@version, a bundle directory or .mlb file.")
    ],
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show a model's input, meaning, quality and origin, after its bytes are verified."""
    bundle = find_bundle(ref, registry)
    if as_json:
        told = {"bundle_id": bundle.id, "signed": bool(bundle.signature)}
        golden = json.loads(bundle.files[GOLDEN])
        show_json({**told, **json.loads(bundle.manifest_bytes), "golden": golden})
    else:
        _show(bundle)


def find_bundle(ref: str, registry: str) -> Bundle:
    """Return the verified bundle that *ref* names: a reference, a directory or a single file."""
    if is_path(ref):
        return read_bundle(Path(ref))
    store = registry_of(registry)
    return store.fetch(store.resolve(parse_ref(ref)))


def is_path(ref: str) -> bool:
    """Tell whether *ref* names a directory or a single file, and not what a registry holds."""
    return (Path(ref) / "manifest.json").is_file() or "/" in ref or ref.endswith(SUFFIX)


def _show(bundle: Bundle) -> None:
    manifest = bundle.manifest
    say(f"{manifest.title}  {bundle.id}")
    signed = "signed; by whom: mlembed verify" if bundle.signature else "not signed"
    say(f"made {manifest.created}; {_meaning(manifest)}; {signed}\n")
    if manifest.inputs:
        _show_tensors(manifest)
        return _show_origin(manifest)
    columns = [
        (c.name, c.kind, "may be missing" if c.nullable else "", _values(c), c.unit)
        for c in manifest.columns
    ]
    show_table(("column", "kind", "", "values", "meaning"), columns)
    say(f"\nfeatures: {', '.join(manifest.features)}\n")
    show_table(("metric", "held-out"), manifest.metrics.items())
    say("")
    _show_golden(read_golden(bundle))
    return _show_origin(manifest)


def _show_tensors(manifest: Manifest) -> None:
    show_table(("input", "takes"), ((t.name, t.text) for t in manifest.inputs))
    say("")
    show_table(("output", "gives"), ((t.name, t.text) for t in manifest.outputs))
    say("")


def _show_golden(golden: Golden) -> None:
    """Show the first records that are replayed before every start, with their scores."""
    shown = list(zip(golden.records, golden.scores, strict=True))[:_MAX_ROWS]
    rows = [
        (f"{score:.6g}", ", ".join(f"{name} {_short(value)}" for name, value in record.items()))
        for record, score in shown
    ]
    show_table(("score", f"golden row, {len(shown)} of {len(golden.scores)}"), rows)
    say("")


def _short(value: Any) -> str:
    if value is None:
        return "missing"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


def _show_origin(manifest: Manifest) -> None:
    show_table(("origin", ""), ((name, _flat(v)) for name, v in manifest.training.items()))
    say("")
    show_table(("file", "bytes", "sha256"), ((f.path, f.size, f.sha256) for f in manifest.files))
    say(f"\n{sum(file.size for file in manifest.files) / 1e6:.2f} MB in all")


def _meaning(manifest: Manifest) -> str:
    task: Task = manifest.task
    if manifest.inputs:
        return f"the score is {task.label}" if manifest.score else "it has no score"
    if task.kind == "regression":
        return f"the score is {task.label}{f' in {task.unit}' if task.unit else ''}"
    band = f", no label in {list(task.abstain)}" if task.abstain else ""
    return (
        f"the score is the probability that {task.label} is {task.positive}; "
        f"positive from {task.threshold:g}{band}"
    )


def _values(column: Column) -> str:
    if not column.vocabulary:
        return column.range_text
    more = len(column.vocabulary) - _MAX_NAMED
    named = ", ".join(column.vocabulary[:_MAX_NAMED])
    return f"{named}, {more} more" if more > 0 else named


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)
