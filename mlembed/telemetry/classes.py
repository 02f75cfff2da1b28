"""What the log says of a prediction of several classes: the row, the label and the score.

The label cannot be told from the score, so it is logged: as one more category behind the row's
columns, under a name that no column can have. All that is known of rows holds for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.columns import Column
from mlembed.telemetry.source import LABEL, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.telemetry.events import Entry

_DOUBLE = 8


def label_column(classes: Sequence[str]) -> Column:
    """Return the column that stands for the label behind those of a row; its codes are places."""
    return Column(name=LABEL, kind="category", vocabulary=tuple(classes), declared=True)


class ClassSource(Source):
    """A loaded bundle of several classes, as events name it.

    Args:
        name: Name of the model.
        version: Its version.
        digest: The bundle's id.
        columns: Columns of its row, and behind them that of the label.
        options: As for `Source`.

    Attributes:
        classes: The classes, in the order of their codes.
    """

    def __init__(
        self, name: str, version: str, digest: str, columns: Sequence[Column], **options: Any
    ) -> None:
        super().__init__(name, version, digest, columns, **options)
        self.classes = columns[-1].vocabulary

    def labels(self, entry: Entry) -> list[str]:
        """Return the most probable class of each record of *entry*; nothing for a fallback."""
        if entry.row is None:
            return []
        return [self.classes[code] for code in self.matrix(entry)[:, -1].astype(np.intp).tolist()]

    def _answers(self, entry: Entry) -> dict[str, Any]:
        labels = self.labels(entry)
        return super()._answers(entry) | ({"label": labels} if labels else {})
