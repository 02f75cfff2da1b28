"""Name a secret without holding it: `env:VARIABLE` or `file:/run/secrets/name`.

A settings module is read by many and ends in version control; what it names is read from the
environment or a file of the machine, at the first use.
"""

from __future__ import annotations

import os
from pathlib import Path

from mlembed.errors import SettingsError

_ENV, _FILE = "env:", "file:"


def is_named(text: str) -> bool:
    """Tell whether *text* only names a secret."""
    return text.startswith((_ENV, _FILE))


def is_literal(text: str) -> bool:
    """Tell whether *text* is a secret that stands in the settings themselves.

    What equals a variable of the environment was read from there, as `os.environ["TOKEN"]`.
    """
    return bool(text) and not is_named(text) and text not in os.environ.values()


def revealed(text: str, place: str) -> str:
    """Return the secret that *text* names; a text that names none is returned as it is.

    Args:
        text: `env:VARIABLE`, `file:PATH`, or the secret.
        place: Where it stands, for the message.

    Raises:
        SettingsError: If the variable is not set or the file cannot be read.
    """
    if text.startswith(_ENV):
        name = text.removeprefix(_ENV)
        if not os.environ.get(name):
            raise SettingsError(f"{place} names the variable {name}, which is not set")
        return os.environ[name]
    if text.startswith(_FILE):
        path = Path(text.removeprefix(_FILE).removeprefix("//"))
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{place} names the file {path}, which cannot be read") from error
    return text
