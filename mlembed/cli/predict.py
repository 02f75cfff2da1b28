"""`mlembed predict`: answer for one record or for a file, without a line of Python."""

from __future__ import annotations

import contextlib
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
    from mlembed.training.unlabelled import Unlabelled


def predict(
    ref: Annotated[str, typer.Argument(help="name@alias or name@version.")],
    record: Annotated[str, typer.Argument(help="A record as JSON; - reads it from input.")] = "",
    data: Annotated[
        str, typer.Option(help="CSV or Parquet file of records; .npz or .json of tensors.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option(help="File for the answers; standard output by default.")
    ] = None,
    registry: RegistryOption = "",
) -> None:
    """Answer for one record, as JSON, or for every row of a file, as CSV.

    Where the graph takes tensors the answers are JSON, one a call that the file holds. A row that breaks a rule has no score; its reason says which rule. Nothing is written to the
    prediction log: this is a look, not traffic.
    """
    if bool(record) == bool(data):
        raise DataError("give one record as JSON, or a file with --data")
    model = load(ref, settings=quiet_settings(registry))
    if record:
        text = sys.stdin.read() if record == "-" else record
        show_json(model.predict(_parse(text)).to_json())
        return
    manifest = find_bundle(ref, registry).manifest
    if manifest.inputs:
        from mlembed.training.examples import read_examples

        answers = [model.predict(call).to_json() for call in read_examples(Path(data))]
        if output is None:
            show_json(answers)
        else:
            with _writable(output) as file:
                json.dump(answers, file, indent=2)
            say(f"{len(answers):,} answers of {manifest.title} in {output}")
        return
    from mlembed.training.unlabelled import read_unlabelled

    table = read_unlabelled(data, manifest.columns)
    batch = model.predict_batch(table.columns)
    if output is None:
        _write(sys.stdout, table, batch)
        return
    with _writable(output) as file:
        _write(file, table, batch)
    rejected = f"; {len(table.reasons):,} rows break a rule" if table.reasons else ""
    say(f"{len(batch):,} answers of {batch.model}@{batch.version} in {output}{rejected}")


@contextlib.contextmanager
def _writable(output: Path) -> Iterator[TextIO]:
    try:
        with output.open("w", newline="", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise DataError(
            f"the answers cannot be written to {output} ({error.strerror}): name a file in a "
            "directory that you may write to"
        ) from error


def _parse(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError as error:
        raise DataError(f"the record is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError('the record is no JSON object; expected {"column": value, ...}')
    return record


def _write(file: TextIO, table: Unlabelled, batch: Batch) -> None:
    writer = csv.writer(file, lineterminator="\n")
    ends = () if batch.intervals is None else ("low", "high")
    writer.writerow(("row", "score", *ends, "label", "reason", "version"))
    writer.writerows(_rows(table, batch))


def _rows(table: Unlabelled, batch: Batch) -> Iterator[tuple[Any, ...]]:
    """Yield one line a row of the file, in its order."""
    n_ends = 0 if batch.intervals is None else 2
    ends = [()] * len(batch) if batch.intervals is None else batch.intervals.tolist()
    answers = {
        row: (row, repr(score), *map(repr, some), _word(label), reason, batch.version)
        for row, score, some, label, reason in zip(
            table.rows, batch.scores.tolist(), ends, batch.labels, batch.reasons, strict=True
        )
    }
    rejected = ("",) * (2 + n_ends)
    for row in sorted({*answers, *table.reasons}):
        yield answers.get(row) or (row, *rejected, table.reasons[row], batch.version)


def _word(label: bool | str | None) -> str:  # noqa: FBT001  the label itself
    return "" if label is None else str(label).lower() if isinstance(label, bool) else label
