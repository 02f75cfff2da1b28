"""What a benchmark found, and the table that shows it beside what is asked."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One measured number.

    Attributes:
        what: What was measured.
        value: The number: a ratio where `unit` is empty.
        most: Most it may be, or None where that is not asked.
        unit: Unit of the number.
        detail: The numbers behind it, in words.
        least: Least it may be, or None where that is not asked.
    """

    what: str
    value: float
    most: float | None = None
    unit: str = ""
    detail: str = ""
    least: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether it lies within what is asked."""
        return (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )

    @property
    def asked(self) -> str:
        """What is asked, in words; empty where nothing is."""
        if self.most is not None:
            return f"at most {self.most:g}"
        return "" if self.least is None else f"at least {self.least:g}"


def show(findings: Iterable[Finding], *, as_json: bool) -> None:
    """Print *findings*, one a line."""
    for finding in findings:
        if as_json:
            line = json.dumps(dataclasses.asdict(finding))
        else:
            asked = finding.asked
            verdict = "" if not asked else "met" if finding.is_met else "MISSED"
            figures = f"{finding.value:,.0f}" if finding.value >= 1000 else f"{finding.value:.3g}"
            number = f"{figures} {finding.unit}".strip()
            line = f"{finding.what:<58} {number:>10}  {asked:<14} {verdict:<7} {finding.detail}"
        sys.stdout.write(line.rstrip() + "\n")
        sys.stdout.flush()
