"""The models that the site declares, by the names it calls them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from mlembed.columns import LOG_MODES
from mlembed.errors import SettingsError
from mlembed.registry.pointer import parse_ref
from mlembed_django.declaration.problems import Problem, Reader

if TYPE_CHECKING:
    from mlembed.registry.pointer import Ref
    from mlembed.settings import Settings

Load = Literal["lazy", "worker_start"]

_KEYS = (
    *("REF", "FALLBACK", "LOAD", "THREADS", "TIMEOUT_MS"),
    *("COLUMNS", "RECORD", "PERMISSION"),
)
_MOST_THREADS = 256
_LEAST_MS, _MOST_MS = 1.0, 3.6e6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One model that the site uses.

    Attributes:
        name: What the site calls it.
        ref: What it is in the registry.
        fallback: Score to answer with when anything fails; None to raise instead.
        load: `lazy`: at the first prediction; `worker_start`: when the server builds the site's
            middleware, so that the first request does not wait.
        threads: CPU threads of its session; None for the site's `THREADS`.
        timeout_ms: Longest run of the graph, in milliseconds; None for no limit.
        columns: How its columns are logged, by name; beyond `LOG_COLUMNS`.
        record: Dotted path of the mapping made by `from_instance`; empty where there is none.
        permission: A permission of the site, `app.codename`, without which nobody sees this model
            in the admin or asks for it over HTTP; empty for no further one.
    """

    name: str
    ref: Ref
    fallback: float | None = None
    load: Load = "lazy"
    threads: int | None = None
    timeout_ms: float | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    record: str = ""
    permission: str = ""

    def settings(self, site: Settings) -> Settings:
        """Return the library's settings for this model, from those of the *site*."""
        columns = {**site.log_columns, **self.columns}
        threads = site.threads if self.threads is None else self.threads
        if (threads, columns) == (site.threads, site.log_columns):
            return site
        return dataclasses.replace(site, threads=threads, log_columns=columns)


def read_models(setting: Any, problems: list[Problem]) -> dict[str, Declared]:
    """Read `MLEMBED['MODELS']`: a dict, or a list of the dicts of several apps."""
    if not isinstance(setting, (Mapping, list, tuple)) or not any(parts_of(setting)):
        hint = 'Declare each model the site uses: "MODELS": {"payments": "payments@champion"}.'
        problems.append(Problem("setting", "MLEMBED['MODELS'] declares no model.", hint))
        return {}
    if isinstance(setting, (list, tuple)) and len(parts_of(setting)) < len(setting):
        message = "MLEMBED['MODELS'] is a list, and not each of it is a dict."
        problems.append(Problem("setting", message, "Give one dict of models an app."))
    models = {}
    seen: set[str] = set()
    for part in parts_of(setting):
        for name, entry in part.items():
            if str(name) in seen:
                problems.append(_twice(str(name)))
            seen.add(str(name))
            declared = _read_model(str(name), entry, problems)
            if declared is not None:
                models[str(name)] = declared
    return models


def parts_of(setting: Any) -> tuple[Mapping[Any, Any], ...]:
    """Return the dicts that `MLEMBED['MODELS']` is made of; what is none is left out."""
    parts = setting if isinstance(setting, (list, tuple)) else (setting,)
    return tuple(part for part in parts if isinstance(part, Mapping))


def _twice(name: str) -> Problem:
    return Problem(
        "twice",
        f"MLEMBED['MODELS'] declares '{name}' twice, in two of its dicts.",
        "Rename one: apps that share a model declare it once.",
    )


def _read_model(name: str, entry: Any, problems: list[Problem]) -> Declared | None:
    place = f"MLEMBED['MODELS']['{name}']"
    if isinstance(entry, str):
        entry = {"REF": entry}
    if not isinstance(entry, Mapping):
        hint = 'Give "name@alias" or {"REF": "name@alias", "FALLBACK": 0.0}.'
        problems.append(Problem("setting", f"{place} is a {type(entry).__name__}.", hint))
        return None
    before = len(problems)
    read = Reader(place, entry, _KEYS, problems)
    fallback = entry.get("FALLBACK")
    if not _is_fallback(fallback):
        hint = "Leave FALLBACK out to let failures raise."
        read.note(f"{place}['FALLBACK'] must be a finite number.", hint)
    ref = _read_ref(place, entry.get("REF"), problems)
    threads = read.whole("THREADS", 1, 1, _MOST_THREADS) if "THREADS" in entry else None
    timeout = None
    if entry.get("TIMEOUT_MS") is not None:
        timeout = read.number("TIMEOUT_MS", _MOST_MS, _LEAST_MS, _MOST_MS)
    load = cast("Load", read.choice("LOAD", ("lazy", "worker_start")))
    columns = _read_columns(read, entry.get("COLUMNS"))
    record, permission = read.path("RECORD"), read.path("PERMISSION")
    if len(problems) > before or ref is None:
        return None
    return Declared(
        name=name,
        ref=ref,
        fallback=None if fallback is None else float(fallback),
        load=load,
        threads=threads,
        timeout_ms=timeout,
        columns=columns,
        record=record,
        permission=permission,
    )


def _read_columns(read: Reader, value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, Mapping) and {*value.values()} <= {*LOG_MODES}:
        return {str(name): mode for name, mode in value.items()}
    hint = f"Give each column one of {', '.join(LOG_MODES)}: {{'email': 'drop'}}."
    read.note(f"{read.place}['COLUMNS'] must be a dict of columns and modes.", hint)
    return {}


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


def _is_fallback(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
