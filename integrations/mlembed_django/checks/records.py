"""Whether the site's rows fit the models that are asked about them, and no two models are mixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.checks import Error as CheckError
from django.core.checks import Warning as CheckWarning

from mlembed_django.checks.paths import imported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.core.checks import CheckMessage

    from mlembed_django.declaration import Declaration, Declared


def look(declaration: Declaration) -> Iterator[CheckMessage]:
    """E004 and E005: a `RECORD` is not as it should be. E006 and W003: two models are mixed up."""
    mapped: dict[str, Any] = {}
    for declared in declaration.models.values():
        if not declared.record:
            continue
        place = f"MLEMBED['MODELS']['{declared.name}']['RECORD']"
        mapping, message = imported(declared.record, place)
        if message is not None:
            yield message
            continue
        yield from _misfits(mapping, place)
        mapped[declared.name] = mapped_model(mapping)
    yield from _mixed(declaration.models, mapped)
    yield from _repeated(declaration.models)


def mapped_model(mapping: Any) -> Any:
    """Return the Django model that *mapping* maps; None where there is none."""
    try:
        return mapping.model
    except (AttributeError, LookupError):  # told as what is wrong with RECORD
        return None


def _misfits(mapping: Any, place: str) -> Iterator[CheckMessage]:
    from mlembed_django.instances import InstanceMapping

    if not isinstance(mapping, InstanceMapping):
        yield CheckError(
            f"{place} names a {type(mapping).__name__}, expected a mapping.",
            hint="Make one with mlembed_django.instances.from_instance(...).",
            id="mlembed.E005",
        )
        return
    for problem in mapping.problems():
        yield CheckError(
            f"{place}: {str(problem).rstrip('.')}.",
            hint="Change the arguments of from_instance, or the record.",
            id="mlembed.E005",
        )


def _mixed(models: Mapping[str, Declared], mapped: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Tell of rows of two tables that one model would take for the same entities."""
    first: dict[str, str] = {}
    for name, row in mapped.items():
        ref = models[name].ref
        other = first.setdefault(ref.name, name)
        if row is None or mapped[other] in (None, row):
            continue
        yield CheckError(
            f"MLEMBED['MODELS'] maps {_label(mapped[other])} ('{other}') and {_label(row)} "
            f"('{name}') onto one model, '{ref.name}': rows with the same primary key would be one "
            "entity to its outcomes and rules.",
            hint="Publish it under a second name for one of them, or give RECORD to one alone and "
            "predict on records, with keys of your own, for the other.",
            id="mlembed.E006",
        )


def _repeated(models: Mapping[str, Declared]) -> Iterator[CheckMessage]:
    first: dict[str, str] = {}
    for name, declared in models.items():
        other = first.setdefault(str(declared.ref), name)
        if other != name:
            yield CheckWarning(
                f"MLEMBED['MODELS'] declares {declared.ref} twice, as '{other}' and '{name}': each "
                "process would hold it twice, and its rules act for both.",
                hint=f"Use '{other}' in both places, or silence mlembed.W003 if they differ on "
                "purpose.",
                id="mlembed.W003",
            )


def _label(model: Any) -> str:
    return getattr(getattr(model, "_meta", None), "label", str(model))
