"""Hold a candidate against what serves now, on the rows that the candidate is measured on.

Where the two cannot be compared, or the champion may have seen the rows, a note says so: a
difference is never shown for more than it is.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

from mlembed.bundle.manifest import MODEL
from mlembed.errors import SchemaError
from mlembed.monitoring.multiclass import aligned
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns
from mlembed.training.evaluation.contrast import contrast

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.manifest import Manifest
    from mlembed.training.dataset import Dataset
    from mlembed.training.evaluation.rows import Rows
    from mlembed.training.trainer import Trainer


def scores_by(bundle: Bundle, table: Dataset) -> NDArray[np.float64]:
    """Return the scores of *bundle* for the rows of *table*.

    Returns:
        `(n_records,)`; `(n_records, n_classes)` where there are more than two classes.

    Raises:
        SchemaError: If it reads columns that the table does not have, or takes other values.
    """
    manifest = bundle.manifest
    encoder = Encoder(manifest.title, manifest.columns)
    given = {name: table.columns[name] for name in encoder.names if name in table.columns}
    matrix, _ = encode_columns(encoder, given)
    return Session(bundle.files[MODEL]).run_matrix(matrix)


def against(
    champion: Bundle, trainer: Trainer, rows: Rows, table: Dataset, *, since: str | None = None
) -> dict[str, Any]:
    """Compare a candidate with the *champion*, in plain JSON types.

    Args:
        champion: What serves now.
        trainer: The declaration of the candidate, with the threshold that was chosen.
        rows: The rows held out, with the candidate's scores.
        table: The same rows, as the champion may read them.
        since: The earliest moment of these rows, where they are held out by time.

    Returns:
        What `contrast` does; or a `note` alone, where the two cannot be compared. A note as well
        where the champion was trained on data as late as these rows, so that it looks better than
        it is; where no time tells whether it was; or where there are too few rows for an interval.
    """
    manifest = champion.manifest
    told = {"title": manifest.title, "metric": trainer.metric}
    note = _other_question(manifest, trainer)
    if note:
        return told | {"note": note}
    missing = [column.name for column in manifest.columns if column.name not in table.columns]
    if missing:
        named = ", ".join(f"'{name}'" for name in missing)
        return told | {"note": f"{manifest.title} reads {named}, which this table does not have"}
    try:
        scores = scores_by(champion, table)
    except SchemaError as error:
        problems = "; ".join(error.problems)
        return told | {
            "note": f"{manifest.title} does not take the values of this table: {problems}"
        }
    if rows.classes:
        scores = aligned(scores, manifest.task.classes, rows.classes)
    found = contrast(
        rows,
        scores,
        trainer.metric,
        trainer.label.threshold,
        title=manifest.title,
        champion_threshold=manifest.task.threshold,
        seed=trainer.seed,
    )
    notes = "; ".join(_notes(found, manifest, since))
    return found | ({"note": notes} if notes else {})


def _other_question(manifest: Manifest, trainer: Trainer) -> str:
    """Say why the champion's score means something else; nothing where it means the same."""
    task, label = manifest.task, trainer.label
    if manifest.inputs:
        return f"{manifest.title} takes tensors, not the columns of a table"
    asked: list[tuple[str, object, object]] = [
        ("kind of label", task.kind, label.kind),
        ("label", task.label, label.column),
    ]
    if label.kind == "binary":
        asked.append(("positive class", task.positive, str(label.classes[0])))
    if label.kind == "regression":
        asked.append(("unit", task.unit, label.unit))
    for what, then, now in asked:
        if then and now and then != now:
            return f"{manifest.title} answers another question: its {what} is {then}, here {now}"
    return ""


def _notes(found: dict[str, Any], manifest: Manifest, since: str | None) -> Iterator[str]:
    """Say what a reader of the difference must know: it is unknown, or the champion is flattered."""
    if "low" not in found:
        yield f"{found['n']:,} rows are too few, or too much alike, to tell the two apart"
    until = manifest.training.get("data_until")
    if since is None:
        yield (
            f"these rows are not held out by time: {manifest.title} may have been trained on some "
            "of them, and look better than it is"
        )
    if since and isinstance(until, str) and _place(until) >= _place(since):
        yield (
            f"{manifest.title} was trained on data until {until}, and these rows begin at {since}: "
            "it has seen some of them, and looks better than it is"
        )


def _place(moment: str) -> float:
    """Return what sorts a moment among others as `moment_text` writes them; NaN for other text."""
    for read in (float, lambda text: dt.datetime.fromisoformat(text).timestamp()):
        try:
            return read(moment)
        except (ValueError, OverflowError):
            continue
    return math.nan
