"""Write a report as one page that needs nothing else.

Names and categories come from outside, so everything is escaped, and a policy in the page itself
forbids the browser to load or run anything but the style and the script it came with.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import MissingExtraError, MonitoringError
from mlembed.monitoring import charts, wording

try:
    import jinja2
    from markupsafe import Markup
except ImportError as error:
    raise MissingExtraError("the HTML report", "train") from error

if TYPE_CHECKING:
    from mlembed.monitoring.monitor import Report

_HERE = Path(__file__).parent
_MODE = 0o644


def write_html(report: Report, path: Path) -> None:
    """Write *report* to *path*, whole or not at all; an older page there is replaced.

    Raises:
        MonitoringError: If it cannot be written; nothing is left behind.
    """
    data = render(report).encode()
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), _MODE)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise MonitoringError(
            f"cannot write the report to {path}: {error.strerror}; name a writable file with --html"
        ) from error


def render(report: Report) -> str:
    """Return the page of *report*."""
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(_HERE),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((_HERE / name).read_text("utf-8") for name in ("report.css", "report.js"))
    return environment.get_template("report.html.jinja").render(
        report=report,
        drifts=wording.ranked(report.drifts),
        words=wording,
        charts=charts,
        style=Markup(style),  # noqa: S704  our own file
        script=Markup(script),  # noqa: S704  our own file
        policy=_policy(style, script),
    )


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
