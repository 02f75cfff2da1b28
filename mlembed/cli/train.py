"""`mlembed train`: from a table to a published, proven bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.bundle.bundle import write_directory
from mlembed.cli.options import JsonOption, ReasonOption, RegistryOption, registry_of
from mlembed.cli.output import progress, say, show_json, show_table
from mlembed.errors import SettingsError
from mlembed.registry.pointer import parse_ref

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry
    from mlembed.training.candidate import Candidate


def train(
    file: Annotated[str, typer.Argument(help="Python file that declares a Trainer; FILE:NAME.")],
    data: Annotated[str, typer.Option(help="CSV or Parquet file to train on.")],
    test: Annotated[str, typer.Option(help="A table of its own to measure on.")] = "",
    registry: RegistryOption = "",
    alias: Annotated[str, typer.Option(help="Alias to set on the new version.")] = "",
    output: Annotated[
        Path | None, typer.Option(help="Also write the bundle into this new directory.")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="CSV file for rows that break a rule, with the reason.")
    ] = None,
    reason: ReasonOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do all but publish.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train, prove and publish a model."""
    from mlembed.cli.declaration import load_trainer

    trainer = load_trainer(file)
    store = _store(registry, output, dry_run=dry_run)
    if store is not None and not dry_run:
        store.require_writable(trainer.name)
    elif alias and not dry_run:
        raise SettingsError("--alias needs a registry: give --registry or MLEMBED_REGISTRY")
    if alias and not parse_ref(f"{trainer.name}@{alias}").is_alias:
        raise SettingsError("--alias takes a word such as 'champion', not a version")
    candidate = trainer.train(
        data,
        test=test or None,
        version=store.next_version(trainer.name) if store is not None else "",
        rejects=rejects,
        progress=progress(),
    )
    result = candidate.to_json() | {"rejects": str(rejects) if rejects else None}
    if output is not None and not dry_run:
        write_directory(candidate.bundle, output)
        result["output"] = str(output)
    if store is not None and not dry_run:
        store.publish(candidate.bundle)
        result["registry"] = str(store)
        if alias:
            manifest = candidate.bundle.manifest
            why = reason or f"trained, {trainer.metric} {candidate.metrics[trainer.metric]:.4f}"
            store.promote(manifest.name, alias, manifest.version, why)
            result["alias"] = alias
    if as_json:
        show_json(result)
    else:
        _show(candidate, result)


def _store(registry: str, output: Path | None, *, dry_run: bool) -> FileRegistry | None:
    try:
        return registry_of(registry)
    except SettingsError:
        if registry or not (output or dry_run):
            raise
        return None


def _show(candidate: Candidate, result: dict[str, Any]) -> None:
    proof = candidate.proof
    say(f"{result['model']}@{result['version']}: {result['estimator']}")
    show_table(("metric", "held-out"), result["metrics"].items())
    say(f"{candidate.n_train:,} rows trained on, {candidate.n_test:,} measured on")
    for why, count in sorted(candidate.rejected.items(), key=lambda item: -item[1]):
        say(f"{count:,} rows set aside: {why}")
    say(f"proof: {proof.n_rows:,} rows, graph and estimator agree to {proof.max_abs_error:.1e}")
    if "output" in result:
        say(f"written to {result['output']}")
    if "registry" not in result:
        say("nothing was published")
    else:
        set_to = f"; {result['alias']} now means {result['version']}" if "alias" in result else ""
        say(f"published to {result['registry']}{set_to}")
