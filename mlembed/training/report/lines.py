"""Put what the bundle tells into lines of text, for the tables of the page and of the card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed.training.report import naming, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlembed.bundle.manifest import Manifest
    from mlembed.columns import Column

PROOF_HEAD = ("rows of", "rows", "largest error", "labels apart", "ties at the threshold")
SIDE_HEAD = ("rows held for", "rows", "positives", "from", "until")
_MAX_NAMED = 8
_SEVERITY = {"failed": 0, "warning": 1, "ok": 2}
_FIRST = ("estimator", "parameters", "metric", "seed", "n_train", "n_test", "data_digest", "code")


def inputs(manifest: Manifest) -> list[tuple[str, str, str, str]]:
    """Return name, kind, values and meaning of each column or tensor of the input."""
    return [
        *map(_column, manifest.columns),
        *((tensor.name, tensor.text, "", "") for tensor in manifest.inputs),
    ]


def origin(manifest: Manifest, evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return every fact of where the model comes from."""
    told = {**manifest.training, **evaluation.get("reproduce", {})}
    told.pop("command", None)
    told.pop("description", None)
    names = [*(name for name in _FIRST if name in told), *(n for n in told if n not in _FIRST)]
    return [
        ("made", numbers.moment(manifest.created)),
        *((name.replace("_", " "), numbers.cell(told[name])) for name in names),
        ("needs", ", ".join(f"{name} {need}" for name, need in manifest.runtime.items())),
    ]


def command(evaluation: Mapping[str, Any]) -> str:
    """Return the command that makes the model again; nothing where it is not known."""
    return str(evaluation.get("reproduce", {}).get("command", ""))


def proof_groups(proof: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return each group of the proof in the order of `PROOF_HEAD`, the largest error first."""
    groups = sorted(proof.get("groups", {}).items(), key=lambda item: -item[1]["max_abs_error"])
    return [
        (
            name.replace("_", " "),
            numbers.count(group["n_rows"]),
            numbers.error(group["max_abs_error"]),
            numbers.count(group.get("label_disagreements")),
            numbers.count(group.get("threshold_ties")),
        )
        for name, group in groups
    ]


def sides(evaluation: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return each side of the split in the order of `SIDE_HEAD`."""
    return [*map(side, evaluation.get("folds", {}).get("sides", ()))]


def side(told: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one side of the split in the order of `SIDE_HEAD`."""
    return (
        naming.side(told["side"]),
        numbers.count(told.get("n")),
        numbers.percent(told.get("positives")),
        numbers.moment(told.get("from")),
        numbers.moment(told.get("until")),
    )


def unmeasured(evaluation: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the slices that could not be measured, by the reason why."""
    found: dict[str, list[str]] = {}
    for item in evaluation.get("slices", ()):
        if item.get("value_of_metric") is None:
            found.setdefault(item.get("reason", "too few rows"), []).append(slice_name(item))
    return found


def slice_name(told: Mapping[str, Any]) -> str:
    """Name the rows of a slice."""
    return f"{told['column']} = {told['value']}"


def classes(evaluation: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of each class, and how well it is found."""
    return [
        (
            str(item["class"]),
            numbers.count(item["n"]),
            *(numbers.number(item[key]) for key in ("precision", "recall", "f1")),
        )
        for item in evaluation.get("classes", ())
    ]


def taken(evaluation: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the confusion matrix: its head, and a row for each true class."""
    matrix = evaluation.get("confusion_matrix", {"classes": (), "counts": ()})
    names = [str(name) for name in matrix["classes"]]
    rows = zip(names, matrix["counts"], strict=True)
    return ("truth", *names), [(name, *map(numbers.count, counts)) for name, counts in rows]


def joins(evaluation: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return what came of each join: the table, its rows, and the rows that found one."""
    keys = ("n_right", "n_right_unusable", "n_matched", "n_without_key")
    return [
        (str(join["title"]), *(numbers.count(join[key]) for key in keys))
        for join in evaluation.get("data", {}).get("joins", ())
    ]


def rejects(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each reason to reject a row with the number of rows, the most frequent first."""
    reasons = evaluation.get("data", {}).get("reasons", {})
    return [(why, numbers.count(n)) for why, n in sorted(reasons.items(), key=lambda i: -i[1])]


def checks(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the checks of the data, failed ones first."""
    found = evaluation.get("data", {}).get("checks", ())
    return sorted(found, key=lambda item: _SEVERITY.get(item["status"], 0))


def parameters(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return name and value of each parameter that tuning found."""
    found = evaluation.get("tuning", {}).get("parameters", {})
    return ((name, numbers.cell(value)) for name, value in found.items())


def _column(column: Column) -> tuple[str, str, str, str]:
    values = column.range_text
    if column.vocabulary:
        more = len(column.vocabulary) - _MAX_NAMED
        values = ", ".join(column.vocabulary[:_MAX_NAMED]) + (f", {more} more" if more > 0 else "")
    kind = f"{column.kind}, may be missing" if column.nullable else column.kind
    return column.name, kind, values, column.unit
