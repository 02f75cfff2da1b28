"""Whether dotted paths of the setting lead somewhere."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from django.core.checks import Error as CheckError
from django.utils.module_loading import import_string

from mlembed.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

    from mlembed_django.declaration import Declaration


def look(declaration: Declaration) -> Iterator[CheckMessage]:
    """E004: `USER` or `HTTP['AUTHENTICATE']` names nothing that can be called."""
    named = {
        "MLEMBED['USER']": declaration.user,
        "MLEMBED['HTTP']['AUTHENTICATE']": declaration.http.authenticate,
    }
    for place, path in named.items():
        if not path:
            continue
        found, message = imported(path, place)
        if message is not None:
            yield message
        elif not callable(found):
            yield CheckError(
                f"{place}: '{path}' is a {type(found).__name__}, expected a function.",
                hint="Name a function of the request.",
                id="mlembed.E004",
            )


def imported(path: str, place: str) -> tuple[Any, CheckMessage | None]:
    """Import what *path* names; return it, or what is wrong."""
    try:
        return import_string(path), None
    except Exception as error:  # noqa: BLE001  whatever the host's module raises is what is wrong
        return None, _leads_nowhere(path, place, f"{type(error).__name__}: {first_line(error)}")


def findable(path: str, place: str) -> CheckMessage | None:
    """Tell what is wrong with *path* as far as shows without importing the module it names."""
    module, _, name = path.rpartition(".")
    if module in sys.modules:
        if hasattr(sys.modules[module], name):
            return None
        return _leads_nowhere(path, place, f"the module {module} has no '{name}'")
    try:
        spec = importlib.util.find_spec(module)
    except Exception as error:  # noqa: BLE001  the packages above it are imported
        return _leads_nowhere(path, place, f"{type(error).__name__}: {first_line(error)}")
    return None if spec is not None else _leads_nowhere(path, place, f"there is no module {module}")


def _leads_nowhere(path: str, place: str, why: str) -> CheckMessage:
    module = path.rpartition(".")[0]
    return CheckError(
        f"{place}: '{path}' cannot be imported ({why}).",
        hint=f'Write package.module.name; manage.py shell -c "import {module}" shows the whole '
        "traceback.",
        id="mlembed.E004",
    )
