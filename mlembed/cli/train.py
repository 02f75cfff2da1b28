"""`mlembed train`: from a table to a published, proven bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.cli.options import JsonOption, ReasonOption, RegistryOption
from mlembed.cli.output import progress, say, show_json, show_table
from mlembed.cli.publishing import Destination, tell

if TYPE_CHECKING:
    from mlembed.training.candidate import Candidate


def train(
    file: Annotated[str, typer.Argument(help="Python file that declares a Trainer; FILE:NAME.")],
    data: Annotated[str, typer.Option(help="CSV or Parquet file to train on.")],
    test: Annotated[str, typer.Option(help="A table of its own to measure on.")] = "",
    registry: RegistryOption = "",
    alias: Annotated[str, typer.Option(help="Alias to set on the new version.")] = "",
    output: Annotated[
        Path | None,
        typer.Option(help="Also write the bundle into this new directory or .mlb file."),
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
    destination = Destination(trainer.name, registry, alias, output, dry_run=dry_run)
    candidate = trainer.train(
        data,
        test=test or None,
        version=destination.next_version,
        rejects=rejects,
        progress=progress(),
    )
    result = candidate.to_json() | {"rejects": str(rejects) if rejects else None}
    why = reason or f"trained, {trainer.metric} {candidate.metrics[trainer.metric]:.4f}"
    result |= destination.publish(candidate.bundle, why)
    if as_json:
        show_json(result)
    else:
        _show(candidate, result)


def _show(candidate: Candidate, result: dict[str, Any]) -> None:
    proof = candidate.proof
    say(f"{result['model']}@{result['version']}: {result['estimator']}")
    show_table(("metric", "held-out"), result["metrics"].items())
    say(f"{candidate.n_train:,} rows trained on, {candidate.n_test:,} measured on")
    for why, count in sorted(candidate.rejected.items(), key=lambda item: -item[1]):
        say(f"{count:,} rows set aside: {why}")
    say(f"proof: {proof.n_rows:,} rows, graph and estimator agree to {proof.max_abs_error:.1e}")
    tell(result)
