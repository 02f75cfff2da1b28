"""Plot how good the scores are: calibration, curves and residuals."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mlembed.training.report import numbers
from mlembed.training.report.plots import Plot, Table, sampled, scales, x_scale, y_scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlembed.bundle.manifest import Manifest

_WITH = (("now", "this model"), ("was", "without a model"))


def quality_plots(manifest: Manifest, evaluation: Mapping[str, Any]) -> list[Plot]:
    """Return every plot that *evaluation* holds the numbers of."""
    curves = evaluation.get("curves", {})
    plots: list[Plot] = []
    error = evaluation.get("calibration_error")
    for bins, names in (
        (evaluation.get("calibration"), ("mean score", "share of positives")),
        (evaluation.get("confidence"), ("mean probability of the answer", "share that is right")),
    ):
        if bins:
            plots.append(_calibration(bins, names, error))
    point = _point(evaluation)
    for name, draw in (("roc", _roc), ("precision_recall", _precision), ("gain", _gain)):
        if name in curves and curves[name]["x"]:
            plots.append(draw(curves[name], point))
    if "cost" in curves and curves["cost"]["x"]:
        threshold = evaluation.get("threshold", {}).get("value", manifest.task.threshold)
        plots.append(_cost(curves["cost"], threshold))
    plots += _residuals(manifest, evaluation.get("residuals", {}))
    return plots


def _calibration(
    bins: Sequence[Mapping[str, Any]], names: tuple[str, str], error: float | None
) -> Plot:
    ends = [end for item in bins for end in (item.get("low"), item.get("high")) if end is not None]
    top = max([item["mean_score"] for item in bins] + [item["positive_share"] for item in bins])
    top = min(1.0, 1.05 * max([top, *ends])) or 1.0
    said = "" if error is None else f" On average they are {numbers.number(error)} apart."
    plot = Plot(
        title="Calibration",
        note=f"What was promised against what came true; on the diagonal they agree.{said}",
        x=x_scale(0.0, top),
        y=y_scale(0.0, top),
        x_name=names[0],
        y_name=names[1],
        table=Table(
            head=(*names, "95% interval", "rows"),
            rows=tuple(
                (
                    numbers.number(item["mean_score"]),
                    numbers.number(item["positive_share"]),
                    numbers.interval(item.get("low"), item.get("high")),
                    numbers.count(item["n"]),
                )
                for item in bins
            ),
        ),
    )
    plot.line([0.0, top], [0.0, top], "was")
    for item in bins:
        text = f"score {numbers.number(item['mean_score'])}: {numbers.percent(item['positive_share'])} of {item['n']:,} rows"
        plot.dot(
            *(item["mean_score"], item["positive_share"], text),
            low=item.get("low"),
            high=item.get("high"),
        )
    return plot


def _roc(curve: Mapping[str, Any], point: Mapping[str, float]) -> Plot:
    plot = _unit_plot(
        curve,
        "ROC curve",
        "Share of positives found against share of negatives flagged by mistake.",
        ("false positive rate", "true positive rate"),
        _WITH,
    )
    plot.line([0.0, 1.0], [0.0, 1.0], "was")
    plot.line(curve["x"], curve["y"])
    return _marked(plot, point, "false_positive_rate", "recall")


def _precision(curve: Mapping[str, Any], point: Mapping[str, float]) -> Plot:
    plot = _unit_plot(
        curve,
        "Precision and recall",
        "Of the rows flagged, how many are positive, against how many positives are found.",
        ("recall", "precision"),
        _WITH if "prevalence" in point else (),
    )
    if "prevalence" in point:
        plot.line([0.0, 1.0], [point["prevalence"]] * 2, "was")
    plot.line(curve["x"], curve["y"])
    return _marked(plot, point, "recall", "precision")


def _gain(curve: Mapping[str, Any], point: Mapping[str, float]) -> Plot:
    plot = _unit_plot(
        curve,
        "Gain",
        "Positives found when the rows with the highest scores are acted on first.",
        ("share of rows acted on", "share of positives found"),
        _WITH,
    )
    plot.line([0.0, 1.0], [0.0, 1.0], "was")
    plot.line(curve["x"], curve["y"])
    return _marked(plot, point, "flagged", "recall")


def _cost(curve: Mapping[str, Any], threshold: float) -> Plot:
    x, y = scales(curve["x"], curve["y"], zero=True)
    least = min(zip(curve["y"], curve["x"], strict=True))
    plot = Plot(
        title="Cost",
        note=f"Mean cost of a row at each threshold; least, {numbers.number(least[0])}, at "
        f"{numbers.number(least[1])} on these rows. The threshold was chosen on others.",
        x=x,
        y=y,
        x_name="threshold",
        y_name="mean cost a row",
        table=sampled(("threshold", "mean cost a row"), curve["x"], curve["y"]),
    )
    plot.line(curve["x"], curve["y"])
    plot.upright(threshold, f"threshold {numbers.number(threshold)}")
    return plot


def _residuals(manifest: Manifest, residuals: Mapping[str, Any]) -> Iterator[Plot]:
    unit = f" ({manifest.task.unit})" if manifest.task.unit else ""
    if residuals.get("counts"):
        yield _errors(residuals["bins"], residuals["counts"], unit)
    if residuals.get("by_score"):
        yield _by_score(residuals["by_score"], unit)


def _errors(edges: list[float], counts: list[float], unit: str) -> Plot:
    x, y = scales(edges, counts, zero=True)
    plot = Plot(
        title="Residuals",
        note="How far the truth was above the score, and how often; the outermost bars hold what "
        "lies beyond them, too.",
        x=x,
        y=y,
        x_name=f"truth less score{unit}",
        y_name="rows",
        table=Table(
            head=("residual", "rows"),
            rows=tuple(
                (numbers.interval(low, high), numbers.count(n))
                for (low, high), n in zip(pairwise(edges), counts, strict=True)
            ),
        ),
    )
    for (low, high), n in zip(pairwise(edges), counts, strict=True):
        plot.bar(low, high, n, f"{numbers.interval(low, high)}: {n:,} rows")
    return plot


def _by_score(bins: list[Mapping[str, Any]], unit: str) -> Plot:
    ends = [item[key] for item in bins for key in ("mean_error", "low", "high") if key in item]
    x, y = scales([item["score"] for item in bins], ends, zero=True)
    plot = Plot(
        title="Residuals by score",
        note="Mean residual of rows with like scores; away from 0 the model is off one way.",
        x=x,
        y=y,
        x_name=f"score{unit}",
        y_name="mean residual",
        table=Table(
            head=("score", "mean residual", "interval", "rows"),
            rows=tuple(
                (
                    numbers.number(item["score"]),
                    numbers.signed(item["mean_error"]),
                    numbers.interval(item.get("low"), item.get("high")),
                    numbers.count(item.get("n")),
                )
                for item in bins
            ),
        ),
    )
    plot.level(0.0, "")
    for item in bins:
        text = f"score {numbers.number(item['score'])}: {numbers.signed(item['mean_error'])}"
        plot.dot(
            *(item["score"], item["mean_error"], text), low=item.get("low"), high=item.get("high")
        )
    return plot


def _unit_plot(
    curve: Mapping[str, Any],
    title: str,
    note: str,
    names: tuple[str, str],
    legend: tuple[tuple[str, str], ...],
) -> Plot:
    return Plot(
        title=title,
        note=note,
        x=x_scale(0.0, 1.0),
        y=y_scale(0.0, 1.0),
        x_name=names[0],
        y_name=names[1],
        table=sampled(names, curve["x"], curve["y"]),
        legend=legend,
    )


def _marked(plot: Plot, point: Mapping[str, float], x: str, y: str) -> Plot:
    """Mark where the threshold lies."""
    if x in point and y in point:
        text = f"{plot.x_name} {numbers.number(point[x])}, {plot.y_name} {numbers.number(point[y])}"
        plot.dot(point[x], point[y], f"at the threshold: {text}", kind="bad")
        plot.note += f" At the threshold: {text}."
        plot.legend = (*plot.legend, ("bad", "at the threshold"))
    return plot


def _point(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the rates at the threshold, those that are defined."""
    cells = evaluation.get("confusion", {})
    if "true_positive" not in cells:
        return {}
    hits, alarms = cells["true_positive"], cells["false_positive"]
    missed, passed = cells["false_negative"], cells["true_negative"]
    rates = {
        "recall": (hits, hits + missed),
        "precision": (hits, hits + alarms),
        "false_positive_rate": (alarms, alarms + passed),
        "flagged": (hits + alarms, hits + alarms + missed + passed),
        "prevalence": (hits + missed, hits + alarms + missed + passed),
    }
    return {name: part / whole for name, (part, whole) in rates.items() if whole}
