"""`mlembed pack`: from an ONNX file made elsewhere to a published bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.cli.options import JsonOption, ReasonOption, RegistryOption
from mlembed.cli.output import say, show_json, show_table
from mlembed.cli.publishing import Destination, tell

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle


def pack(
    model: Annotated[Path, typer.Argument(help="ONNX file; its external data may lie beside it.")],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    version: Annotated[
        str, typer.Option(help="major.minor.patch; the registry's next by default.")
    ] = "",
    registry: RegistryOption = "",
    alias: Annotated[str, typer.Option(help="Alias to set on the new version.")] = "",
    output: Annotated[
        Path | None,
        typer.Option(help="Also write the bundle into this new directory or .mlb file."),
    ] = None,
    example: Annotated[
        Path | None, typer.Option(help="Inputs to prove it on: .npz or .json; made up by default.")
    ] = None,
    score: Annotated[
        str, typer.Option(metavar="OUTPUT[:INDEX]", help="The number that is the score.")
    ] = "",
    description: Annotated[str, typer.Option(help="What the model is for.")] = "",
    tolerance: Annotated[
        float | None, typer.Option(help="Relative difference allowed on other machines.")
    ] = None,
    reason: ReasonOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do all but publish.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Pack and publish an ONNX model made elsewhere, with the tensors that it takes and gives.

    The graph is run on an example, and what it makes of it is replayed before every start.
    """
    from mlembed.training import pack as make
    from mlembed.training.examples import read_examples

    destination = Destination(name, registry, alias, output, dry_run=dry_run)
    bundle = make(
        model,
        name=name,
        version=version or destination.next_version or "1.0.0",
        examples=read_examples(example) if example is not None else (),
        score=score,
        description=description,
        tolerance=tolerance,
    )
    result = _described(bundle) | destination.publish(bundle, reason or f"packed {model.name}")
    if as_json:
        show_json(result)
    else:
        _show(bundle, result)


def _described(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "model": manifest.name,
        "version": manifest.version,
        "bundle_id": bundle.id,
        "inputs": [tensor.to_json() for tensor in manifest.inputs],
        "outputs": [tensor.to_json() for tensor in manifest.outputs],
        "score": manifest.task.label or None,
    }


def _show(bundle: Bundle, result: dict[str, Any]) -> None:
    manifest = bundle.manifest
    say(f"{manifest.title}  {bundle.id}")
    show_table(
        ("", "name", "tensor"),
        [("takes", tensor.name, tensor.text) for tensor in manifest.inputs]
        + [("gives", tensor.name, tensor.text) for tensor in manifest.outputs],
    )
    say(f"proved on {manifest.training['golden calls']} inputs; {_scored(manifest.task.label)}")
    tell(result)


def _scored(score: str) -> str:
    return f"the score is {score}" if score else "no score: name one with --score OUTPUT[:INDEX]"
