"""Chart what is compared: candidates, champion and challenger, slices, columns, times."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mlembed.training.report import lines, naming, numbers
from mlembed.training.report.plots import Plot, sampled, scales
from mlembed.training.report.rows import Entry, Rows, lay_out
from mlembed.training.report.scale import Tick

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WORST = 15
_MOST_SLICES = 100


def contest_rows(evaluation: Mapping[str, Any]) -> Rows | None:
    """Chart every candidate's value on the validation folds, or None where there was one alone."""
    contest = evaluation.get("contest", {})
    if not contest.get("candidates"):
        return None
    spread = contest.get("spread", {})
    roles = {contest.get("baseline"): "baseline", contest.get("linear"): "linear"}
    entries = [
        Entry(
            name=name,
            value=value,
            dots=tuple(item for item in spread.get(name, ()) if item is not None),
            cells=(
                numbers.number(value),
                "chosen" if name == contest.get("chosen") else roles.get(name, ""),
            ),
            kind="now" if name == contest.get("chosen") else "was",
        )
        for name, value in contest["candidates"].items()
        if value is not None
    ]
    return lay_out(("candidate", naming.metric(contest["metric"]), "mean", ""), entries)


def champion_rows(evaluation: Mapping[str, Any]) -> Rows | None:
    """Chart the gain over the champion with its interval, or None where none was found."""
    found = evaluation.get("champion") or {}
    if found.get("difference") is None:
        return None
    entry = Entry(
        name=f"gain over {found['title']}",
        value=found["difference"],
        low=found.get("low"),
        high=found.get("high"),
        cells=(
            numbers.signed(found["difference"]),
            numbers.interval(found.get("low"), found.get("high")),
        ),
    )
    head = ("", f"gain of {naming.metric(found['metric'])}", "gain", "95% interval")
    return lay_out(head, [entry], line=0.0, line_text="no difference")


def slice_rows(evaluation: Mapping[str, Any]) -> tuple[Rows | None, Rows | None]:
    """Chart the worst slices, then the others."""
    slices = evaluation.get("slices", ())
    metric = evaluation.get("metric", "")
    overall = evaluation.get("metrics", {}).get(metric)
    judged = [item for item in slices if item.get("value_of_metric") is not None]
    entries = [
        Entry(
            name=lines.slice_name(item),
            value=item["value_of_metric"],
            low=item.get("low"),
            high=item.get("high"),
            cells=(
                numbers.number(item["value_of_metric"]),
                numbers.interval(item.get("low"), item.get("high")),
                numbers.signed(item.get("difference")),
                numbers.count(item["n"]),
            ),
        )
        for item in judged[:_MOST_SLICES]
    ]
    head = ("slice", naming.metric(metric), "value", "95% interval", "difference", "rows")

    def chart(part: Sequence[Entry]) -> Rows | None:
        text = "" if overall is None else f"all rows: {numbers.number(overall)}"
        return lay_out(head, part, line=overall, line_text=text) if part else None

    return chart(entries[:WORST]), chart(entries[WORST:])


def importance_rows(evaluation: Mapping[str, Any]) -> Rows | None:
    """Chart how much of the metric each column carries, or None where it was not measured."""
    found = evaluation.get("importance")
    if not found:
        return None
    entries = [
        Entry(
            name=item["column"],
            value=item["drop"],
            low=item.get("low"),
            high=item.get("high"),
            cells=(
                numbers.number(item["drop"]),
                numbers.interval(item.get("low"), item.get("high")),
            ),
            bar=True,
        )
        for item in found
    ]
    head = ("column", f"loss of {naming.metric(evaluation.get('metric', ''))}", "loss", "interval")
    return lay_out(head, entries)


def fold_rows(evaluation: Mapping[str, Any]) -> Rows | None:
    """Chart the sides of the split on a time axis, or None where rows have no time."""
    sides = evaluation.get("folds", {}).get("sides", ())
    entries = []
    for item in sides:
        if not item.get("from") or not item.get("until"):
            return None
        entries.append(
            Entry(
                name=naming.side(item["side"]),
                low=numbers.seconds(item["from"]),
                high=numbers.seconds(item["until"]),
                cells=lines.side(item)[1:],
                kind="now" if item["side"] == "test" else "was",
            )
        )
    if not entries:
        return None
    chart = lay_out((lines.SIDE_HEAD[0], "time", *lines.SIDE_HEAD[1:]), entries)
    ends = [end for entry in entries for end in (entry.low, entry.high) if end is not None]
    first, last = min(ends), max(ends)
    ticks = (
        Tick(4.0, numbers.day(first)),
        Tick(96.0, numbers.day(last)),
    )
    return dataclasses.replace(chart, ticks=ticks if last > first else ticks[:1])


def tuning_plot(evaluation: Mapping[str, Any]) -> Plot | None:
    """Plot the best value so far, trial by trial, or None where nothing was tuned."""
    tuning = evaluation.get("tuning", {})
    steps = [(i, v) for i, v in enumerate(tuning.get("values", ())) if v is not None]
    if not steps:
        return None
    metric = naming.metric(
        evaluation.get("contest", {}).get("metric", evaluation.get("metric", ""))
    )
    x, y = scales([i for i, _ in steps], [value for _, value in steps], room=0.08)
    plot = Plot(
        title="Tuning",
        note=_tuned(tuning),
        x=x,
        y=y,
        x_name="trial",
        y_name=f"best {metric} so far",
        table=sampled(("trial", f"best {metric}"), *map(list, zip(*steps, strict=True))),
    )
    corners = [
        (at, value)
        for (start, value), (after, _) in zip(steps, [*steps[1:], steps[-1]], strict=True)
        for at in (start, after)
    ]
    plot.line([at for at, _ in corners], [value for _, value in corners])
    if tuning.get("best_trial") is not None:
        plot.upright(tuning["best_trial"], f"best: trial {tuning['best_trial']}")
    return plot


def _tuned(tuning: Mapping[str, Any]) -> str:
    trials, pruned = tuning.get("trials"), tuning.get("pruned")
    text = f"{numbers.count(trials)} trials"
    if pruned:
        text += f", {numbers.count(pruned)} of them given up early"
    return f"{text}. Values on validation folds favour what was tuned on them."
