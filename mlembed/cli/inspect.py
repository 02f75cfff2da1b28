"""`mlembed inspect`: what a bundle takes, gives and is made of."""

from __future__ import annotations

import json
import math
import re
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.bundle.calls import read_calls
from mlembed.bundle.golden import read_golden
from mlembed.bundle.manifest import GOLDEN
from mlembed.bundle.single import SUFFIX, read_bundle
from mlembed.cli.options import JsonOption, RegistryOption, registry_of
from mlembed.cli.output import say, show_json, show_table
from mlembed.registry.pointer import parse_ref

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.calls import GoldenCalls
    from mlembed.bundle.golden import Golden
    from mlembed.bundle.manifest import Manifest, Task
    from mlembed.columns import Column

_MAX_NAMED = 6
_MAX_ROWS = 5
_MAX_CHARACTERS = 24
_MAX_DIGITS = 16
_MEGABYTE = 1_000_000
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", re.ASCII)
_STORY = (
    *("description", "estimator", "parameters", "producer", "source", "metric", "seed"),
    *("n_train", "n_test", "golden calls", "data_digest", "code", "by", "python", "libraries"),
)


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
        manifest = json.loads(bundle.manifest_bytes)
        show_json({**told, **manifest, "golden": bundle.json(GOLDEN)})
    else:
        _show(bundle, ref)


def find_bundle(ref: str, registry: str) -> Bundle:
    """Return the verified bundle that *ref* names: a reference, a directory or a single file."""
    if is_path(ref):
        return read_bundle(Path(ref))
    store = registry_of(registry)
    return store.fetch(store.resolve(parse_ref(ref)))


def is_path(ref: str) -> bool:
    """Tell whether *ref* names a directory or a single file, and not what a registry holds."""
    return (Path(ref) / "manifest.json").is_file() or "/" in ref or ref.endswith(SUFFIX)


def _show(bundle: Bundle, ref: str) -> None:
    manifest = bundle.manifest
    say(f"{manifest.title}\n")
    show_table(("", ""), _facts(bundle, ref))
    say("")
    if manifest.inputs:
        show_table(("input", "takes"), ((t.name, t.text) for t in manifest.inputs))
        say("")
        show_table(("output", "gives"), ((t.name, t.text) for t in manifest.outputs))
        say("")
        _show_calls(read_calls(bundle))
    else:
        head = ("column", "kind", "", "values", "unit or meaning")
        show_table(
            head, ((c.name, c.kind, _notes(c), _values(c), c.unit) for c in manifest.columns)
        )
        say("")
        show_table(("", ""), _features(manifest))
        say("")
        show_table(("metric", "held-out"), manifest.metrics.items())
        say("")
        _show_golden(read_golden(bundle), manifest)
    say("")
    show_table(("made from", ""), _origin(manifest.training))
    say("")
    files = ((f.path, f.role, f.size, f.sha256[:_MAX_DIGITS]) for f in manifest.files)
    show_table(("file", "role", "bytes", f"first {_MAX_DIGITS} digits of its sha256"), files)


def _facts(bundle: Bundle, ref: str) -> Iterator[tuple[str, str]]:
    """Yield what is true of the bundle as a whole."""
    manifest = bundle.manifest
    sizes = [*(f.size for f in manifest.files), len(bundle.manifest_bytes), len(bundle.signature)]
    yield "id", bundle.id
    yield "created", manifest.created
    yield "meaning", _meaning(manifest)
    if (interval := manifest.task.interval) is not None:
        ends = f"from {interval.below:g} below the score to {interval.above:g} above it"
        yield "interval", f"{ends} for {interval.level:.4g} of the truths"
    yield "needs", _plain(manifest.runtime)
    yield "graph", _plain(manifest.onnx)
    yield "size", f"{_size(sum(sizes))} in {len([*filter(None, sizes)])} files"
    signed = f"signed, not verified here: mlembed verify {ref}"
    yield "signature", signed if bundle.signature else "not signed"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= _MEGABYTE else f"{n_bytes / 1e3:.1f} kB"


def _meaning(manifest: Manifest) -> str:
    task: Task = manifest.task
    if manifest.inputs:
        return f"the score is {task.label}" if manifest.score else "it has no score"
    if task.kind == "regression":
        return f"the score is {task.label}{f' in {task.unit}' if task.unit else ''}"
    band = f", no label in {list(task.abstain)}" if task.abstain else ""
    if task.kind == "multiclass":
        named = _named(task.classes)
        return f"the score is the probability of the most probable {task.label} of {named}{band}"
    return (
        f"the score is the probability that {task.label} is {task.positive}; "
        f"positive from {task.threshold:g}{band}"
    )


def _notes(column: Column) -> str:
    notes = ["may be missing"] if column.nullable else []
    return ", ".join(notes + ([f"logged as {column.log}"] if column.log != "raw" else []))


def _values(column: Column) -> str:
    if column.kind != "category":
        return column.range_text
    if column.unknown_code is None:
        others = "refused"
    else:
        others = "missing" if math.isnan(column.unknown_code) else "rare"
    return f"{_named(column.vocabulary)}; others are {others}"


def _named(texts: tuple[str, ...]) -> str:
    more = len(texts) - _MAX_NAMED
    return f"{', '.join(texts[:_MAX_NAMED])}{f', {more} more' if more > 0 else ''}"


def _features(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield the names the estimator sees, in order, and how those that are no column are made."""
    yield "features", ", ".join(manifest.features)
    for name, declared in manifest.transforms.items():
        yield name, _formula(declared)


def _formula(declared: Any) -> str:
    """Write a declared transform as a call; what it is, whatever stands there."""
    if not isinstance(declared, dict) or set(declared) != {"op", "inputs", "params"}:
        return _plain(declared)
    inputs = declared["inputs"] if isinstance(declared["inputs"], list) else [declared["inputs"]]
    params = [_plain(declared["params"])] if declared["params"] else []
    return f"{_plain(declared['op'])}({', '.join([*map(_formula, inputs), *params])})"


def _show_golden(golden: Golden, manifest: Manifest) -> None:
    """Show the first rows that are replayed before every start, one below the other's name."""
    records, n_rows = golden.records[:_MAX_ROWS], len(golden.scores)
    names = [column.name for column in manifest.columns]
    rows = [(name, *(_short(record.get(name)) for record in records)) for name in names]
    rows += _golden_scores(golden, manifest.task.classes)
    head = [f"{number}" for number in range(1, len(records) + 1)]
    show_table((f"golden row of {n_rows}", *head), rows)


def _golden_scores(golden: Golden, classes: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the scores of the first rows; of several classes one line each, and the label."""
    scores = golden.scores[:_MAX_ROWS]
    if not classes:
        yield ("score", *(f"{score:.6g}" for score in scores))
        return
    rows = [row for row in scores if isinstance(row, tuple)]
    for place, name in enumerate(classes[:_MAX_NAMED]):
        yield (f"p({_short(name)})", *(f"{row[place]:.6g}" for row in rows))
    yield ("most probable", *(_short(classes[row.index(max(row))]) for row in rows))


def _show_calls(golden: GoldenCalls) -> None:
    """Show the shapes of the first calls that are replayed before every start."""
    rows = [
        (str(number), *(", ".join(starmap(_shape, side.items())) for side in call))
        for number, call in enumerate(golden.calls[:_MAX_ROWS], 1)
    ]
    show_table((f"golden call of {len(golden.calls)}", "takes", "gives"), rows)


def _shape(name: str, array: NDArray[Any]) -> str:
    return f"{name} {'string' if array.dtype == object else array.dtype.name}{list(array.shape)}"


def _short(value: Any) -> str:
    if value is None:
        return "missing"
    text = f"{value:.6g}" if isinstance(value, float) else _plain(value)
    if _MOMENT.fullmatch(text):
        text = f"{text[:10]} {text[11:19]}"
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


def _origin(training: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is known of how the model was made, the known first, in the order of a story."""
    known = {name: place for place, name in enumerate(_STORY)}
    for name in sorted(training, key=lambda name: (known.get(name, len(known)), name)):
        if training[name] not in ("", None, {}, []):
            yield name.replace("_", " "), _plain(training[name])


def _plain(value: Any) -> str:
    """Write JSON for people: names with their values, without braces."""
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    return value if isinstance(value, str) else json.dumps(value)
