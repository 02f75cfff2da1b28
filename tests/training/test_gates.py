"""A gate that is not passed publishes nothing, and says which one and by how much."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from mlembed.errors import DeclarationError, GateError
from mlembed.training import Gates
from mlembed.training.gates import Judged, judge, require
from mlembed.training.yardstick import Yardstick
from training.orders import RANDOM, declare, declare_weight, orders

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.training import Candidate

TABLE = orders(1600)
AUC = Yardstick("roc_auc", "binary", 0.5)
MAE = Yardstick("mae", "regression", float("nan"))
GOOD: dict[str, Any] = {
    "metrics": {"roc_auc": 0.9},
    "slices": [{"column": "member", "value": "true", "n": 80, "value_of_metric": 0.7}],
    "calibration_error": 0.02,
    "serving": {"latency_seconds": 2e-5, "size_bytes": 1200},
    "champion": {"title": "a@1.0.0", "difference": 0.01, "low": -0.02, "high": 0.04, "n": 900},
}


@pytest.fixture(scope="module")
def passed() -> Candidate:
    """Return a candidate with gates that it passes."""
    gates = Gates(
        floor=0.6, margin=0.0, worst_slice=0.5, calibration_error=0.3, latency_seconds=1.0
    )
    return declare(gates=gates).train(TABLE)


def test_gates_that_pass_are_told(passed: Candidate) -> None:
    """The bundle holds each gate, what it asks and what was found."""
    gates = passed.bundle.json("evaluation.json")["gates"]

    assert [gate["gate"] for gate in gates] == [
        "floor",
        "margin",
        "worst slice",
        "calibration error",
        "latency",
    ]
    assert all(gate["passed"] for gate in gates)
    assert gates[1]["found"] == "there is no champion yet"


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        ({"floor": 0.99}, r"floor: roc_auc at least 0\.9900 was asked, found roc_auc 0\.[78]\d+"),
        (
            {"worst_slice": 0.95},
            r"worst slice: roc_auc at least 0\.9500 in .+ found 0\.\d+ where \w+ is .+ \(\d+ rows\)",
        ),
        (
            {"calibration_error": 1e-6},
            r"calibration error: at most 1e-06 was asked, found 0\.\d{4}",
        ),
        ({"latency_seconds": 1e-9}, r"latency: at most 1e-09 s was asked, found \d\S* s"),
        ({"size_bytes": 10}, r"size: at most 10 bytes was asked, found [\d,]+ bytes"),
    ],
)
def test_gates_fail_one_by_one(gates: dict[str, Any], words: str) -> None:
    """One gate that fails is named with its numbers, and no other."""
    with pytest.raises(GateError, match=rf"^'returns' does not pass 1 of its 1 gates .+: {words}"):
        declare(gates=Gates(**gates)).train(TABLE)


def test_gates_that_fail_are_all_listed_and_reported(tmp_path: Path) -> None:
    """With several failures the message lists each, and the report is written all the same."""
    page = tmp_path / "report.html"
    gates = Gates(floor=0.99, worst_slice=0.1, calibration_error=1e-6, size_bytes=10)

    with pytest.raises(GateError, match="does not pass 3 of its 4 gates") as caught:
        declare(gates=gates).train(TABLE, report=page)

    message = str(caught.value)
    assert all(f"{name}: at " in message for name in ("calibration error", "size"))
    assert "floor: roc_auc at least" in message
    assert "worst slice" not in message
    assert "1e-06" in page.read_text(encoding="utf-8")


def test_margin_holds_back_a_worse_challenger(passed: Candidate) -> None:
    """A challenger whose loss may be above the margin fails with its difference; a like one passes."""
    worse = declare(features=["channel"], gates=Gates(margin=0.02))
    alike = declare(gates=Gates(margin=0.0001))

    with pytest.raises(GateError, match=r"margin: .+ by 0\.0200 roc_auc was asked, found -0\.\d+"):
        worse.train(TABLE, champion=passed.bundle)
    with pytest.raises(GateError, match=r"95 % interval from \+0\.0000"):
        declare(gates=Gates(margin=0.0)).train(TABLE, champion=passed.bundle)

    assert alike.train(TABLE, champion=passed.bundle).evaluation["gates"][0]["passed"]


def test_margin_fails_without_a_comparison(passed: Candidate) -> None:
    """A champion that cannot be compared with lets nothing pass; the note says why."""
    with pytest.raises(GateError, match=r"no comparison: .+ its kind of label is binary"):
        declare_weight(gates=Gates(margin=1.0)).train(TABLE, champion=passed.bundle)


BASELINE = {"column": "total", "n": 900, "value": 2.0, "model": 1.9, "difference": 0.1}


@pytest.mark.parametrize(
    ("changes", "passes", "words"),
    [
        ({}, True, "1.9000 against 2.0000 on 900 rows"),
        ({"model": 2.0, "difference": 0.0}, False, "2.0000 against 2.0000 on 900 rows"),
        ({"model": 2.5, "difference": -0.5}, False, "2.5000 against 2.0000 on 900 rows"),
        ({"n": 0, "value": None, "model": None}, False, "no mae of 'total' on the 0 rows"),
    ],
)
def test_baseline_is_a_gate_where_one_is_declared(
    changes: dict[str, Any], *, passes: bool, words: str
) -> None:
    """A model must be better than the declared column, not as good; unknown is not passed."""
    (found,) = judge(Gates(), MAE, {"metrics": {"mae": 1.9}, "baseline": {**BASELINE, **changes}})

    assert (found.gate, found.passed) == ("baseline", passes)
    assert found.asked == "mae better than that of 'total'"
    assert words in found.found


def test_baseline_fails_a_model_that_is_no_better() -> None:
    """A column that knows the quantity all but exactly is not beaten, so nothing is published."""
    table = {**TABLE, "total": TABLE["weight"] - TABLE["weight"].min()}
    label = {"features": ["days", "member"], "baseline": "total", "metric": "rmse"}

    with pytest.raises(GateError, match=r"baseline: rmse better than that of 'total' was asked"):
        declare_weight(**label).train(table | {"weight": table["total"]})


@pytest.mark.parametrize(
    ("gates", "lacking", "words"),
    [
        (Gates(worst_slice=0.1), {"slices": []}, "no slice is large enough"),
        (
            Gates(worst_slice=0.1),
            {"slices": [{"column": "a", "value": "b", "n": 3, "reason": "fewer than 50 rows"}]},
            "no slice is large enough",
        ),
        (Gates(calibration_error=0.5), {"calibration_error": None}, "not measured"),
        (Gates(latency_seconds=9.0), {"serving": {}}, "not measured"),
        (Gates(size_bytes=9000), {"serving": {}}, "not measured"),
        (Gates(floor=0.1), {"metrics": {}}, "roc_auc undefined"),
        (Gates(floor=0.1), {"metrics": {"roc_auc": float("nan")}}, "nan"),
        (Gates(margin=1.0), {"champion": {"title": "a@1.0.0", "note": "of tensors"}}, "of tensors"),
    ],
)
def test_gates_fail_where_nothing_was_measured(
    gates: Gates, lacking: dict[str, Any], words: str
) -> None:
    """What was not shown does not pass."""
    (found,) = judge(gates, AUC, {**GOOD, **lacking})

    assert not found.passed
    assert words in found.found


@pytest.mark.parametrize(
    ("yardstick", "value", "bound", "passes"),
    [
        (AUC, 0.926, 0.926, True),
        (AUC, 0.92599, 0.926, False),
        (MAE, 1.5, 1.5, True),
        (MAE, 1.50001, 1.5, False),
    ],
)
def test_floor_holds_at_the_bound(
    yardstick: Yardstick, value: float, bound: float, *, passes: bool
) -> None:
    """The bound itself passes, in the metric's own direction; a miss never reads like the bound."""
    evaluation = {**GOOD, "metrics": {yardstick.metric: value}}

    (found,) = judge(Gates(floor=bound), yardstick, evaluation)

    assert found.passed == passes
    numbers = [re.findall(r"\d[\d.]*", text)[-1] for text in (found.asked, found.found)]
    assert (numbers[0] == numbers[1]) == passes


def test_worst_slice_is_the_worst_in_the_metrics_direction() -> None:
    """Of errors the largest is the worst, wherever it stands in the list."""
    measured = [
        {"column": "a", "value": str(value), "n": 60, "value_of_metric": value}
        for value in (1.0, 3.0, 2.0)
    ]

    (found,) = judge(Gates(worst_slice=2.5), MAE, {**GOOD, "slices": measured})

    assert not found.passed
    assert found.found == "3.0000 where a is 3.0 (60 rows)"


def test_margin_is_judged_by_the_lower_end() -> None:
    """The lower end of the interval must lie above the margin; at it is not enough."""
    for margin, passes in ((0.02, False), (0.0201, True)):
        (found,) = judge(Gates(margin=margin), AUC, GOOD)

        assert found.passed == passes
        assert "+0.0100, 95 % interval from -0.02" in found.found


def test_require_is_silent_where_all_pass() -> None:
    """No gates, or gates that pass, hold nothing back."""
    require("a", ())
    require("a", [Judged("floor", "a", "b", passed=True)])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.9", True])
@pytest.mark.parametrize("name", ["floor", "margin", "worst_slice", "latency_seconds"])
def test_gates_refuse_what_is_no_number(name: str, value: Any) -> None:
    """A bound that nothing can be compared with is refused where it is declared."""
    with pytest.raises(
        DeclarationError, match=rf"Gates\({name}=\.\.\.\): expected a finite number"
    ):
        Gates(**{name: value})


@pytest.mark.parametrize("name", ["margin", "calibration_error", "latency_seconds", "size_bytes"])
def test_gates_refuse_negative_limits(name: str) -> None:
    """What cannot be below 0 has no negative bound."""
    with pytest.raises(DeclarationError, match=rf"Gates\({name}=\.\.\.\): expected no negative"):
        Gates(**{name: -1})


def test_gates_refuse_calibration_of_a_quantity() -> None:
    """A quantity has no calibration error, so a gate for it is a mistake."""
    with pytest.raises(DeclarationError, match="a regression label has no calibration error"):
        declare_weight(gates=Gates(calibration_error=0.1), split=RANDOM)
