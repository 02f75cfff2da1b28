"""Read `settings.MLEMBED` into typed objects, or say all that is wrong with it.

Nothing here opens a registry or loads a model: reading the settings must be possible where the
models are not, as in a test run or while an image is built.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mlembed.errors import SettingsError
from mlembed.registry import open_source
from mlembed.registry.opening import trust_of
from mlembed.registry.pointer import parse_ref
from mlembed.settings import Settings, default_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlembed.registry.pointer import Ref

_MODELS = "MODELS"
_MODEL_KEYS = ("REF", "FALLBACK")
_FIELDS = {field.name.upper(): field for field in dataclasses.fields(Settings)}
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


class Problem(NamedTuple):
    """One mistake in the setting.

    Attributes:
        kind: `setting` (a key or value) or `reference` (a model reference or registry location).
        message: Where it is and what was expected.
        hint: What to change.
    """

    kind: Literal["setting", "reference"]
    message: str
    hint: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One model that the site uses.

    Attributes:
        name: What the site calls it.
        ref: What it is in the registry.
        fallback: Score to answer with when anything fails; None to raise instead.
    """

    name: str
    ref: Ref
    fallback: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """The whole of `settings.MLEMBED`.

    Attributes:
        settings: The library's settings; what MLEMBED leaves out comes from `MLEMBED_*` variables.
        models: The declared models by name.
    """

    settings: Settings
    models: Mapping[str, Declared]


def read_declaration(setting: Any) -> tuple[Declaration | None, list[Problem]]:
    """Read the value of `settings.MLEMBED`.

    Returns:
        The declaration and no problem, or None and every problem.
    """
    if not isinstance(setting, Mapping):
        missing = "is not set" if setting is None else f"is a {type(setting).__name__}, not a dict"
        hint = 'Set MLEMBED = {"REGISTRY": "file:///srv/models", "MODELS": {"name": "name@alias"}}.'
        return None, [Problem("setting", f"MLEMBED {missing}.", hint)]
    problems = _unknown_keys("MLEMBED", setting, (*_FIELDS, _MODELS))
    settings = _read_settings(setting, problems)
    models = _read_models(setting.get(_MODELS), problems)
    if problems or settings is None:
        return None, problems
    return Declaration(settings=settings, models=models), []


def nearest(name: object, known: Iterable[str]) -> str:
    """Say which of the *known* names *name* is likely to mean, and list them all."""
    by_upper = {each.upper(): each for each in known}
    close = difflib.get_close_matches(str(name).upper(), by_upper, n=1)
    question = f"Did you mean '{by_upper[close[0]]}'? " if close else ""
    return f"{question}Known are: {', '.join(by_upper.values())}."


def _read_settings(setting: Mapping[str, Any], problems: list[Problem]) -> Settings | None:
    values: dict[str, Any] = {}
    for key, field in _FIELDS.items():
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
        settings = dataclasses.replace(default_settings(), **values)
    except SettingsError as error:
        hint = "Change the value in MLEMBED, or its MLEMBED_* variable."
        problems.append(Problem("setting", f"{error}.", hint))
        return None
    try:
        trust_of(settings)
    except SettingsError as error:
        hint = "Give the public keys that `mlembed keys new` made, or directories of them."
        problems.append(Problem("setting", f"MLEMBED['KEYS']: {error}.", hint))
        return None
    try:
        open_source(settings.registry, settings)
    except SettingsError as error:
        hint = "Set MLEMBED['REGISTRY'] to a directory or a URL such as file:///srv/models."
        problems.append(Problem("reference", f"MLEMBED['REGISTRY']: {error}.", hint))
    return settings


def _convert(kind: str, value: Any) -> Any:
    if kind in ("Path", "str"):
        return Path(value) if kind == "Path" else os.fspath(value)
    return value


def _read_models(setting: Any, problems: list[Problem]) -> dict[str, Declared]:
    if not isinstance(setting, Mapping) or not setting:
        hint = 'Declare each model the site uses: "MODELS": {"payments": "payments@champion"}.'
        problems.append(Problem("setting", "MLEMBED['MODELS'] declares no model.", hint))
        return {}
    models = {}
    for name, entry in setting.items():
        declared = _read_model(str(name), entry, problems)
        if declared is not None:
            models[str(name)] = declared
    return models


def _read_model(name: str, entry: Any, problems: list[Problem]) -> Declared | None:
    place = f"MLEMBED['MODELS']['{name}']"
    if isinstance(entry, str):
        entry = {"REF": entry}
    if not isinstance(entry, Mapping):
        hint = 'Give "name@alias" or {"REF": "name@alias", "FALLBACK": 0.0}.'
        problems.append(Problem("setting", f"{place} is a {type(entry).__name__}.", hint))
        return None
    found = _unknown_keys(place, entry, _MODEL_KEYS)
    fallback = entry.get("FALLBACK")
    if not _is_fallback(fallback):
        hint = "Leave FALLBACK out to let failures raise."
        found.append(Problem("setting", f"{place}['FALLBACK'] must be a finite number.", hint))
    ref = _read_ref(place, entry.get("REF"), found)
    problems += found
    if found or ref is None:
        return None
    return Declared(name=name, ref=ref, fallback=None if fallback is None else float(fallback))


def _read_ref(place: str, text: Any, problems: list[Problem]) -> Ref | None:
    hint = f"Write {place}['REF'] as name@alias or name@1.2.0."
    if not isinstance(text, str):
        problems.append(Problem("reference", f"{place} names no model.", hint))
        return None
    try:
        return parse_ref(text)
    except SettingsError as error:
        problems.append(Problem("reference", f"{place}: {error}.", hint))
        return None


def _unknown_keys(place: str, mapping: Mapping[Any, Any], known: tuple[str, ...]) -> list[Problem]:
    return [
        Problem("setting", f"{place} has the unknown key '{key}'.", nearest(key, known))
        for key in mapping
        if key not in known
    ]


def _is_fallback(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
