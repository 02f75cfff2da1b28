"""What a candidate must show before it may be published, as its declaration says.

A gate that cannot be judged has failed: what was not shown does not pass. A baseline that was
declared is a gate too: a model that is no better than a column of the table is not worth serving.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mlembed.columns import is_finite_number
from mlembed.errors import DeclarationError, GateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlembed.training.yardstick import Yardstick


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gates:
    """Bounds on the held-out rows; None asks nothing.

    Attributes:
        floor: Worst value of the trainer's metric.
        margin: Loss of the metric against the champion that is tolerated; the 95 % interval of the
            paired difference must lie above it. Passed where there is no champion yet.
        worst_slice: Worst value of the metric in any slice that is large enough to be measured.
        calibration_error: Greatest expected calibration error of a binary label.
        latency_seconds: Longest median of one row through the graph, on the machine that trains.
        size_bytes: Largest graph.
    """

    floor: float | None = None
    margin: float | None = None
    worst_slice: float | None = None
    calibration_error: float | None = None
    latency_seconds: float | None = None
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not is_finite_number(value):
                raise DeclarationError(f"Gates({field.name}=...): expected a finite number or None")
        for name in ("margin", "calibration_error", "latency_seconds", "size_bytes"):
            if (getattr(self, name) or 0) < 0:
                raise DeclarationError(f"Gates({name}=...): expected no negative number")

    def problems(self, kind: str) -> Iterator[str]:
        """Yield what makes no sense for a label of *kind*."""
        if self.calibration_error is not None and kind != "binary":
            yield f"a {kind} label has no calibration error: leave out Gates(calibration_error=...)"


@dataclasses.dataclass(frozen=True)
class Judged:
    """One gate.

    Attributes:
        gate: Its name.
        asked: What the declaration asks.
        found: What was found.
        passed: Whether that is enough.
    """

    gate: str
    asked: str
    found: str
    passed: bool


def judge(gates: Gates, yardstick: Yardstick, evaluation: Mapping[str, Any]) -> tuple[Judged, ...]:
    """Hold *evaluation* to the gates that were declared.

    Args:
        gates: The declaration.
        yardstick: The trainer's metric.
        evaluation: What was measured; see `mlembed.training.evaluation`.
    """
    return tuple(_judged(gates, yardstick, evaluation))


def require(name: str, judged: Sequence[Judged]) -> None:
    """Refuse a candidate for *name* that did not pass.

    Raises:
        GateError: Naming every gate that failed, what it asks and what was found.
    """
    failed = [item for item in judged if not item.passed]
    if failed:
        listed = "; ".join(
            f"{item.gate}: {item.asked} was asked, found {item.found}" for item in failed
        )
        raise GateError(
            f"'{name}' does not pass {len(failed)} of its {len(judged)} gates on held-out rows: "
            f"{listed}. Nothing was published"
        )


def _judged(gates: Gates, yardstick: Yardstick, evaluation: Mapping[str, Any]) -> Iterator[Judged]:
    if gates.floor is not None:
        yield _floor(gates.floor, yardstick, evaluation["metrics"].get(yardstick.metric))
    if "baseline" in evaluation:
        yield _baseline(yardstick.metric, evaluation["baseline"])
    if gates.margin is not None:
        yield _margin(gates.margin, yardstick.metric, evaluation.get("champion"))
    if gates.worst_slice is not None:
        yield _worst_slice(gates.worst_slice, yardstick, evaluation.get("slices", ()))
    serving = evaluation.get("serving", {})
    for name, asked, found, unit in (
        ("calibration error", gates.calibration_error, evaluation.get("calibration_error"), ""),
        ("latency", gates.latency_seconds, serving.get("latency_seconds"), " s"),
        ("size", gates.size_bytes, serving.get("size_bytes"), " bytes"),
    ):
        if asked is not None:
            yield _limit(name, asked, found, unit)


def _floor(bound: float, yardstick: Yardstick, value: float | None) -> Judged:
    metric = yardstick.metric
    asked = f"{metric} {_bound(yardstick)} {_number(bound)}"
    if value is None:
        return Judged("floor", asked, f"{metric} undefined", passed=False)
    return Judged(
        "floor", asked, f"{metric} {_number(value, bound)}", _holds(yardstick, value, bound)
    )


def _baseline(metric: str, found: Mapping[str, Any]) -> Judged:
    asked = f"{metric} better than that of '{found['column']}'"
    theirs, ours = found.get("value"), found.get("model")
    if theirs is None or ours is None:
        told = f"no {metric} of '{found['column']}' on the {found['n']:,} rows where it is known"
        return Judged("baseline", asked, told, passed=False)
    told = f"{_number(ours, theirs)} against {_number(theirs, ours)} on {found['n']:,} rows"
    return Judged("baseline", asked, told, passed=found["difference"] > 0)


def _margin(margin: float, metric: str, champion: Mapping[str, Any] | None) -> Judged:
    asked = f"no worse than the champion by {_number(margin)} {metric}"
    if champion is None:
        return Judged("margin", asked, "there is no champion yet", passed=True)
    low, note = champion.get("low"), champion.get("note", "")
    if low is None:
        return Judged("margin", asked, f"no comparison: {note}", passed=False)
    difference = champion["difference"]
    found = (
        f"{_signed(difference, -margin)}, 95 % interval from {_signed(low, -margin)} on "
        f"{champion['n']:,} rows{f' ({note})' if note else ''}"
    )
    return Judged("margin", asked, found, passed=low > -margin)


def _worst_slice(bound: float, yardstick: Yardstick, slices: Sequence[Mapping[str, Any]]) -> Judged:
    asked = f"{yardstick.metric} {_bound(yardstick)} {_number(bound)} in each slice"
    measured = [item for item in slices if item.get("value_of_metric") is not None]
    if not measured:
        return Judged("worst slice", asked, "no slice is large enough", passed=False)
    worst = min(measured, key=lambda item: yardstick.sign * item["value_of_metric"])
    value = worst["value_of_metric"]
    found = (
        f"{_number(value, bound)} where {worst['column']} is {worst['value']} ({worst['n']:,} rows)"
    )
    return Judged("worst slice", asked, found, passed=_holds(yardstick, value, bound))


def _limit(name: str, most: float, found: float | None, unit: str) -> Judged:
    asked = f"at most {_number(most)}{unit}"
    if found is None:
        return Judged(name, asked, "not measured", passed=False)
    return Judged(name, asked, f"{_number(found, most)}{unit}", passed=found <= most)


def _bound(yardstick: Yardstick) -> str:
    return "at least" if yardstick.sign > 0 else "at most"


def _holds(yardstick: Yardstick, value: float, bound: float) -> bool:
    return yardstick.sign * value >= yardstick.sign * bound


def _number(value: float, other: float | None = None) -> str:
    """Return *value* for people; in full where it would read like *other*, which it is not."""
    if isinstance(value, int):
        return f"{value:,}"
    few = ".4f" if value == 0 or abs(value) >= 0.01 else ".4g"  # noqa: PLR2004  two digits left
    text = f"{value:{few}}"
    return repr(float(value)) if other not in (None, value) and text == _number(other) else text


def _signed(value: float, other: float) -> str:
    text = _number(value, other)
    return text if text.startswith("-") else f"+{text}"
