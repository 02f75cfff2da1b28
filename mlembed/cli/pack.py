"""`mlembed pack`: from an ONNX file made elsewhere to a published bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.bundle.bundle import write_directory
from mlembed.cli.options import JsonOption, ReasonOption, RegistryOption, registry_of
from mlembed.cli.output import say, show_json, show_table
from mlembed.errors import SettingsError
from mlembed.registry.pointer import parse_ref

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.file import FileRegistry


def pack(
    model: Annotated[Path, typer.Argument(help="ONNX file; its external data may lie beside it.")],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    version: Annotated[
        str, typer.Option(help="major.minor.patch; the registry's next by default.")
    ] = "",
    registry: RegistryOption = "",
    alias: Annotated[str, typer.Option(help="Alias to set on the new version.")] = "",
    output: Annotated[
        Path | None, typer.Option(help="Also write the bundle into this new directory.")
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

    store = _store(registry, output, dry_run=dry_run)
    if store is not None and not dry_run:
        store.require_writable(name)
    elif alias and not dry_run:
        raise SettingsError("--alias needs a registry: give --registry or MLEMBED_REGISTRY")
    if alias and not parse_ref(f"{name}@{alias}").is_alias:
        raise SettingsError("--alias takes a word such as 'champion', not a version")
    bundle = make(
        model,
        name=name,
        version=version or (store.next_version(name) if store is not None else "1.0.0"),
        examples=read_examples(example) if example is not None else (),
        score=score,
        description=description,
        tolerance=tolerance,
    )
    result = _publish(bundle, store, output, alias, reason or f"packed {model.name}", dry_run)
    if as_json:
        show_json(result)
    else:
        _show(bundle, result)


def _store(registry: str, output: Path | None, *, dry_run: bool) -> FileRegistry | None:
    try:
        return registry_of(registry)
    except SettingsError:
        if registry or not (output or dry_run):
            raise
        return None


def _publish(
    bundle: Bundle,
    store: FileRegistry | None,
    output: Path | None,
    alias: str,
    reason: str,
    dry_run: bool,  # noqa: FBT001  as the command has it
) -> dict[str, Any]:
    manifest = bundle.manifest
    result: dict[str, Any] = {
        "model": manifest.name,
        "version": manifest.version,
        "bundle_id": bundle.id,
        "inputs": [tensor.to_json() for tensor in manifest.inputs],
        "outputs": [tensor.to_json() for tensor in manifest.outputs],
        "score": manifest.task.label or None,
    }
    if dry_run:
        return result
    if output is not None:
        write_directory(bundle, output)
        result["output"] = str(output)
    if store is not None:
        store.publish(bundle)
        result["registry"] = str(store)
        if alias:
            store.promote(manifest.name, alias, manifest.version, reason)
            result["alias"] = alias
    return result


def _show(bundle: Bundle, result: dict[str, Any]) -> None:
    manifest = bundle.manifest
    say(f"{manifest.title}  {bundle.id}")
    show_table(
        ("", "name", "tensor"),
        [("takes", tensor.name, tensor.text) for tensor in manifest.inputs]
        + [("gives", tensor.name, tensor.text) for tensor in manifest.outputs],
    )
    say(f"proved on {manifest.training['golden calls']} inputs; {_scored(manifest.task.label)}")
    if "output" in result:
        say(f"written to {result['output']}")
    if "registry" not in result:
        say("nothing was published")
    else:
        set_to = f"; {result['alias']} now means {result['version']}" if "alias" in result else ""
        say(f"published to {result['registry']}{set_to}")


def _scored(score: str) -> str:
    return f"the score is {score}" if score else "no score: name one with --score OUTPUT[:INDEX]"
