"""Read `settings.MLEMBED` into typed objects, or say all that is wrong with it.

Nothing here opens a registry, loads a model or imports what a dotted path names: reading the
settings must be possible where the models are not, as in a test run or while an image is built.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlembed_django.declaration.library import FIELDS, read_settings
from mlembed_django.declaration.places import (
    DatabaseLog,
    Http,
    OutboxPlace,
    Place,
    read_database,
    read_destinations,
    read_http,
    read_outbox,
)
from mlembed_django.declaration.problems import Problem, Reader, nearest
from mlembed_django.declaration.served import Declared, read_models

if TYPE_CHECKING:
    from mlembed.settings import Settings

__all__ = [
    "DatabaseLog",
    "Declaration",
    "Declared",
    "Http",
    "OutboxPlace",
    "Place",
    "Problem",
    "listed",
    "nearest",
    "read_declaration",
]

_KEYS = (
    "MODELS",
    "DATABASE",
    "ACTIONS",
    "OUTCOMES",
    "OUTBOX",
    "DESTINATIONS",
    "HTTP",
    "SERVER_TIMING",
    "USER",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """The whole of `settings.MLEMBED`.

    Attributes:
        settings: The library's settings; what MLEMBED leaves out comes from `MLEMBED_*` variables.
        models: The declared models by name.
        database: What the database holds of predictions; None for nothing.
        actions: The rules, or the dotted path of their list; empty where predictions cause nothing.
        outcomes: What is read back, as `ReadOutcomes`, or the dotted path of their list.
        outbox: How actions wait.
        destinations: Where they go, by the name that rules give.
        http: Who may ask over HTTP.
        server_timing: Whether responses carry the ids of their predictions in `Server-Timing`.
        user: Dotted path of a function of the request that gives the user's key, to be hashed;
            empty for the primary key of a user who is loaded already.
    """

    settings: Settings
    models: Mapping[str, Declared]
    database: DatabaseLog | None = None
    actions: str | tuple[Any, ...] = ""
    outcomes: str | tuple[Any, ...] = ""
    outbox: OutboxPlace = dataclasses.field(default_factory=OutboxPlace)
    destinations: Mapping[str, Place] = dataclasses.field(default_factory=dict)
    http: Http = dataclasses.field(default_factory=Http)
    server_timing: bool = False
    user: str = ""


def listed(declared: str | tuple[Any, ...]) -> Sequence[Any]:
    """Return what stands in the setting, or what its dotted path names.

    Raises:
        ImportError: If the path cannot be imported.
    """
    from django.utils.module_loading import import_string

    found: Sequence[Any] = import_string(declared) if isinstance(declared, str) else declared
    return found


def read_declaration(setting: Any) -> tuple[Declaration | None, list[Problem]]:
    """Read the value of `settings.MLEMBED`.

    Returns:
        The declaration and no problem, or None and every problem.
    """
    if not isinstance(setting, Mapping):
        missing = "is not set" if setting is None else f"is a {type(setting).__name__}, not a dict"
        hint = 'Set MLEMBED = {"REGISTRY": "file:///srv/models", "MODELS": {"name": "name@alias"}}.'
        return None, [Problem("setting", f"MLEMBED {missing}.", hint)]
    problems: list[Problem] = []
    read = Reader("MLEMBED", setting, (*FIELDS, *_KEYS), problems)
    settings = read_settings(setting, problems)
    models = read_models(setting.get("MODELS"), problems)
    parts: dict[str, Any] = {
        "database": read_database(setting.get("DATABASE"), problems),
        "actions": read.path_or_list("ACTIONS"),
        "outcomes": read.path_or_list("OUTCOMES"),
        "outbox": read_outbox(setting.get("OUTBOX"), problems),
        "destinations": read_destinations(setting.get("DESTINATIONS"), problems),
        "http": read_http(setting.get("HTTP"), problems),
        "server_timing": read.flag("SERVER_TIMING", default=False),
        "user": read.path("USER"),
    }
    if problems or settings is None:
        return None, problems
    return Declaration(settings=settings, models=models, **parts), []
