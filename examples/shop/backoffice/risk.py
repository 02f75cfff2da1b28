"""How likely a customer is to leave, in three words."""

from __future__ import annotations

import dataclasses

HIGH_FROM, MEDIUM_FROM = 0.7, 0.4


@dataclasses.dataclass(frozen=True)
class Risk:
    """A range of scores.

    Attributes:
        name: In addresses and style sheets.
        label: For people.
        low: Scores begin there.
        high: And end before it.
    """

    name: str
    label: str
    low: float
    high: float


HIGH = Risk("high", "High", HIGH_FROM, 2.0)
MEDIUM = Risk("medium", "Medium", MEDIUM_FROM, HIGH_FROM)
LOW = Risk("low", "Low", -1.0, MEDIUM_FROM)
RISKS = {risk.name: risk for risk in (HIGH, MEDIUM, LOW)}


def likely(score: float) -> str:
    """Write a probability; nothing is certain."""
    return f"{min(max(score, 0.01), 0.99):.0%}"


def risk_of(score: float | None) -> Risk | None:
    """Return the risk that *score* is of; None where there is no score."""
    if score is None:
        return None
    return next((risk for risk in RISKS.values() if risk.low <= score < risk.high), None)
