"""Put a JSON file, an array of objects or one object after the other, into DuckDB as text.

Cells are read by the rules of text files. A file that is cut short or malformed is refused as a
whole: half a table is no table.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from mlembed.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from mlembed.training.textrows import Row, TextRows

_CHUNK = 1 << 20
_BATCH = 20_000
_MAX_COLUMNS = 5_000
# A literal, a number or an escape that the end of the buffer cuts is reported where it starts.
_NEAR_END = 32
_STARTS = re.compile(rb'(\xef\xbb\xbf)?\s*(\{\s*["}]|\[\s*[{\]])')
_CUT = re.compile(r"[\w\\+.-]*\s*")  # half a literal, a number or an escape, then nothing
_BETWEEN = re.compile(r"[ \t\r\n]*")


def is_json(start: bytes) -> bool:
    """Tell whether a file that begins with *start* is JSON: no line of headers begins so."""
    return _STARTS.match(start) is not None


def stage(rows: TextRows, path: Path, text: TextIO, headers: list[str]) -> set[str]:
    """Append the objects in *text* to *rows*.

    Args:
        rows: The table.
        path: The file, for messages.
        text: Its text, line ends as they are.
        headers: Names of the columns so far; those of new keys are added.

    Returns:
        The columns that hold objects or arrays somewhere.

    Raises:
        DataError: Naming the line, if the text is cut short or no table.
    """
    places = {header: place for place, header in enumerate(headers)}
    nested: set[str] = set()
    batch: list[dict[str, Any]] = []
    for record in _objects(path, text):
        batch.append(record)
        if len(batch) == _BATCH:
            _append(rows, path, batch, places, nested)
            batch = []
    _append(rows, path, batch, places, nested)
    headers[:] = places
    return nested


def _append(
    rows: TextRows,
    path: Path,
    batch: list[dict[str, Any]],
    places: dict[str, int],
    nested: set[str],
) -> None:
    for record in batch:
        for name in record:
            places.setdefault(name, len(places))
    if len(places) > _MAX_COLUMNS:
        raise DataError(
            f"{path} has more than {_MAX_COLUMNS:,} keys; expected objects with the same few: put "
            "what varies into a value"
        )
    rows.widen(len(places))
    rows.extend(_row(record, places, nested) for record in batch)


def _row(record: dict[str, Any], places: dict[str, int], nested: set[str]) -> Row:
    cells: list[str | None] = [None] * len(places)
    for name, value in record.items():
        if isinstance(value, str) or value is None:
            cells[places[name]] = value
        elif isinstance(value, bool):
            cells[places[name]] = "true" if value else "false"
        else:
            nested.add(name)
            cells[places[name]] = json.dumps(value)
    return None, cells


class _TwiceError(ValueError):
    """A key stands twice in one object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _TwiceError
    return found


class _Stream:
    """The values of a text, decoded one at a time; numbers stay as they were written."""

    def __init__(self, path: Path, text: TextIO) -> None:
        self._path, self._text = path, text
        self._buffer, self._at, self._line = "", 0, 1
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_object, parse_int=str, parse_float=str, parse_constant=str
        )

    def more(self) -> bool:
        """Read on; return False at the end of the text."""
        added = self._text.read(max(_CHUNK, len(self._buffer) - self._at))
        if added:
            self._line += self._buffer.count("\n", 0, self._at)
            self._buffer, self._at = self._buffer[self._at :] + added, 0
        return bool(added)

    def peek(self) -> str:
        """Return the next character that is no white space; an empty text at the end."""
        while True:
            match = _BETWEEN.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._buffer) or not self.more():
                return self._buffer[self._at : self._at + 1]

    def skip(self) -> None:
        """Pass the character that was peeked."""
        self._at += 1

    def value(self) -> dict[str, Any]:
        """Return the object that begins here."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated") or (
                    error.pos > len(self._buffer) - _NEAR_END
                )
                if not (is_cut and self.more()):
                    raise self._malformed(error) from None
            except _TwiceError:
                raise self.broken(self._at, "names a key twice in one object") from None
            except RecursionError:
                raise self.broken(self._at, "is nested too deeply") from None
            else:
                if not isinstance(value, dict):
                    raise self.broken(self._at, "is no object, such as {'column': 1}")
                self._at = end
                return value

    def _malformed(self, error: json.JSONDecodeError) -> DataError:
        if error.msg.startswith("Unterminated"):
            return self.broken(len(self._buffer))
        return self.broken(error.pos)

    def broken(self, at: int | None = None, what: str = "") -> DataError:
        """Return the error that names the line of position *at*."""
        where = self._at if at is None else at
        line = self._line + self._buffer.count("\n", 0, where)
        is_cut = _CUT.fullmatch(self._buffer, where) is not None
        what = what or ("ends early" if is_cut else "is malformed")
        return DataError(
            f"{self._path}, line {line:,}: the JSON {what}; expected an array of objects, or an "
            "object a line: write or copy the file again"
        )


def _objects(path: Path, text: TextIO) -> Iterator[dict[str, Any]]:
    stream = _Stream(path, text)
    if stream.peek() != "[":
        while stream.peek():
            yield stream.value()
        return
    stream.skip()
    while stream.peek() != "]":
        yield stream.value()
        if stream.peek() == ",":
            stream.skip()
            if stream.peek() == "]":
                raise stream.broken()
        elif stream.peek() != "]":
            raise stream.broken()
    stream.skip()
    if stream.peek():
        raise stream.broken()
