"""The declared rules by which a raw table becomes a clean one.

Cleaning is data, never code: it can be repeated on the next table, and it is the same for a CSV
file, a Parquet file and a frame.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from mlembed.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MISSING_WORDS = ("", "?", "NA", "N/A", "n/a", "NULL", "null", "NaN", "nan", "None", "<NA>")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cleaning:
    """How cells are read and which rows are set aside.

    Attributes:
        trim: Whether white space around text is dropped.
        missing: Texts that stand for a missing value, compared after trimming, in exact case.
        unique: Columns that together name a row; of rows with the same key one is kept.
        keep: Which row of a key is kept, the `first` or the `last` in the table.
        timezone: Zone of times that carry none, as in the IANA database.
        rename: Field of the record by header of the table, such as `{"hours-per-week": "hours"}`;
            headers that the table does not have are ignored.
        encoding: How the bytes of CSV and JSON files are text, by Python's name, such as `cp1252`.
    """

    trim: bool = True
    missing: Sequence[str] = MISSING_WORDS
    unique: Sequence[str] = ()
    keep: Literal["first", "last"] = "first"
    timezone: str = "UTC"
    rename: Mapping[str, str] = dataclasses.field(default_factory=dict)
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        for name in ("missing", "unique"):
            if isinstance(getattr(self, name), str):
                raise DeclarationError(f"Cleaning({name}=...): expected several texts, got one")
        if self.keep not in ("first", "last"):
            raise DeclarationError("Cleaning(keep=...): expected 'first' or 'last'")
        try:
            "".encode(self.encoding)
        except LookupError as error:
            raise DeclarationError(
                f"Cleaning(encoding={self.encoding!r}): no such encoding; expected a name such as "
                "'utf-8' or 'cp1252'"
            ) from error
