"""`mlembed train`: from a table to a published, proven bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.cli.inspect import find_bundle
from mlembed.cli.interruption import traced
from mlembed.cli.options import JsonOption, ReasonOption, RegistryOption
from mlembed.cli.output import progress, say, show_json, show_table, warn
from mlembed.cli.publishing import Destination, tell
from mlembed.errors import SettingsError

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.training.candidate import Candidate
    from mlembed.training.verifying import Verification

NOT_THE_SAME = 1
_LEAKS = {
    "dropped": "the model was trained without it",
    "warned": "leave it out, or declare Leakage(action='drop'), unless the host knows it in time",
}


def train(
    file: Annotated[str, typer.Argument(help="Python file that declares a Trainer; FILE:NAME.")],
    data: Annotated[
        str,
        typer.Option(help="CSV, JSON or Parquet file or URL; by default what the Trainer names."),
    ] = "",
    test: Annotated[str, typer.Option(help="A table of its own to measure on.")] = "",
    registry: RegistryOption = "",
    alias: Annotated[str, typer.Option(help="Alias to set on the new version.")] = "",
    output: Annotated[
        Path | None,
        typer.Option(help="Also write the bundle into this new directory or .mlb file."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML page of the report; written even if a gate fails.")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="CSV file for rows that break a rule, with the reason.")
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            help="Journal of the tuning, to resume and to share; NAME.study.jsonl by default."
        ),
    ] = None,
    against: Annotated[
        str, typer.Option(help="What to compare with: an alias or version of the same model.")
    ] = "champion",
    verify: Annotated[
        str, typer.Option(help="Train this bundle again, publish nothing, and compare.")
    ] = "",
    reason: ReasonOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do all but publish.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train, prove and publish a model.

    Exits 0, 1 (--verify: the bundle could not be made again), 2 (could not run) or 130 (Ctrl-C).
    """
    with traced() as trace:
        from mlembed.cli.declaration import load_trainer

        trainer = load_trainer(file)
        destination = Destination(
            trainer.name, registry, alias, output, dry_run=dry_run or bool(verify)
        )
        original = _original(verify, registry, trainer.name) if verify else None
        # A verification repeats the search; in the study of the first run it would only read it.
        if study is None and trainer.tuning is not None and original is None:
            study = Path(f"{trainer.name}.study.jsonl")
        if study is not None:
            trace.remedy = f"the study {study} goes on when the command is run again"
        candidate = trainer.train(
            data or None,
            test=test or None,
            version=original.manifest.version if original else destination.next_version,
            champion=None if original else destination.current(against),
            report=report,
            rejects=rejects,
            study=study,
            progress=progress(),
        )
        if original is not None:
            from mlembed.training.verifying import verify as compare

            _show_verification(compare(original, candidate.bundle), as_json=as_json)
            return
        result = candidate.to_json() | {"rejects": _named(rejects), "report": _named(report)}
        why = reason or f"trained, {trainer.metric} {candidate.metrics[trainer.metric]:.4f}"
        result |= destination.publish(candidate.bundle, why, trace)
        if as_json:
            show_json(result)
        else:
            _show(candidate, result)


def _original(ref: str, registry: str, name: str) -> Bundle:
    from mlembed.training.verifying import require_trained

    bundle = find_bundle(ref, registry)
    if bundle.manifest.name != name:
        raise SettingsError(f"{bundle.manifest.title} is another model; the Trainer makes '{name}'")
    require_trained(bundle)
    return bundle


def _named(path: Path | None) -> str | None:
    return str(path) if path else None


def _show(candidate: Candidate, result: dict[str, Any]) -> None:
    proof, evaluation = candidate.proof, candidate.evaluation
    say(f"{result['model']}@{result['version']}: {result['estimator']}")
    intervals = evaluation.get("intervals", {})
    show_table(
        ("metric", "held-out", "95 % interval"),
        [
            (name, value, _interval(intervals.get(name)))
            for name, value in candidate.metrics.items()
        ],
    )
    say(f"{candidate.n_train:,} rows trained on, {candidate.n_test:,} measured on")
    for why, count in sorted(candidate.rejected.items(), key=lambda item: -item[1]):
        say(f"{count:,} rows set aside: {why}")
    for check in evaluation["data"]["checks"]:
        if check["status"] != "ok":
            where = f" '{check['column']}'" if check["column"] else ""
            warn(f"check {check['check']}{where}: {check['found']}, allowed {check['allowed']}")
    for leak in evaluation["leakage"]:
        warn(f"'{leak['column']}' {leak['detail']}: {_LEAKS[leak['action']]}")
    for gate in evaluation["gates"]:
        say(f"gate {gate['gate']}: {gate['asked']}, found {gate['found']}")
    say(f"proof: {proof.n_rows:,} rows, graph and estimator agree to {proof.max_abs_error:.1e}")
    if result["report"]:
        say(f"report: {result['report']}")
    tell(result)


def _interval(ends: tuple[float, float] | None) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}" if ends else ""


def _show_verification(found: Verification, *, as_json: bool) -> None:
    if as_json:
        show_json(found.to_json())
    else:
        same = {True: "the same", False: "not the same"}
        say(
            f"{found.title}, trained again: graph {same[found.same_model]} to the byte, golden rows "
            f"{same[found.same_golden]}, meaning of the score {same[found.same_meaning]}"
        )
        for name, (then, now) in found.metrics.items():
            say(f"{name}: {then} then, {now} now")
        if found.evidence:
            say(f"not the same in the evaluation: {', '.join(found.evidence)}")
        for difference in found.differences:
            say(difference)
    if not found.passed:
        raise typer.Exit(NOT_THE_SAME)
