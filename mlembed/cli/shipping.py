"""Commands of `mlembed registry` that move bundles: push, pull, mirror, gc."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from mlembed.bundle.single import SUFFIX, read_bundle, write_bundle
from mlembed.cli.options import JsonOption, ReasonOption, RegistryOption, registry_of
from mlembed.cli.output import say, show_json, show_table, warn
from mlembed.errors import SettingsError
from mlembed.registry.collecting import collect
from mlembed.registry.mirroring import mirror as mirrored
from mlembed.registry.pointer import parse_ref

_MEGABYTE = 1e6
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".onnx")


def push(
    bundle: Annotated[Path, typer.Argument(help="Bundle directory or .mlb file.")],
    alias: Annotated[str, typer.Option("--alias", help="Alias to point at it.")] = "",
    reason: ReasonOption = "",
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Publish a bundle that was made elsewhere."""
    store, found = registry_of(registry), read_bundle(bundle)
    was_there = store.bundle_id(found.manifest.name, found.manifest.version) == found.id
    target = store.publish(found)
    if alias:
        store.promote(target.name, alias, target.version, reason)
    if as_json:
        told = {"model": target.name, "version": target.version, "bundle_id": target.bundle_id}
        show_json({**told, "alias": alias or None, "was_there": was_there, "registry": str(store)})
    else:
        means = f"; {target.name}@{alias} now means it" if alias else ""
        where = f"was in {store} already" if was_there else f"is published to {store}"
        say(f"{target.name}@{target.version} {where}{means}")


def pull(
    ref: Annotated[str, typer.Argument(help="name@alias or name@version.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", help="New directory or .mlb file; NAME-VERSION.mlb by default."),
    ] = None,
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write a published bundle into a file or directory, its bytes and signature verified."""
    if output is not None and output.suffix in _ARCHIVES:
        raise SettingsError(
            f"--output takes a new directory or a file that ends in {SUFFIX}, which is a zip; "
            f"write {output.with_suffix(SUFFIX)}"
        )
    store = registry_of(registry)
    target = store.resolve(parse_ref(ref))
    bundle = store.fetch(target)
    store.trust.check_bundle(bundle)
    place = output or Path(f"{target.name}-{target.version}.mlb")
    write_bundle(bundle, place)
    if as_json:
        show_json({"output": str(place), "version": target.version, "bundle_id": bundle.id})
    else:
        say(f"{target.name}@{target.version} is in {place}")


def mirror(
    destination: Annotated[str, typer.Argument(help="Registry to copy into.")],
    names: Annotated[list[str] | None, typer.Argument(help="Models; all by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is missing.")] = False,
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Copy models into another registry: versions, signatures, aliases and their history."""
    source = registry_of(registry)
    target = registry_of(destination, home=registry)
    copied = [
        mirrored(
            *(source, target, name),
            dry_run=dry_run,
            told=functools.partial(_copying, name),
        )
        for name in names or source.models()
    ]
    if as_json:
        show_json([item._asdict() for item in copied])
        return
    rows = [
        (
            item.name,
            ", ".join(item.versions) or "none",
            ", ".join(f"{alias} {n}" for alias, n in item.pointers.items()) or "none",
        )
        for item in copied
    ]
    show_table(("model", "missing versions" if dry_run else "copied versions", "moves"), rows)


def gc(
    names: Annotated[list[str] | None, typer.Argument(help="Models; all by default.")] = None,
    keep: Annotated[int, typer.Option("--keep", help="Versions of an alias's past to keep.")] = 5,
    grace_days: Annotated[
        float, typer.Option("--grace-days", help="Age up to which everything stays.")
    ] = 7.0,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove it; without this it is only listed.")
    ] = False,
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """List, or remove, versions that no alias needs and files that no version needs."""
    store = registry_of(registry)
    if names:
        for name in names:
            if not store.versions(name):
                store.resolve(parse_ref(name))
    found = {
        name: collect(store, name, keep=keep, grace_days=grace_days, delete=delete)
        for name in names or store.models()
    }
    if as_json:
        show_json([{"model": name, **item._asdict()} for name, item in found.items()])
        return
    rows = [
        (name, ", ".join(item.versions) or "none", item.n_files, f"{item.n_bytes / _MEGABYTE:.1f}")
        for name, item in found.items()
    ]
    show_table(("model", "versions", "files", "MB"), rows)
    if not delete:
        say("\nNothing was removed; do it with --delete")


def _copying(name: str, version: str) -> None:
    warn(f"copying {name}@{version}")
