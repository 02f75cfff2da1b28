"""Make a page that needs nothing else, and write it whole or not at all.

Names and categories come from outside, so everything is escaped, and a policy in the page itself
forbids the browser to load or run anything but the style and the script it came with.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import os
import tempfile
from pathlib import Path

from mlembed.errors import MissingExtraError

try:
    import jinja2
except ImportError as error:
    raise MissingExtraError("the HTML report", "train") from error

STYLE = (Path(__file__).parent / "page.css").read_text("utf-8")
_MODE = 0o644


@functools.cache
def environment(folder: Path) -> jinja2.Environment:
    """Return what renders the templates in *folder*: all escaped, no name left undefined."""
    return jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def policy(style: str, script: str = "") -> str:
    """Return the content security policy that permits *style* and *script* alone."""
    rules = ["default-src 'none'", f"style-src '{_digest(style)}'"]
    if script:
        rules.append(f"script-src '{_digest(script)}'")
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def save(html: str, path: Path) -> None:
    """Write *html* to *path*, whole or not at all; an older page there is replaced.

    Raises:
        OSError: If it cannot be written; nothing is left behind.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(html.encode())
            os.fchmod(file.fileno(), _MODE)
        Path(temporary).replace(path)
    except BaseException:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
