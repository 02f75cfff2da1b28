"""`mlembed inspect`: what a bundle takes, gives and is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.bundle.bundle import read_directory
from mlembed.cli.options import JsonOption, RegistryOption, registry_of
from mlembed.cli.output import say, show_json, show_table
from mlembed.registry.pointer import parse_ref

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.manifest import Manifest, Task
    from mlembed.columns import Column

_MAX_NAMED = 6


def inspect(
    ref: Annotated[str, typer.Argument(help="name@alias, name@version or a bundle directory.")],
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show a model's input, meaning, quality and origin, after its bytes are verified."""
    bundle = find_bundle(ref, registry)
    if as_json:
        show_json({"bundle_id": bundle.id, **json.loads(bundle.manifest_bytes)})
    else:
        _show(bundle)


def find_bundle(ref: str, registry: str) -> Bundle:
    """Return the verified bundle that *ref* names, a reference or a directory."""
    if (Path(ref) / "manifest.json").is_file() or "/" in ref:
        return read_directory(Path(ref))
    store = registry_of(registry)
    return store.fetch(store.resolve(parse_ref(ref)))


def _show(bundle: Bundle) -> None:
    manifest = bundle.manifest
    say(f"{manifest.title}  {bundle.id}")
    say(f"made {manifest.created}; {_meaning(manifest)}\n")
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
    return _show_origin(manifest)


def _show_tensors(manifest: Manifest) -> None:
    show_table(("input", "takes"), ((t.name, t.text) for t in manifest.inputs))
    say("")
    show_table(("output", "gives"), ((t.name, t.text) for t in manifest.outputs))
    say("")


def _show_origin(manifest: Manifest) -> None:
    show_table(("origin", ""), ((name, _flat(v)) for name, v in manifest.training.items()))
    say("")
    show_table(("file", "bytes", "sha256"), ((f.path, f.size, f.sha256) for f in manifest.files))


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
