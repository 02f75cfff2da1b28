"""`mlembed registry`: what is published, what serves, and moving what serves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.cli import shipping
from mlembed.cli.options import JsonOption, ReasonOption, RegistryOption, alias_of, registry_of
from mlembed.cli.output import say, show_json, show_table
from mlembed.errors import SettingsError
from mlembed.registry.issue import Issuer
from mlembed.registry.pointer import Ref, parse_ref

if TYPE_CHECKING:
    from mlembed.bundle.trust import Trust
    from mlembed.registry.pointer import Entry, Pointer
    from mlembed.registry.registry import Registry

app = typer.Typer(no_args_is_help=True, help="Publish, list, promote, copy and clean up models.")
for _command in (shipping.push, shipping.pull, shipping.mirror, shipping.gc):
    app.command()(_command)

ByOption = Annotated[
    str,
    typer.Option("--by", help="Who moves it; user@host by default.", show_default=False),
]
DaysOption = Annotated[
    float | None,
    typer.Option(
        "--days",
        help="Days until hosts call it stale, 0 for never; 90 by default where it is signed.",
        show_default=False,
    ),
]


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
        rows = ({**item, "aliases": ", ".join(item["aliases"])} for item in found)
        show_table(head, ([row[key] for key in head] for row in rows))


@app.command("show")
def show(
    ref: Annotated[str, typer.Argument(help="name@alias or name@version.")],
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show what a reference points at: since when, by whom, how large, and who signed it."""
    store, parsed = registry_of(registry), parse_ref(ref)
    entry = store.entry(parsed.name, parsed.selector) if parsed.is_alias else None
    target = entry.pointer.target if entry is not None else store.resolve(parsed)
    manifest, signature = store.manifest(target), store.signature(target)
    found: dict[str, Any] = {
        "model": str(parsed),
        "version": target.version,
        "bundle_id": target.bundle_id,
        "bytes": sum(file.size for file in manifest.files),
        "created": manifest.created,
        "signed": bool(signature),
        "pointer": None if entry is None else _told(entry, None, store.trust),
        "registry": str(store),
    }
    if as_json:
        show_json(found)
        return
    pointer = found.pop("pointer") or {}
    names = {"serial": "serial", "issued": "since", "expires": "valid until", "action": "by way of"}
    names |= {"by": "moved by", "reason": "because", "signed": "alias signed by"}
    rows = [(key.replace("signed", "bundle signed"), _plain(found[key])) for key in found]
    rows += [(name, _plain(pointer[key])) for key, name in names.items() if key in pointer]
    show_table(("", ""), rows)
    say(f"\nTo see what it takes: mlembed inspect {ref}; to judge who signed: mlembed verify {ref}")


@app.command("log")
def log(
    ref: Annotated[str, typer.Argument(help="name@alias")],
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show every move of an alias, the newest last: who, when, from what to what, and why."""
    store = registry_of(registry)
    entries = store.entries(*alias_of(ref))
    before = [None, *(entry.pointer for entry in entries)]
    history = [
        _told(entry, last, store.trust) for entry, last in zip(entries, before, strict=False)
    ]
    if as_json:
        show_json(history)
        return
    if entries[0].pointer.serial > 1:
        say(f"What was before serial {entries[0].pointer.serial} is not in the log any more.\n")
    head = ("serial", "issued", "action", "from", "version", "by", "signed", "reason")
    rows = ([_plain(item[key]) for key in head] for item in history)
    show_table(("serial", "issued", "action", "from", "to", "by", "signed", "reason"), rows)


@app.command("promote")
def promote(
    ref: Annotated[str, typer.Argument(help="name@version, or name@alias such as challenger.")],
    alias: Annotated[str, typer.Argument(help="Alias to move.")] = "champion",
    reason: ReasonOption = "",
    by: ByOption = "",
    days: DaysOption = None,
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Point an alias at a version; running hosts follow by themselves."""
    store = _issuing(registry, by, days)
    target = store.resolve(parse_ref(ref))
    _moved(store.promote(target.name, alias, target.version, reason), as_json=as_json)


@app.command("rollback")
def rollback(
    ref: Annotated[str, typer.Argument(help="name@alias")],
    reason: ReasonOption = "",
    by: ByOption = "",
    days: DaysOption = None,
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Point an alias back at the version it meant before."""
    _moved(_issuing(registry, by, days).rollback(*alias_of(ref), reason), as_json=as_json)


@app.command("renew")
def renew(
    ref: Annotated[str, typer.Argument(help="name@alias")],
    reason: ReasonOption = "",
    by: ByOption = "",
    days: DaysOption = None,
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Issue an alias's pointer again before it expires; it goes on meaning what it means."""
    _moved(_issuing(registry, by, days).renew(*alias_of(ref), reason), as_json=as_json)


def _issuing(registry: str, by: str, days: float | None) -> Registry:
    store = registry_of(registry)
    if days is not None and not days >= 0:
        raise SettingsError("--days takes 0 for never, or a number of days")
    store.issuer = dataclasses.replace(store.issuer or Issuer(), by=by, days=days)
    return store


def _list(store: Registry, name: str) -> list[dict[str, Any]]:
    pointing: dict[str, list[str]] = {}
    for alias in store.aliases(name):
        pointing.setdefault(store.pointer(name, alias).version, []).append(alias)
    rows = []
    for version in reversed(store.versions(name)):
        manifest = store.manifest(store.resolve(Ref(name, version)))
        metric = str(manifest.training.get("metric", ""))
        rows.append(
            {
                "model": name,
                "version": version,
                "aliases": sorted(pointing.get(version, [])),
                "created": manifest.created,
                "metric": metric,
                "value": manifest.metrics.get(metric),
            }
        )
    return rows


def _told(entry: Entry, last: Pointer | None, trust: Trust) -> dict[str, Any]:
    """Return what is known of a move: with trusted keys who signed it, else who it says did."""
    claimed = [key_id for key_id, _ in entry.envelope.signatures]
    verified = sorted(entry.envelope.signed_by(trust.keys)) if trust.keys else None
    return {
        **dataclasses.asdict(entry.pointer),
        "from": None if last is None else last.version,
        "signed": claimed if verified is None else verified,
        "verified": verified is not None,
    }


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(key_id[:12] for key_id in value) or "no"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _moved(pointer: Pointer, *, as_json: bool) -> None:
    if as_json:
        show_json(dataclasses.asdict(pointer))
        return
    until = f", until {pointer.expires}" if pointer.expires else ""
    say(f"{pointer.name}@{pointer.alias} now means {pointer.version}{until}")
