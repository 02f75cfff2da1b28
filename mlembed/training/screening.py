"""Look for columns that know the label, on the training rows alone, and act as was declared.

A column that is dropped stays a field of the record that a host may leave out: no host breaks
because the trainer found a leak.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlembed.columns import is_finite_number
from mlembed.errors import DataError, DeclarationError
from mlembed.training.leakage import find_leaks
from mlembed.training.positions import counts_columns
from mlembed.training.timesplit import TimeSplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.columns import Column
    from mlembed.training.dataset import Dataset
    from mlembed.training.leakage import Leak
    from mlembed.training.trainer import Trainer

ACTIONS = ("warn", "drop", "refuse")
_CLASSES_TRIED = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leakage:
    """What is done about columns that seem to know the label.

    Attributes:
        action: `warn`, `drop` (the model is trained without them), or `refuse` to train.
        auc: ROC AUC (R^2 for a quantity) that no honest column reaches alone.
        purity: Share of one class from which a single value gives the label away.
        absent: Columns that the host will not have when it asks.
        known_at: The column that says when another is known, by the other's name.
    """

    action: Literal["warn", "drop", "refuse"] = "warn"
    auc: float = 0.98
    purity: float = 0.98
    absent: Sequence[str] = ()
    known_at: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise DeclarationError(f"Leakage(action=...): expected one of {', '.join(ACTIONS)}")
        for bound in (self.auc, self.purity):
            if not (is_finite_number(bound) and 0.5 < bound <= 1):  # noqa: PLR2004  chance
                raise DeclarationError("Leakage: auc and purity lie above 0.5 and up to 1")
        if isinstance(self.absent, str) or not isinstance(self.known_at, Mapping):
            raise DeclarationError(
                "Leakage: absent is a list of columns, known_at a column by the other's name"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Screened:
    """What is left to train on.

    Attributes:
        trainer: The declaration, without what was made of the columns that were dropped.
        columns: The record's columns; one that was dropped may be missing.
        leaks: What was found, and whether it was dropped, in plain JSON types.
    """

    trainer: Trainer
    columns: tuple[Column, ...]
    leaks: tuple[dict[str, Any], ...]


def screen(trainer: Trainer, table: Dataset) -> Screened:
    """Look at the training rows *table*.

    Raises:
        DataError: If a leak is found and the declaration refuses it, or nothing would be left.
    """
    declared = trainer.leakage
    used = set(sources_of(trainer))
    columns = [column for column in trainer.columns if column.name in used]
    leaks = _leaks(trainer, columns, table)
    serious = [leak for leak in leaks if not leak.warns_only]
    if serious and declared.action == "refuse":
        listed = "; ".join(f"'{leak.column}': {leak.detail}" for leak in serious)
        raise DataError(
            f"'{trainer.name}' would be trained on columns that seem to know the label: {listed}. "
            "Leave them out of the record, or declare Leakage(action='drop')"
        )
    dropped = {leak.column for leak in serious} if declared.action == "drop" else set()
    told = tuple(
        leak.to_json("dropped" if leak.column in dropped and not leak.warns_only else "warned")
        for leak in leaks
    )
    return Screened(
        trainer=_without(trainer, dropped) if dropped else trainer,
        columns=tuple(
            dataclasses.replace(column, nullable=True) if column.name in dropped else column
            for column in trainer.columns
        ),
        leaks=told,
    )


def _leaks(trainer: Trainer, columns: Sequence[Column], table: Dataset) -> list[Leak]:
    """Find the leaks, each column's once for each kind; of several classes each against the rest."""
    declared = trainer.leakage
    tables = [table]
    if table.kind == "multiclass":
        places = range(min(len(table.classes), _CLASSES_TRIED))
        tables = [
            dataclasses.replace(table, kind="binary", y=(table.y == place).astype(np.float64))
            for place in places
        ]
    found: dict[tuple[str, str], Leak] = {}
    for one in tables:
        for leak in find_leaks(
            columns,
            one,
            label_kind="regression" if one.kind == "regression" else "binary",
            auc=declared.auc,
            purity=declared.purity,
            prediction_time=time_of(trainer),
            known_at=declared.known_at,
            absent=declared.absent,
        ):
            found.setdefault((leak.column, leak.kind), leak)
    return list(found.values())


def sources_of(trainer: Trainer, feature: str = "") -> tuple[str, ...]:
    """Return the record's columns that *feature*, or any feature, is made of, each once."""
    made = {
        name: tuple(item.columns())
        for key, item in trainer.transforms.items()
        for name in item.feature_names(key)
    }
    wanted = (feature,) if feature else trainer.feature_names
    return tuple(dict.fromkeys(source for name in wanted for source in made.get(name, (name,))))


def _without(trainer: Trainer, dropped: set[str]) -> Trainer:
    listed = ", ".join(f"'{name}'" for name in sorted(dropped))
    kept = tuple(
        name for name in trainer.feature_names if not dropped & set(sources_of(trainer, name))
    )
    if not kept:
        raise DataError(
            f"'{trainer.name}': every feature is made of a column that seems to know the label "
            f"({listed}); look at the label, or declare Leakage(action='warn')"
        )
    shifted = [type(item).__name__ for item in trainer.candidates if counts_columns(item)]
    if shifted:
        raise DataError(
            f"'{trainer.name}': {listed} cannot be dropped, because {', '.join(shifted)} counts its "
            "columns, which would then be others; name them, or leave the leak out of the record"
        )
    transforms = {
        name: item for name, item in trainer.transforms.items() if not dropped & {*item.columns()}
    }
    return dataclasses.replace(trainer, features=kept, transforms=transforms)


def time_of(trainer: Trainer) -> str | None:
    """Return the column of the time of each row, where rows are held out by time."""
    split = trainer.held_out_by
    return split.column if isinstance(split, TimeSplit) else None
