"""`mlembed retrain`: train a challenger on the log and let it face the champion."""

from __future__ import annotations

from typing import Annotated

import typer

from mlembed.cli.options import JsonOption, LogOption, RegistryOption, log_dir_of, registry_of
from mlembed.cli.output import progress, say, show_json
from mlembed.errors import SettingsError
from mlembed.registry.pointer import parse_ref


def retrain(
    ref: Annotated[str, typer.Argument(help="name, or name@alias of the champion.")],
    trainer: Annotated[str, typer.Option(help="File that declares the Trainer.")] = "train.py",
    registry: RegistryOption = "",
    log_dir: LogOption = None,
    margin: Annotated[float, typer.Option(help="Loss of the metric that is tolerated.")] = 0.0,
    min_rows: Annotated[int, typer.Option(help="Fewest rows to compare on.")] = 300,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do all but publish.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train on logged predictions with known outcomes; promote only what is shown to be better.

    Exits 0 (promoted), 1 (the champion stays) or 2 (could not run).
    """
    from mlembed.cli.declaration import load_trainer
    from mlembed.monitoring.log import read_log
    from mlembed.training.gate import Gate
    from mlembed.training.retraining import retrain as run

    champion = parse_ref(ref)
    declared = load_trainer(trainer)
    if declared.name != champion.name or not champion.is_alias:
        raise SettingsError(
            f"{trainer} declares '{declared.name}' and {champion} is to be replaced; expected "
            "one model and an alias: name the right file with --trainer"
        )
    verdict = run(
        declared,
        registry_of(registry),
        read_log(log_dir_of(log_dir), champion.name),
        alias=champion.selector,
        gate=Gate(margin=margin, min_rows=min_rows),
        dry_run=dry_run,
        progress=progress(),
    )
    if as_json:
        show_json(verdict.to_json())
    else:
        say(verdict.summary())
    raise typer.Exit(0 if verdict.promoted else 1)
