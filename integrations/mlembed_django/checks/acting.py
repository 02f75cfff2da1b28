"""Whether rules can act: they name what there is, and their destinations can be made."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from django.core.checks import Error as CheckError

from mlembed.errors import MlembedError, first_line
from mlembed_django.checks.paths import findable, imported
from mlembed_django.declaration import nearest
from mlembed_django.declaration.secrets import revealed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.core.checks import CheckMessage

    from mlembed_crm.rules import Rule
    from mlembed_django.declaration import Declaration, Place

_PLACE = "MLEMBED['ACTIONS']"


def look(declaration: Declaration) -> Iterator[CheckMessage]:
    """E004, E007 and E008: the rules, and where destinations come from."""
    if declaration.actions:
        declared = declaration.actions
        found, message = declared, None
        if isinstance(declared, str):
            found, message = imported(declared, _PLACE)
        if message is not None:
            yield message
        else:
            yield from _rules(found, declaration)
    if isinstance(declaration.outcomes, str) and declaration.outcomes:
        _, message = imported(declaration.outcomes, "MLEMBED['OUTCOMES']")
        if message is not None:
            yield message
    for place in declaration.destinations.values():
        message = findable(place.adapter, f"{_named(place)}['ADAPTER']")
        if message is not None:
            yield message


def look_at_arguments(declaration: Declaration) -> Iterator[CheckMessage]:
    """E009: an adapter does not take what the site gives it. It is made, and sends nothing."""
    for place in declaration.destinations.values():
        adapter, message = imported(place.adapter, f"{_named(place)}['ADAPTER']")
        why = "" if message is not None else _refusal(adapter, place)
        if message is not None:
            yield message
        elif why:
            yield CheckError(
                f"{_named(place)}: {place.adapter} does not take its arguments: {why}.",
                hint=f"It takes {_signature(adapter)}, written in capitals.",
                id="mlembed.E009",
            )


def _rules(found: Any, declaration: Declaration) -> Iterator[CheckMessage]:
    from mlembed_crm.rules import Rule

    if not isinstance(found, (list, tuple)) or not all(isinstance(rule, Rule) for rule in found):
        yield CheckError(
            f"{_PLACE}: {_shown(declaration)} is no list of rules.",
            hint="Write RULES = [mlembed_crm.Rule(...), ...] there.",
            id="mlembed.E007",
        )
        return
    names = [rule.name for rule in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield CheckError(
            f"{_PLACE}: {names.count(name)} rules are called '{name}'.",
            hint="Rename one: what a rule has done is remembered under its name.",
            id="mlembed.E007",
        )
    yield from _strangers(found, declaration)


def _shown(declaration: Declaration) -> str:
    declared = declaration.actions
    return f"'{declared}'" if isinstance(declared, str) else "what it holds"


def _strangers(rules: Sequence[Rule], declaration: Declaration) -> Iterator[CheckMessage]:
    """Tell of what rules name and the site does not."""
    by_ref = {declared.ref.name: name for name, declared in declaration.models.items()}
    for rule in rules:
        if rule.model not in by_ref:
            hint = nearest(rule.model, by_ref)
            if rule.model in declaration.models:
                ref = declaration.models[rule.model].ref
                hint = f"A rule names a model as the registry does: write '{ref.name}'."
            yield CheckError(
                f"{_PLACE}: the rule '{rule.name}' is for the model '{rule.model}', which "
                "MLEMBED['MODELS'] does not declare, so it never acts.",
                hint=hint,
                id="mlembed.E008",
            )
        if rule.destination not in declaration.destinations:
            known = declaration.destinations
            hint = "Declare it in MLEMBED['DESTINATIONS']."
            yield CheckError(
                f"{_PLACE}: the rule '{rule.name}' sends to '{rule.destination}', which "
                "MLEMBED['DESTINATIONS'] does not declare, so its actions wait for ever.",
                hint=f"{hint} {nearest(rule.destination, known)}" if known else hint,
                id="mlembed.E008",
            )


def _refusal(adapter: Any, place: Place) -> str:
    """Make the destination; return why it cannot be made, or an empty text."""
    try:
        inspect.signature(adapter).bind(**place.options)
    except (TypeError, ValueError) as error:
        return first_line(error)
    try:
        adapter(**{name: _plain(value, name, place) for name, value in place.options.items()})
    except MlembedError as error:
        return first_line(error).rstrip(".")
    except Exception as error:  # noqa: BLE001  its message may hold a secret
        return f"it raised {type(error).__name__}"
    return ""


def _plain(value: Any, name: str, place: Place) -> Any:
    return (
        revealed(value, f"{_named(place)}['{name.upper()}']") if isinstance(value, str) else value
    )


def _signature(adapter: Any) -> str:
    try:
        return ", ".join(inspect.signature(adapter).parameters)
    except (TypeError, ValueError):
        return "other arguments"


def _named(place: Place) -> str:
    return f"MLEMBED['DESTINATIONS']['{place.name}']"
