"""Write the model card: what a model is for, what it was made of and how good it is.

Plain Markdown, so that it reads in a registry, in a pull request and on paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlembed.bundle.manifest import Manifest
    from mlembed.columns import Column
    from mlembed.training.proof import Proof
    from mlembed.training.trainer import Trainer

_MAX_NAMED = 8


def write_card(
    trainer: Trainer, manifest: Manifest, evaluation: Mapping[str, Any], proof: Proof
) -> str:
    """Return the card as Markdown."""
    return "\n\n".join(
        [
            f"# {manifest.title}",
            _purpose(trainer, manifest),
            "## Measured on rows it was not trained on",
            _table(("metric", "value"), ((k, f"{v:.4f}") for k, v in manifest.metrics.items())),
            *_contest(evaluation["contest"]),
            *_confusion(evaluation),
            "## Input",
            _table(("column", "kind", "values", "meaning"), map(_column, manifest.columns)),
            "## Origin",
            _table(("fact", "value"), _origin(manifest)),
            "## Proof",
            _agreement(proof),
            "",
        ]
    )


def _agreement(proof: Proof) -> str:
    return (
        f"Graph and estimator agree on {proof.n_rows:,} rows to {proof.max_abs_error:.1e} "
        f"(allowed {proof.tolerance:.0e})."
    )


def _purpose(trainer: Trainer, manifest: Manifest) -> str:
    about = (trainer.record.__doc__ or "").strip().splitlines()
    task = manifest.task
    answer = (
        f"The score is the probability that `{task.label}` is {task.positive}; "
        f"the label is positive from {task.threshold:g}."
        if task.kind == "binary"
        else f"The score is `{task.label}`{f' in {task.unit}' if task.unit else ''}."
    )
    if task.abstain is not None:
        answer += f" Between {task.abstain[0]:g} and {task.abstain[1]:g} it gives no label."
    return "\n\n".join([*about[:1], answer])


def _contest(contest: Mapping[str, Any]) -> list[str]:
    rows = [(name, f"{value:.4f}") for name, value in contest["candidates"].items()]
    return [_table(("candidate", f"validation {contest['metric']}"), rows)] if rows else []


def _confusion(evaluation: Mapping[str, Any]) -> list[str]:
    if "confusion" not in evaluation:
        return []
    cells = evaluation["confusion"]
    rows = (
        ("is positive", f"{cells['true_positive']:,}", f"{cells['false_negative']:,}"),
        ("is negative", f"{cells['false_positive']:,}", f"{cells['true_negative']:,}"),
    )
    return [_table(("truth", "labelled positive", "labelled negative"), rows)]


def _column(column: Column) -> tuple[str, str, str, str]:
    values = column.range_text
    if column.vocabulary:
        more = len(column.vocabulary) - _MAX_NAMED
        values = ", ".join(column.vocabulary[:_MAX_NAMED]) + (f", {more} more" if more > 0 else "")
    kind = f"{column.kind}, may be missing" if column.nullable else column.kind
    return column.name, kind, values, column.unit


def _origin(manifest: Manifest) -> Iterable[tuple[str, str]]:
    yield "made", manifest.created
    for name, value in manifest.training.items():
        if isinstance(value, dict):
            yield name, ", ".join(f"{key} {item}" for key, item in value.items())
        else:
            yield name, str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
