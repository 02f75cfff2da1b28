"""Write the page of a model from its manifest, evaluation and proof, and nothing else.

So the page can be made again from any bundle, by whoever holds it. What a bundle does not tell has
no place on the page: a section without numbers is left out, and the limits say that they are
missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2

from mlembed.errors import BundleError
from mlembed.monitoring import page as pages
from mlembed.monitoring import wording
from mlembed.training.report import columns, comparing, lines, naming, numbers, quality, rows
from mlembed.training.report.limits import limits
from mlembed.training.report.loading import loading
from mlembed.training.report.summary import facts, gate_rows, verdict
from mlembed.training.report.summary import metrics as metric_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlembed.bundle.manifest import Manifest

_HERE = Path(__file__).parent
_WRONG = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Section(NamedTuple):
    """A part of the page: its anchor and its title."""

    anchor: str
    title: str

    @property
    def template(self) -> str:
        """Name of the template that draws it."""
        return f"{self.anchor}.html.jinja"


def write_report(
    manifest: Manifest, evaluation: Mapping[str, Any], proof: Mapping[str, Any]
) -> str:
    """Return the report as one HTML page without scripts, that loads nothing.

    Args:
        manifest: What the bundle says of itself.
        evaluation: Its evaluation.json; empty where it has none.
        proof: Its proof.json; empty where it has none.

    Raises:
        BundleError: If evaluation or proof are not as mlembed writes them.
    """
    style = pages.STYLE + (_HERE / "page.css").read_text("utf-8")
    try:
        found = {
            "manifest": manifest,
            "evaluation": evaluation,
            "proof": proof,
            **_charts(manifest, evaluation),
            **_lines(manifest, evaluation, proof),
        }
        template = pages.environment(_HERE).get_template("page.html.jinja")
        return template.render(
            **found,
            sections=[*_sections(found)],
            words=numbers,
            naming=naming,
            rows=rows,
            duration=wording.duration,
            style=style,
            policy=pages.policy(style),
        )
    except (*_WRONG, jinja2.UndefinedError) as error:
        raise BundleError(
            f"{manifest.title}: evaluation.json or proof.json is not as mlembed writes it "
            f"({type(error).__name__}); train or pack the model again"
        ) from error


def _charts(manifest: Manifest, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    worst, others = comparing.slice_rows(evaluation)
    return {
        "verdict": verdict(manifest, evaluation),
        "facts": facts(manifest, evaluation),
        "metrics": metric_rows(manifest, evaluation),
        "gates": gate_rows(evaluation),
        "champion": comparing.champion_rows(evaluation),
        "contest": comparing.contest_rows(evaluation),
        "tuning": comparing.tuning_plot(evaluation),
        "quality": quality.quality_plots(manifest, evaluation),
        "worst": worst,
        "others": others,
        "importance": comparing.importance_rows(evaluation),
        "dependence": columns.dependence_charts(evaluation),
        "folds": comparing.fold_rows(evaluation),
        "summaries": columns.summaries(evaluation),
    }


def _lines(
    manifest: Manifest, evaluation: Mapping[str, Any], proof: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "proof_head": lines.PROOF_HEAD,
        "proof_lines": lines.proof_groups(proof),
        "parameters": [*lines.parameters(evaluation)],
        "sides": [side[:3] for side in lines.sides(evaluation)],
        "unmeasured": lines.unmeasured(evaluation),
        "rejects": lines.rejects(evaluation),
        "classes": lines.classes(evaluation),
        "taken": lines.taken(evaluation),
        "joins": lines.joins(evaluation),
        "checks": lines.checks(evaluation),
        "inputs": lines.inputs(manifest),
        "origin": lines.origin(manifest, evaluation),
        "command": lines.command(evaluation),
        "limits": limits(manifest, evaluation),
        "loading": loading(manifest),
    }


def _sections(found: Mapping[str, Any]) -> Iterator[Section]:
    """Name the sections that have something to show."""
    evaluation, proof = found["evaluation"], found["proof"]
    data = evaluation.get("data", {})
    parts = (
        ("gates", "Gates", found["gates"]),
        ("metrics", "Metrics", found["metrics"]),
        ("champion", "Champion and challenger", evaluation.get("champion")),
        ("contest", "Candidates", found["contest"] or found["tuning"]),
        (
            "quality",
            "Scores and truth",
            found["quality"] or evaluation.get("confusion") or found["classes"],
        ),
        ("slices", "Slices", evaluation.get("slices")),
        ("importance", "Columns that matter", found["importance"] or found["dependence"]),
        ("folds", "Split", evaluation.get("folds")),
        ("leakage", "Leakage", "leakage" in evaluation),
        ("data", "Data", data),
        ("proof", "Proof", proof.get("groups")),
        ("limits", "Limits", found["limits"]),
        ("origin", "Origin and use", found["manifest"]),
    )
    return (Section(anchor, title) for anchor, title, shown in parts if shown)
