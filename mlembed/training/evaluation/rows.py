"""The held-out rows that everything is measured on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from mlembed.errors import DataError
from mlembed.training.evaluation.cuts import check_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.columns import Column

    Floats = NDArray[np.float64]
    Clusters = NDArray[np.integer]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """Held-out rows with their scores.

    Attributes:
        y: Labels, `(n,)`; 0 and 1 for a binary label, places of classes for several.
        scores: Scores of the graph that will serve, `(n,)`; probabilities `(n, n_classes)` of
            several classes.
        columns: The row's columns, vocabularies learnt.
        x: The rows as the graph reads them, `(n, n_columns)`; none where `columns` is empty.
        clusters: Number of each row's entity, `(n,)`, where one is declared.
        entity: Column that names the entity; empty where none is declared.
        classes: The classes, in the order of the probabilities; none for other labels.

    Raises:
        DataError: If there are no rows, arrays differ in length, or a label or score is not
            finite.
    """

    y: Floats
    scores: Floats
    columns: tuple[Column, ...] = ()
    x: Floats = dataclasses.field(default_factory=lambda: np.empty((0, 0)))
    clusters: Clusters | None = None
    entity: str = ""
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_rows(self.y, self.scores)
        if self.scores.shape[1:] != ((len(self.classes),) if self.classes else ()):
            raise DataError(
                f"scores of shape {self.scores.shape} do not fit {len(self.classes)} classes; pass "
                "a probability for each class, or one score a row and no classes"
            )
        if self.classes and not np.isin(self.y, np.arange(len(self.classes))).all():
            raise DataError("labels of several classes are places; pass what Multiclass.of returns")
        if self.columns and self.x.shape != (self.n, len(self.columns)):
            raise DataError(
                f"rows of shape {self.x.shape} do not fit {self.n} labels and "
                f"{len(self.columns)} columns; pass the rows that were scored"
            )
        if self.clusters is not None and len(self.clusters) != self.n:
            raise DataError(
                f"{len(self.clusters)} entities do not fit {self.n} rows; pass one a row"
            )

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.y)

    @property
    def n_clusters(self) -> int:
        """Number of entities; of rows where none is declared."""
        return self.entities_of(np.arange(self.n))

    def entities_of(self, picks: NDArray[np.intp]) -> int:
        """Return the number of entities among the rows *picks*; of rows where none is declared."""
        return len(picks if self.clusters is None else np.unique(self.clusters[picks]))

    def position(self, name: str) -> int:
        """Return where column *name* stands in the row.

        Raises:
            DataError: If the row has no such column.
        """
        names = [column.name for column in self.columns]
        if name not in names:
            raise DataError(f"there is no column '{name}'; expected one of {', '.join(names)}")
        return names.index(name)
