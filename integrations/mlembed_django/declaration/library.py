"""The library's own settings, as `MLEMBED` spells them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlembed.errors import SettingsError
from mlembed.registry import open_source
from mlembed.registry.opening import trust_of
from mlembed.settings import Settings, default_settings
from mlembed_django.declaration.problems import Problem
from mlembed_django.declaration.secrets import revealed

FIELDS = {field.name.upper(): field for field in dataclasses.fields(Settings)}
SECRETS = ("REGISTRY_AUTH", "LOG_KEY", "SIGNING_PASSWORD")

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "True or False"),
    "bool | None": ((bool,), "True or False"),
    "tuple[str, ...]": ((list, tuple), "a list of paths"),
    "Mapping[str, str]": ((Mapping,), "a dict of texts"),
    "Mapping[str, int]": ((Mapping,), "a dict of whole numbers"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number of seconds"),
    "Path": ((str, os.PathLike), "a path"),
    "str": ((str, os.PathLike), "a directory or URL"),
}


def read_settings(setting: Mapping[str, Any], problems: list[Problem]) -> Settings | None:
    """Read what *setting* says of the library; what it leaves out is read from `MLEMBED_*`."""
    values: dict[str, Any] = {}
    for key, field in FIELDS.items():
        if key not in setting:
            continue
        types, wanted = _TYPES[str(field.type)]
        value = setting[key]
        if not isinstance(value, types) or (
            isinstance(value, bool) and "bool" not in str(field.type)
        ):
            hint = f"Give {wanted}."
            problems.append(Problem("setting", f"MLEMBED['{key}'] must be {wanted}.", hint))
        else:
            values[field.name] = _convert(str(field.type), value)
    try:
        for key in SECRETS:
            if key.lower() in values:
                values[key.lower()] = revealed(values[key.lower()], f"MLEMBED['{key}']")
        settings = dataclasses.replace(default_settings(), **values)
    except SettingsError as error:
        hint = "Change the value in MLEMBED, or its MLEMBED_* variable."
        problems.append(Problem("setting", f"{error}.", hint))
        return None
    return settings if _opens(settings, problems) else None


def _opens(settings: Settings, problems: list[Problem]) -> bool:
    try:
        trust_of(settings)
    except SettingsError as error:
        hint = "Give the public keys that `mlembed keys new` made, or directories of them."
        problems.append(Problem("setting", f"MLEMBED['KEYS']: {error}.", hint))
        return False
    try:
        open_source(settings.registry, settings)
    except SettingsError as error:
        hint = "Set MLEMBED['REGISTRY'] to a directory or a URL such as file:///srv/models."
        problems.append(Problem("reference", f"MLEMBED['REGISTRY']: {error}.", hint))
    return True


def _convert(kind: str, value: Any) -> Any:
    if kind in ("Path", "str"):
        return Path(value) if kind == "Path" else os.fspath(value)
    return value
