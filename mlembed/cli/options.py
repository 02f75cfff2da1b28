"""Options that several commands share, and how they become settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from mlembed.errors import SettingsError
from mlembed.registry import open_registry
from mlembed.registry.pointer import parse_ref
from mlembed.registry.registry import Registry
from mlembed.settings import Settings, default_settings

RegistryOption = Annotated[
    str,
    typer.Option(
        "--registry",
        metavar="URL",
        help="Directory or URL of the registry; MLEMBED_REGISTRY by default.",
        show_default=False,
    ),
]
LogOption = Annotated[
    Path | None,
    typer.Option(
        "--log-dir",
        metavar="DIR",
        help="Directory of the prediction log; MLEMBED_LOG_DIR by default.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the alias's history.")]


def registry_of(location: str, home: str = "") -> Registry:
    """Return the registry an option names, or that of the environment.

    Args:
        location: What the option names.
        home: The registry that the credentials of the environment are for; its own by default.
    """
    settings = default_settings()
    settings = dataclasses.replace(settings, registry=settings.registry or home)
    return open_registry(location or settings.registry, settings)


def alias_of(text: str) -> tuple[str, str]:
    """Return the name and the alias that *text* names.

    Raises:
        SettingsError: If it names a version.
    """
    ref = parse_ref(text)
    if not ref.is_alias:
        raise SettingsError(f"{text} is a version; expected an alias, such as {ref.name}@champion")
    return ref.name, ref.selector


def log_dir_of(log_dir: Path | None) -> Path:
    """Return the log directory an option names, or that of the environment."""
    return log_dir or default_settings().log_dir


def quiet_settings(registry: str) -> Settings:
    """Return settings for a look at a model: nothing is logged and nothing watched."""
    return dataclasses.replace(
        default_settings(),
        registry=registry or default_settings().registry,
        log=False,
        poll_seconds=0,
    )
