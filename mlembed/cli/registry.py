"""`mlembed registry`: what is published, what serves, and moving what serves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.cli.options import JsonOption, ReasonOption, RegistryOption, registry_of
from mlembed.cli.output import say, show_json, show_table
from mlembed.errors import SettingsError
from mlembed.registry.pointer import Ref, parse_ref

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry
    from mlembed.registry.pointer import Pointer

app = typer.Typer(no_args_is_help=True, help="List, promote and roll back published models.")


@app.command("ls")
def ls(
    name: Annotated[str, typer.Argument(help="One model; all of them by default.")] = "",
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """List models, their versions and the aliases that point at them."""
    store = registry_of(registry)
    if name and not store.versions(name):
        store.resolve(Ref(name))
    found = [item for model in ([name] if name else store.models()) for item in _list(store, model)]
    if as_json:
        show_json(found)
    elif not found:
        say(f"{store} holds no models; publish one with mlembed train --registry")
    else:
        head = ("model", "version", "aliases", "created", "metric", "value")
        show_table(head, ([item[key] for key in head] for item in found))


@app.command("log")
def log(
    ref: Annotated[str, typer.Argument(help="name@alias")],
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show every move of an alias, the newest last."""
    alias = _alias(ref)
    history = [dataclasses.asdict(item) for item in registry_of(registry).history(*alias)]
    if as_json:
        show_json(history)
    else:
        head = ("serial", "issued", "action", "version", "reason")
        show_table(head, ([item[key] for key in head] for item in history))


@app.command("promote")
def promote(
    ref: Annotated[str, typer.Argument(help="name@version, or name@alias such as challenger.")],
    alias: Annotated[str, typer.Argument(help="Alias to move.")] = "champion",
    reason: ReasonOption = "",
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Point an alias at a version; running hosts follow by themselves."""
    store = registry_of(registry)
    target = store.resolve(parse_ref(ref))
    _told(store.promote(target.name, alias, target.version, reason), as_json=as_json)


@app.command("rollback")
def rollback(
    ref: Annotated[str, typer.Argument(help="name@alias")],
    reason: ReasonOption = "",
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Point an alias back at the version it meant before."""
    _told(registry_of(registry).rollback(*_alias(ref), reason), as_json=as_json)


def _alias(text: str) -> tuple[str, str]:
    ref = parse_ref(text)
    if not ref.is_alias:
        raise SettingsError(f"{text} is a version; expected an alias, such as {ref.name}@champion")
    return ref.name, ref.selector


def _list(store: FileRegistry, name: str) -> list[dict[str, Any]]:
    pointing: dict[str, list[str]] = {}
    for alias in store.aliases(name):
        pointing.setdefault(store.pointer(name, alias).version, []).append(alias)
    rows = []
    for version in reversed(store.versions(name)):
        manifest = store.fetch(store.resolve(Ref(name, version))).manifest
        metric = str(manifest.training.get("metric", ""))
        rows.append(
            {
                "model": name,
                "version": version,
                "aliases": ", ".join(pointing.get(version, [])),
                "created": manifest.created,
                "metric": metric,
                "value": manifest.metrics.get(metric),
            }
        )
    return rows


def _told(pointer: Pointer, *, as_json: bool) -> None:
    if as_json:
        show_json(dataclasses.asdict(pointer))
    else:
        say(f"{pointer.name}@{pointer.alias} now means {pointer.version}")
