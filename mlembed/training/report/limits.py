"""Say what was not shown: where the model was not measured, and where it measured badly.

Every sentence is derived from the evaluation and the manifest; where a measurement is missing, that
it is missing is the sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed.training.report import lines, naming, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlembed.bundle.manifest import Manifest

_FEW = 100
_NAMED = 5
_UNKNOWN = {
    "rare": "treated as a rare value",
    "missing": "treated as missing",
    "error": "refused",
}


def limits(manifest: Manifest, evaluation: Mapping[str, Any]) -> list[str]:
    """Return the limits of a model, a sentence or two each."""
    return [
        *_measured(manifest, evaluation),
        *_period(evaluation),
        *_entities(evaluation),
        *_slices(evaluation),
        *_scores(manifest, evaluation),
        *_leakage(evaluation),
        *_input(manifest, evaluation),
        *_data(evaluation),
        *_code(manifest),
    ]


def _measured(manifest: Manifest, evaluation: Mapping[str, Any]) -> Iterator[str]:
    if not evaluation.get("n"):
        yield "It was not measured: how good it is has to be shown by whoever made it."
        return
    positives = evaluation.get("positives")
    if manifest.task.kind == "binary" and positives is not None and positives < _FEW:
        yield (
            f"Only {numbers.count(positives)} of the rows measured on are positive, so every "
            "metric is uncertain."
        )
    if not evaluation.get("intervals"):
        yield "No intervals were made: how much of a metric is chance is not known."
    if not evaluation.get("champion"):
        yield "It was not compared with a model in service."


def _period(evaluation: Mapping[str, Any]) -> Iterator[str]:
    folds = evaluation.get("folds", {})
    test: Mapping[str, Any] = next(
        (side for side in folds.get("sides", ()) if side["side"] == "test"), {}
    )
    if not evaluation.get("n"):
        return
    if test.get("from") and test.get("until"):
        yield (
            f"It was measured on rows from {numbers.moment(test['from'])} until "
            f"{numbers.moment(test['until'])}; nothing is known of other times, seasons among them, "
            "or of places and people that are not in the data."
        )
    else:
        yield (
            "No time of the rows is recorded, so how well it holds as time passes was not measured; "
            "nothing is known of places and people that are not in the data."
        )
    if "random" in str(folds.get("kind", "")).lower():
        yield (
            "Rows were held out at random: where rows depend on each other, these numbers "
            "are better than what service will show."
        )


def _entities(evaluation: Mapping[str, Any]) -> Iterator[str]:
    shared = evaluation.get("folds", {}).get("shared_entities") or {}
    if shared.get("n"):
        yield (
            f"{numbers.percent(shared.get('share_of_test_rows'))} of the rows measured on belong to a "
            f"'{shared['column']}' that it was trained on too; for new ones it may be worse."
        )


def _slices(evaluation: Mapping[str, Any]) -> Iterator[str]:
    slices = evaluation.get("slices", ())
    judged = [item for item in slices if item.get("value_of_metric") is not None]
    if evaluation.get("n") and not slices:
        yield "No groups of rows were measured apart, so it may be worse for some of them."
    if judged:
        worst, metric = judged[0], naming.metric(evaluation.get("metric", ""))
        yield (
            f"It is worst where '{worst['column']}' is {worst['value']}: {metric} "
            f"{numbers.number(worst['value_of_metric'])} on {numbers.count(worst['n'])} rows."
        )
    for reason, names in lines.unmeasured(evaluation).items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"Not measured, {reason}: {', '.join(names[:_NAMED])}{more}."


def _scores(manifest: Manifest, evaluation: Mapping[str, Any]) -> Iterator[str]:
    error = evaluation.get("calibration_error")
    if manifest.task.kind == "binary" and error is not None:
        yield (
            f"Scores are {numbers.number(error)} from the share that came true, on average; do not "
            "read more into a probability."
        )
    elif manifest.task.kind == "binary" and evaluation.get("n"):
        yield "The error of its probabilities was not measured: read scores as an order."
    interval = evaluation.get("interval")
    if interval:
        yield (
            f"Its intervals of {numbers.percent(interval['level'])} held "
            f"{numbers.percent(interval['coverage'])} of the rows measured on; they are as wide "
            "for easy rows as for hard ones."
        )
    elif manifest.task.kind == "regression" and evaluation.get("n"):
        yield "It gives no interval: how far a single score may be off is not told."


def _leakage(evaluation: Mapping[str, Any]) -> Iterator[str]:
    for item in evaluation.get("leakage", ()):
        if item.get("action") == "dropped":
            continue
        if item["kind"] == "identifier":
            yield (
                f"Column '{item['column']}' {naming.leak('identifier')}: what was learnt of its "
                "values says nothing of new ones."
            )
        else:
            yield (
                f"Column '{item['column']}' {naming.leak(item['kind'])} ({item['detail']}) and was "
                "kept: if it is not known at the time of the prediction, these numbers are wrong."
            )


def _input(manifest: Manifest, evaluation: Mapping[str, Any]) -> Iterator[str]:
    for rule, words in _UNKNOWN.items():
        names = [
            column.name
            for column in manifest.columns
            if column.kind == "category" and column.rule.unknown == rule
        ]
        if names:
            yield f"A value that training never saw is {words} in {_listed(names)}."
    missing = {
        item["column"]: item.get("missing_share")
        for item in evaluation.get("data", {}).get("columns", ())
    }
    never = [c.name for c in manifest.columns if c.nullable and missing.get(c.name) == 0]
    if never:
        yield f"May be missing, but never was in the data: {_listed(never)}."


def _data(evaluation: Mapping[str, Any]) -> Iterator[str]:
    data = evaluation.get("data", {})
    if data.get("n_rejected") and data.get("n_read"):
        yield (
            f"{numbers.percent(data['n_rejected'] / data['n_read'])} of the rows read were rejected; "
            "it has seen none like them."
        )
    odd = [item for item in data.get("checks", ()) if item.get("status") != "ok"]
    for item in odd[:_NAMED]:
        yield (
            f"Check '{item['check']}' {'failed' if item['status'] == 'failed' else 'warned'}"
            f"{_of(item)}: found {item['found']}, allowed {item['allowed']}."
        )
    if len(odd) > _NAMED:
        yield f"{len(odd) - _NAMED} more checks of the data warned or failed."


def _code(manifest: Manifest) -> Iterator[str]:
    if str(manifest.training.get("code", "")).endswith("+"):
        yield "It was made from code that was not committed, so it cannot be made again for sure."


def _of(check: Mapping[str, Any]) -> str:
    return f" for '{check['column']}'" if check.get("column") else ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + more
