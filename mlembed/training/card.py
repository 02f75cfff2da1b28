"""Write the model card: what a model is for, what it was made of, how good it is and where not.

Plain Markdown, so that it reads in a registry, in a pull request and on paper. It is made from the
manifest, the evaluation and the proof alone, so it can be made again from any bundle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from mlembed.training.report import lines, naming, numbers, summary
from mlembed.training.report.limits import limits
from mlembed.training.report.loading import loading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mlembed.bundle.manifest import Manifest
    from mlembed.training.proof import Proof
    from mlembed.training.trainer import Trainer

_WORST = 5
_FROM_BUNDLE = 3
_ODD = {"warning": "warned", "failed": "failed"}


@overload
def write_card(
    manifest: Manifest, evaluation: Mapping[str, Any], proof: Mapping[str, Any], /
) -> str: ...
@overload
def write_card(
    trainer: Trainer, manifest: Manifest, evaluation: Mapping[str, Any], proof: Proof, /
) -> str: ...
def write_card(*told: Any) -> str:
    """Return the card as Markdown.

    Args:
        told: The manifest; its evaluation.json, empty where it has none; its proof.json, likewise.
            With a trainer before them its record describes the model, and the proof is a `Proof`.
    """
    if len(told) > _FROM_BUNDLE:
        trainer, manifest, evaluation, proof = told
        about = (trainer.record.__doc__ or "").strip()
        return _card(manifest, evaluation, proof.to_json(), about)
    manifest, evaluation, proof = told
    return _card(manifest, evaluation, proof, str(manifest.training.get("description", "")))


def _card(
    manifest: Manifest, evaluation: Mapping[str, Any], proof: Mapping[str, Any], about: str
) -> str:
    parts = [
        f"# {_text(manifest.title)}",
        *(_text(line) for line in about.splitlines()[:1]),
        _text(naming.meaning(manifest.task, "`")),
        _text(summary.verdict(manifest, evaluation).text),
        "## Load it",
        _code(loading(manifest), "python"),
        "## Input",
        _table(("column", "kind", "values", "meaning"), lines.inputs(manifest)),
        *_section("Data", _data(evaluation)),
        *_section("Measured on rows it was not trained on", _quality(manifest, evaluation)),
        *_section("Slices, worst first", _slices(evaluation)),
        *_section("Threshold", _threshold(manifest, evaluation)),
        "## Limits",
        "\n".join(f"- {_text(text)}" for text in limits(manifest, evaluation)),
        *_section("Proof", _proof(proof)),
        "## Origin",
        _table(("fact", "value"), lines.origin(manifest, evaluation)),
        *_section("Make it again", _again(evaluation)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _data(evaluation: Mapping[str, Any]) -> Iterator[str]:
    data = evaluation.get("data", {})
    if data.get("n_read"):
        rejected = data.get("n_rejected")
        more = "" if rejected is None else f", {numbers.count(rejected)} of them rejected"
        yield f"{numbers.count(data['n_read'])} rows read{more}."
    rejects = lines.rejects(evaluation)
    if rejects:
        yield _table(("why rows were rejected", "rows"), rejects)
    folds = evaluation.get("folds", {})
    if folds.get("sides"):
        yield f"Split: {_text(str(folds.get('kind', 'not told')))}."
        yield _table(lines.SIDE_HEAD, lines.sides(evaluation))
    odd = [item for item in lines.checks(evaluation) if item["status"] in _ODD]
    if odd:
        yield _table(
            ("check", "column", "result", "found", "allowed"),
            (
                (
                    *(str(item["check"]), str(item.get("column") or ""), _ODD[item["status"]]),
                    *(numbers.cell(item.get("found")), numbers.cell(item.get("allowed"))),
                )
                for item in odd
            ),
        )
    elif data.get("checks"):
        yield f"All checks of the data passed ({len(data['checks'])})."


def _quality(manifest: Manifest, evaluation: Mapping[str, Any]) -> Iterator[str]:
    found = summary.metrics(manifest, evaluation)
    if found:
        yield _table(("metric", "value", "95% interval", "better"), found)
    contest = evaluation.get("contest", {})
    if contest.get("candidates"):
        roles = {contest.get(role): role for role in ("baseline", "linear", "chosen")}
        yield "Candidates, on validation rows of the training data:"
        yield _table(
            ("candidate", naming.metric(contest["metric"]), ""),
            (
                (name, numbers.number(value), roles.get(name, ""))
                for name, value in contest["candidates"].items()
            ),
        )
    yield from _champion(evaluation)
    gates = summary.gate_rows(evaluation)
    if gates:
        yield _table(
            ("gate", "asked", "found", ""),
            ((g.name, g.asked, g.found, "passed" if g.passed else "**failed**") for g in gates),
        )
    yield from _confusion(evaluation)


def _champion(evaluation: Mapping[str, Any]) -> Iterator[str]:
    found = evaluation.get("champion")
    if not found:
        return
    ends = numbers.interval(found.get("low"), found.get("high"))
    yield (
        f"Against {_text(found['title'])} on the same rows: {naming.metric(found['metric'])} "
        f"{numbers.number(found.get('challenger'))} after {numbers.number(found.get('champion'))}, a "
        f"gain of {numbers.signed(found.get('difference'))}"
        f"{f' (95% interval {ends})' if ends else ''}."
    )


def _confusion(evaluation: Mapping[str, Any]) -> Iterator[str]:
    cells = evaluation.get("confusion", {})
    if "true_positive" in cells:
        yield _table(
            ("truth", "labelled positive", "labelled negative"),
            (
                ("is positive", f"{cells['true_positive']:,}", f"{cells['false_negative']:,}"),
                ("is negative", f"{cells['false_positive']:,}", f"{cells['true_negative']:,}"),
            ),
        )


def _slices(evaluation: Mapping[str, Any]) -> Iterator[str]:
    judged = [i for i in evaluation.get("slices", ()) if i.get("value_of_metric") is not None]
    if judged:
        metric = naming.metric(evaluation.get("metric", "metric"))
        yield _table(
            ("column", "value", "rows", metric, "95% interval", "difference"),
            (
                (
                    *(str(item["column"]), str(item["value"]), numbers.count(item["n"])),
                    numbers.number(item["value_of_metric"]),
                    numbers.interval(item.get("low"), item.get("high")) or numbers.NONE,
                    numbers.signed(item.get("difference")),
                )
                for item in judged[:_WORST]
            ),
        )


def _threshold(manifest: Manifest, evaluation: Mapping[str, Any]) -> Iterator[str]:
    found = evaluation.get("threshold")
    if found:
        detail = found.get("detail")
        yield (
            f"The label is positive from {numbers.number(found['value'])}: "
            f"{naming.rule(found['rule'])}{f' ({_text(numbers.cell(detail))})' if detail else ''}."
        )
    elif manifest.task.kind == "binary" and evaluation.get("n"):
        yield f"The label is positive from {numbers.number(manifest.task.threshold)}."


def _proof(proof: Mapping[str, Any]) -> Iterator[str]:
    if proof.get("groups"):
        verb = "agree" if proof.get("passed") else "do not agree"
        yield (
            f"Graph and estimator {verb} on {numbers.count(proof['n_rows'])} rows to "
            f"{numbers.error(proof['max_abs_error'])} (allowed {numbers.error(proof['tolerance'])}{_why(proof)})."
        )
        yield _table(lines.PROOF_HEAD, lines.proof_groups(proof))


def _why(proof: Mapping[str, Any]) -> str:
    reason = _text(proof.get("tolerance_reason", ""))
    return f": {reason}" if reason else ""


def _again(evaluation: Mapping[str, Any]) -> Iterator[str]:
    command = lines.command(evaluation)
    if command:
        yield _code(command, "sh")


def _section(title: str, parts: Iterable[str]) -> list[str]:
    """Return the parts below their title; nothing where there are none."""
    found = [part for part in parts if part]
    return [f"## {title}", *found] if found else []


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    shown = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_text, line))} |" for line in shown)


def _text(text: str) -> str:
    """Keep *text* on one line, and from being read as HTML, a link or a table's border."""
    one = " ".join(text.split())
    return one.replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")


def _code(text: str, language: str) -> str:
    """Fence *text* by more backticks than it holds."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
