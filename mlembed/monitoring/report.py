"""Write what the monitor found as one page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import MonitoringError
from mlembed.monitoring import charts, page, wording

if TYPE_CHECKING:
    from mlembed.monitoring.monitor import Report

_HERE = Path(__file__).parent


def write_html(report: Report, path: Path) -> None:
    """Write *report* to *path*, whole or not at all; an older page there is replaced.

    Raises:
        MonitoringError: If it cannot be written; nothing is left behind.
    """
    try:
        page.save(render(report), path)
    except OSError as error:
        raise MonitoringError(
            f"cannot write the report to {path}: {error.strerror}; name a writable file with --html"
        ) from error


def render(report: Report) -> str:
    """Return the page of *report*."""
    style = page.STYLE + (_HERE / "report.css").read_text("utf-8")
    script = (_HERE / "report.js").read_text("utf-8")
    return (
        page.environment(_HERE)
        .get_template("report.html.jinja")
        .render(
            report=report,
            drifts=wording.ranked(report.drifts),
            words=wording,
            charts=charts,
            style=style,
            script=script,
            policy=page.policy(style, script),
        )
    )
