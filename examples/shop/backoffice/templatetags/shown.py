"""How numbers are written on the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.utils import timezone

from backoffice.risk import likely

if TYPE_CHECKING:
    import datetime as dt

register = template.Library()
register.filter(likely)
_HOUR, _DAY = 3_600, 86_400


@register.filter
def euros(value: float | None) -> str:
    """Write an amount, without cents."""
    return "" if value is None else f"€{value:,.0f}"


@register.filter
def percent(value: float | None) -> str:
    """Write a share."""
    return "" if value is None else f"{value:.0%}"


@register.filter
def change(value: float | None) -> str:
    """Write a share that may be a loss."""
    return "" if value is None else f"{value:+.0%}".replace("-", "\N{MINUS SIGN}")


@register.filter
def ago(moment: dt.datetime | None) -> str:
    """Write how long ago *moment* was."""
    if moment is None:
        return "never"
    seconds = (timezone.now() - moment).total_seconds()
    if seconds < 60:  # noqa: PLR2004  a minute
        return "just now"
    if seconds < _HOUR:
        return f"{int(seconds / 60)} min ago"
    if seconds < _DAY:
        return f"{int(seconds / _HOUR)} h ago"
    days = int(seconds / _DAY)
    return "yesterday" if days == 1 else f"{days:,} days ago"


@register.inclusion_tag("backoffice/risk.html")
def risk_bar(score: float | None, risk: Any) -> dict[str, Any]:
    """Draw a score as a bar in the colour of its risk."""
    return {"score": score, "risk": risk, "width": f"{100 * (score or 0.0):.1f}"}
