"""Check rules against the destinations that they write to, before anything is sent."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mlembed_crm.destinations import Destination, Field
    from mlembed_crm.rules import Rule
    from mlembed_crm.upsert import Upsert, Value

# What a field of a kind takes, besides its own kind.
_TAKES: Mapping[str, frozenset[str]] = {
    "text": frozenset({"number", "integer", "boolean", "date", "datetime"}),
    "number": frozenset({"integer"}),
}
_TAKES_STRICTLY = {**_TAKES, "text": frozenset({"date", "datetime"})}  # which are sent as texts
# The longest that a source gives.
_LENGTHS: Mapping[Any, int] = {"reason": 8, "prediction_id": 48, "version": 64, "time": 24}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something that a check found.

    Attributes:
        level: `error`: it would not be taken; `warning`: it might not be.
        rule: Name of the rule.
        destination: Name of the destination.
        problem: What is wrong, and what to do.
        field: Name of the field, where it is about one.
    """

    level: Literal["error", "warning"]
    rule: str
    destination: str
    problem: str
    field: str = ""

    def __str__(self) -> str:
        about = f" field '{self.field}'" if self.field else ""
        return f"{self.level}: rule '{self.rule}' -> '{self.destination}'{about}: {self.problem}"


def check(rules: Iterable[Rule], destinations: Mapping[str, Destination]) -> Iterator[Finding]:
    """Yield what is wrong with *rules*; asks each destination that can tell for its fields, once.

    Args:
        rules: Of the host.
        destinations: By the name that rules give.
    """
    known: dict[tuple[str, str], Mapping[str, Field] | DeliveryError] = {}
    for rule in rules:
        name = rule.destination
        if name not in destinations:
            there = ", ".join(sorted(destinations)) or "none"
            yield Finding("error", rule.name, name, f"there is no such destination; it has {there}")
            continue
        describe = getattr(destinations[name], "describe", None)
        if describe is None:
            continue
        if rule.upsert is None:
            problem = "it takes no events; give the rule upsert=Upsert(...)"
            yield Finding("error", rule.name, name, problem)
            continue
        place = (name, rule.upsert.record)
        if place not in known:
            known[place] = _described(describe, rule.upsert.record)
        yield from _fields(rule, rule.upsert, known[place])


def _described(describe: Any, record: str) -> Mapping[str, Field] | DeliveryError:
    try:
        fields: Mapping[str, Field] = describe(record)
    except DeliveryError as error:
        return error
    return fields


def _fields(
    rule: Rule, upsert: Upsert, fields: Mapping[str, Field] | DeliveryError
) -> Iterator[Finding]:
    if isinstance(fields, DeliveryError):
        problem = f"its fields of '{upsert.record}' cannot be read: {fields.reason}"
        yield Finding("error", rule.name, rule.destination, problem)
        return
    about = rule.name, rule.destination
    key = fields.get(upsert.key)
    if key is None:
        yield Finding("error", *about, _missing(upsert.key, fields), upsert.key)
    elif not key.unique:
        problem = "two records may have the same value of it; make it unique there"
        yield Finding("warning", *about, problem, upsert.key)
    for name, value in upsert.fields.items():
        if name not in fields:
            yield Finding("error", *about, _missing(name, fields), name)
            continue
        for level, problem in _value(value, fields[name]):
            yield Finding(level, *about, problem, name)


def _missing(name: str, fields: Mapping[str, Field]) -> str:
    import difflib

    near = difflib.get_close_matches(name, fields, 1)
    return f"there is no such field; is '{near[0]}' meant?" if near else "there is no such field"


def _value(value: Value, field: Field) -> Iterator[tuple[Literal["error", "warning"], str]]:
    if not field.writable:
        yield "error", "it is read-only"
        return
    if field.kind is None:
        yield "error", "it is of a type that no mapping can give"
        return
    takes = _TAKES_STRICTLY if field.strict else _TAKES
    if value.kind != field.kind and value.kind not in takes.get(field.kind, ()):
        yield (
            "error",
            f"it holds a {field.kind} and is given a {value.kind}; say kind='{field.kind}'",
        )
        return
    if field.kind == "text":
        yield from _length(value, field)
    if field.choices:
        yield from _choices(value, field.choices)


def _length(value: Value, field: Field) -> Iterator[tuple[Literal["warning"], str]]:
    if field.max_length is None or value.kind != "text":
        return
    source = value.source if isinstance(value.source, str) else ""
    longest = value.max_length or _LENGTHS.get(source)
    if longest is None or longest > field.max_length:
        problem = (
            f"{field.max_length} characters fit, and a text may be longer; say "
            f"max_length={field.max_length}, truncate=True"
        )
        yield "warning", problem


def _choices(
    value: Value, choices: tuple[str, ...]
) -> Iterator[tuple[Literal["error", "warning"], str]]:
    known = value.words if value.kind == "boolean" or value.source == "label" else ()
    strange = [word for word in known if word not in choices]
    shown = ", ".join(choices[:8])
    if known and strange and value.words != ("true", "false"):
        yield "error", f"it takes one of {shown}, and not {', '.join(strange)}"
    elif not known or strange:
        yield "warning", f"it takes one of {shown} alone"
