"""What a candidate must show before it may be published, as its declaration says.

A gate that cannot be judged has failed: what was not shown does not pass.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

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
            if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value)):
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
    metric, sign = yardstick.metric, yardstick.sign
    word = "at least" if sign > 0 else "at most"
    judged = []
    if gates.floor is not None:
        value = evaluation["metrics"][metric]
        judged.append(
            Judged(
                "floor",
                f"{metric} {word} {gates.floor:.4f}",
                f"{metric} {value:.4f}",
                sign * value >= sign * gates.floor,
            )
        )
    if gates.margin is not None:
        judged.append(_margin(gates.margin, metric, evaluation.get("champion")))
    if gates.worst_slice is not None:
        judged.append(
            _worst_slice(gates.worst_slice, metric, sign, word, evaluation.get("slices", ()))
        )
    for name, asked, found, unit in (
        ("calibration error", gates.calibration_error, evaluation.get("calibration_error"), ""),
        ("latency", gates.latency_seconds, evaluation["serving"]["latency_seconds"], " s"),
        ("size", gates.size_bytes, evaluation["serving"]["size_bytes"], " bytes"),
    ):
        if asked is not None:
            passed = found is not None and found <= asked
            told = "not measured" if found is None else f"{found:.4g}{unit}"
            judged.append(Judged(name, f"at most {asked:.4g}{unit}", told, passed))
    return tuple(judged)


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


def _margin(margin: float, metric: str, champion: Mapping[str, Any] | None) -> Judged:
    asked = f"no worse than the champion by {margin:.4g} {metric}"
    if champion is None:
        return Judged("margin", asked, "there is no champion yet", passed=True)
    low = champion.get("low")
    if low is None:
        return Judged("margin", asked, f"no comparison: {champion.get('note', '')}", passed=False)
    found = f"{champion['difference']:+.4f}, 95 % interval from {low:+.4f}"
    return Judged("margin", asked, found, passed=low > -margin)


def _worst_slice(
    bound: float, metric: str, sign: int, word: str, slices: Sequence[Mapping[str, Any]]
) -> Judged:
    asked = f"{metric} {word} {bound:.4f} in each slice"
    measured = [item for item in slices if item.get("value_of_metric") is not None]
    if not measured:
        return Judged("worst slice", asked, "no slice is large enough", passed=False)
    worst = min(measured, key=lambda item: sign * item["value_of_metric"])
    value = worst["value_of_metric"]
    found = f"{value:.4f} where {worst['column']} is {worst['value']} ({worst['n']:,} rows)"
    return Judged("worst slice", asked, found, passed=sign * value >= sign * bound)
