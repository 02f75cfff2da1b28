"""`mlembed predict`: answer for one record or for a file, without a line of Python."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.cli.inspect import find_bundle
from mlembed.cli.options import RegistryOption, quiet_settings
from mlembed.cli.output import say, show_json
from mlembed.errors import DataError
from mlembed.serving.model import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from mlembed.serving.batch import Batch


def predict(
    ref: Annotated[str, typer.Argument(help="name@alias or name@version.")],
    record: Annotated[str, typer.Argument(help="A record as JSON; - reads it from input.")] = "",
    data: Annotated[str, typer.Option(help="CSV or Parquet file of many records.")] = "",
    output: Annotated[
        Path | None, typer.Option(help="CSV file for the answers; standard output by default.")
    ] = None,
    registry: RegistryOption = "",
) -> None:
    """Answer for one record, as JSON, or for every row of a file, as CSV.

    Nothing is written to the prediction log: this is a look, not traffic.
    """
    from mlembed.training.dataset import read_columns

    if bool(record) == bool(data):
        raise DataError("give one record as JSON, or a file with --data")
    settings = quiet_settings(registry)
    model = load(ref, settings=settings)
    if record:
        text = sys.stdin.read() if record == "-" else record
        show_json(model.predict(_parse(text)).to_json())
        return
    batch = model.predict_batch(read_columns(data, find_bundle(ref, registry).manifest.columns))
    if output is None:
        _write(sys.stdout, batch)
    else:
        with output.open("w", newline="", encoding="utf-8") as file:
            _write(file, batch)
        say(f"{len(batch):,} answers of {batch.model}@{batch.version} in {output}")


def _parse(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError as error:
        raise DataError(f"the record is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError('the record is no JSON object; expected {"column": value, ...}')
    return record


def _write(file: TextIO, batch: Batch) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("score", "label", "reason", "version"))
    writer.writerows(_rows(batch))


def _rows(batch: Batch) -> Iterator[tuple[Any, ...]]:
    for score, label, reason in zip(
        batch.scores.tolist(), batch.labels, batch.reasons, strict=True
    ):
        yield repr(score), "" if label is None else str(label).lower(), reason, batch.version
