"""`mlembed report`: the page that shows how good a model is and how that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlembed.cli.inspect import find_bundle
from mlembed.cli.options import RegistryOption
from mlembed.cli.output import say
from mlembed.errors import BundleError, SettingsError


def report(
    ref: Annotated[
        str, typer.Argument(help="name@alias, name@version, a directory or a .mlb file.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="HTML file to write; NAME-VERSION.html by default.")
    ] = None,
    registry: RegistryOption = "",
) -> None:
    """Write the report of a trained model as one HTML page."""
    from mlembed.monitoring.page import save
    from mlembed.training.report.page import write_report

    bundle = find_bundle(ref, registry)
    manifest = bundle.manifest
    if "evaluation.json" not in bundle.files:
        raise BundleError(
            f"{manifest.title} has no evaluation: it was packed, not trained. Look at it with "
            f"mlembed inspect {ref}"
        )
    path = output or Path(f"{manifest.name}-{manifest.version}.html")
    proof = bundle.json("proof.json") if "proof.json" in bundle.files else {}
    page = write_report(manifest, bundle.json("evaluation.json"), proof)
    try:
        save(page, path)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written ({error.strerror}): name another file with --output"
        ) from error
    say(f"{manifest.title}: {path}")
