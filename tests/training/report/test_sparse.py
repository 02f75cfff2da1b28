"""Where little was measured, the page shows that little and nothing of its own."""

from __future__ import annotations

from typing import Any

import pytest

from mlembed.bundle.manifest import Task
from mlembed.columns import Column
from mlembed.training.report import numbers, write_report
from mlembed.training.report.columns import dependence_charts, summaries
from mlembed.training.report.comparing import champion_rows, tuning_plot
from mlembed.training.report.loading import loading
from mlembed.training.report.naming import direction, meaning
from mlembed.training.report.plots import Plot
from mlembed.training.report.quality import quality_plots
from training.report import scenes


def test_summary_of_an_empty_column_has_no_bars() -> None:
    """A column without values has neither a shape nor a least value."""
    column = {"column": "a", "kind": "number", "missing_share": 1.0, "n_distinct": 0}

    (line,) = summaries({"data": {"n": 10, "columns": [column]}})

    assert line.bars == ()
    assert (line.missing, line.least, line.middle, line.top) == ("100.0%", "-", "-", "")


def test_dependence_on_one_value_is_a_dot() -> None:
    """A column of one value has no line, and without shares no bars."""
    item = {"column": "a", "kind": "number", "x": [5.0], "y": [0.3]}

    ((name, plot),) = dependence_charts({"dependence": [item]})

    assert name == "a"
    assert isinstance(plot, Plot)
    assert len(plot.dots) == 1
    assert plot.bars == []


def test_dependence_shows_the_missing_apart() -> None:
    """Missing values have no place on the axis but a level of their own."""
    item = {
        "column": "a",
        "kind": "number",
        "x": [0.0, 1.0, 9.0],
        "y": [0.1, 0.2, 0.3],
        "share": [0.9, 0.0, 0.0],
        "missing": {"y": 0.9, "share": 0.1},
    }

    ((_, plot),) = dependence_charts({"dependence": [item]})

    assert isinstance(plot, Plot)
    assert [rule.text for rule in plot.rules] == ["missing (10.0%)"]
    assert len(plot.bars) == 1


@pytest.mark.parametrize("values", [[], [None, None]])
def test_tuning_without_a_value_has_no_plot(values: list[Any]) -> None:
    """A study whose trials were all given up has nothing to plot."""
    assert tuning_plot({"tuning": {"trials": 2, "values": values}}) is None


def test_tuning_without_a_best_trial_has_no_mark() -> None:
    """Trials before the first value are left out."""
    plot = tuning_plot({"tuning": {"trials": 3, "values": [None, 0.5, 0.6]}, "metric": "roc_auc"})

    assert plot is not None
    assert plot.rules == []
    assert plot.note.startswith("3 trials. ")


def test_champion_that_cannot_be_compared_is_told_in_words() -> None:
    """Without a difference there is no interval to draw."""
    evaluation = {"n": 5, "champion": {"title": "visits@1.0.0", "metric": "roc_auc", "n": 5}}

    assert champion_rows(evaluation) is None
    assert "do not tell which" in write_report(scenes.manifest(), evaluation, {})


def test_curves_without_a_label_have_no_mark() -> None:
    """Without a confusion there is no point to mark, and no line of the prevalence."""
    evaluation = {"curves": scenes.binary()["curves"]}

    plots = {plot.title: plot for plot in quality_plots(scenes.manifest(), evaluation)}

    assert plots["ROC curve"].dots == []
    assert len(plots["Precision and recall"].lines) == 1


def test_meaning_tells_where_no_label_is_given() -> None:
    """A band of scores without a label stands beside the threshold."""
    task = Task(kind="binary", label="a", positive="b", threshold=0.5, abstain=(0.4, 0.6))

    assert meaning(task).endswith("Between 0.4 and 0.6 it gives no label.")


def test_direction_of_an_unknown_metric_is_not_guessed() -> None:
    """Whether more is better is known of our own metrics only, quantiles among them."""
    assert [direction(name) for name in ("revenue", "pinball@0.9", "f1")] == [
        *("", "lower is better", "higher is better"),
    ]


def test_loading_names_a_value_within_bounds() -> None:
    """The example is made up from the declared range, and long records are cut short."""
    columns = (
        Column(name="below", kind="number", maximum=-5.0),
        Column(name="above", kind="integer", minimum=3),
        Column(name="free", kind="number"),
        *(Column(name=f"c{i}", kind="boolean") for i in range(12)),
    )

    code = loading(scenes.manifest(columns=columns))

    assert "'below': -6.0," in code
    assert "'above': 4," in code
    assert "'free': 1.0," in code
    assert "# and 3 more columns" in code


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (2026, "2026"),
        (0.30000004, "0.3"),
        ([1, "b"], "1, b"),
        ({"a": {"b": None}}, "a b -"),
    ],
)
def test_cell_writes_any_value(value: Any, text: str) -> None:
    """Whatever JSON holds has a short text."""
    assert numbers.cell(value) == text
