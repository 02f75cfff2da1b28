"""Hold columns of text as codes, so that ten million rows of a category are no ten million texts.

Whoever asks for a column still gets an array of texts, made for the moment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, eq=False)
class Texts:
    """A column of texts.

    Attributes:
        codes: For each row the place of its text, `(n_records,)`; -1 where it is missing.
        texts: The different texts, `(n_texts,)`; some may stand in no row.
    """

    codes: NDArray[np.int32]
    texts: NDArray[Any]

    def __len__(self) -> int:
        return len(self.codes)

    def array(self) -> NDArray[Any]:
        """Return the texts, `(n_records,)`; None where one is missing."""
        known = np.empty(len(self.texts) + 1, dtype=object)
        known[:-1], known[-1] = self.texts, None  # code -1 is the last place
        return known[self.codes]

    def counts(self) -> NDArray[np.intp]:
        """Return how many rows hold each text, `(n_texts,)`."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.texts))

    def __getitem__(self, indices: NDArray[np.intp] | slice) -> Texts:
        """Return the column of the rows at *indices*, `(n_taken,)`."""
        return Texts(self.codes[indices], self.texts)


class Columns(Mapping[str, "NDArray[Any]"]):
    """Columns by name: an array each, or texts that become an array when they are asked for.

    Args:
        held: The columns, all of one length.
    """

    def __init__(self, held: Mapping[str, NDArray[Any] | Texts]) -> None:
        self._held = dict(held)

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]]) -> Columns:
        """Return *columns* as such."""
        return columns if isinstance(columns, cls) else cls(columns)

    def __getitem__(self, name: str) -> NDArray[Any]:
        held = self._held[name]
        return held.array() if isinstance(held, Texts) else held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def held(self, name: str) -> NDArray[Any] | Texts:
        """Return the column *name* as it is held."""
        return self._held[name]

    def take(self, indices: NDArray[np.intp]) -> Columns:
        """Return the columns of the rows at *indices*, `(n_taken,)`."""
        return Columns({name: held[indices] for name, held in self._held.items()})
