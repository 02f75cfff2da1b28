"""The bundle behind a prediction, as the log names it, and the layout of the rows it logs.

A row is logged as it was encoded: one double a column, then the score. What the columns mean is
written into each file once, so a log can be read without the bundle.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import struct
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.telemetry.otlpjson import log_record, whole_text
from mlembed.telemetry.redaction import Redaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.bundle.task import Interval
    from mlembed.columns import Column
    from mlembed.telemetry.events import Entry
    from mlembed.telemetry.otlpjson import AttributeValue, Records
    from mlembed.telemetry.tally import Tally

BUNDLE = "mlembed.bundle"
ROWS, SCORES, COLUMNS = "rows.v1", "scores.v1", "columns.v1"
LABEL = "(label)"  # no identifier, so no column can have this name
_ENTRY_BYTES = 512  # of a waiting entry beside its row: the tuple, its numbers and the id
_DOUBLE = 8


def _undecided(_score: float) -> tuple[None, str]:
    return None, "ok"


class Source:
    """A loaded bundle, as events name it.

    Args:
        name: Name of the model.
        version: Its version.
        digest: The bundle's id.
        columns: Columns of its row.
        log_features: Whether events hold the features.
        redaction: How each column is logged; raw by default.
        tally: Counts what it answers in the bins of the bundle's reference, or None.
        decide: Returns the label and the reason of a score.

    Attributes:
        interval: Where the truth lies around a score, or None.
        layout: Names the layout of the logged rows, by its content.
        scope: Attributes that hold for all its events.
        entry_bytes: Bound of the memory one waiting entry takes.
        pack: Writes row, score, Unix time and latency into a slot of a `Block`.
        slot_bytes: Size of such a slot.
    """

    def __init__(
        self,
        name: str,
        version: str,
        digest: str,
        columns: Sequence[Column],
        *,
        log_features: bool,
        redaction: Redaction | None = None,
        tally: Tally | None = None,
        decide: Callable[[float], tuple[bool | str | None, str]] = _undecided,
    ) -> None:
        self.name = name
        self.version = version
        self.digest = digest
        self.tally = tally
        self.decide = decide
        self.interval: Interval | None = None
        self.n_columns = len(columns)
        self.entry_bytes = _ENTRY_BYTES + _DOUBLE * self.n_columns
        self._redaction = redaction or Redaction(columns)
        kept = self._redaction.columns if log_features else ()
        self.log_features = bool(kept)
        self.is_raw = self.log_features and self._redaction.is_raw
        described = {
            "byteorder": sys.byteorder,
            "columns": [_described(column, mode) for column, mode in kept],
        }
        self._description = json.dumps(described, separators=(",", ":"))
        self.layout = hashlib.sha256(self._description.encode()).hexdigest()[:16]
        self.scope: dict[str, AttributeValue] = {
            "mlembed.model.name": name,
            "mlembed.model.version": version,
            "mlembed.model.digest": digest,
            "mlembed.payload.encoding": ROWS,
            "mlembed.payload.layout": self.layout,
        }
        slot = struct.Struct(f"={_DOUBLE * self.n_columns}sdqq")
        self.pack, self.slot_bytes = slot.pack_into, slot.size

    def description(self, time_ns: int) -> Records:
        """Return the record that says what the columns of the logged rows are."""
        return log_record(BUNDLE, time_ns, {}, self._description, None)

    def attributes(self, entry: Entry) -> dict[str, AttributeValue]:
        """Return the attributes of a prediction's event, those of the scope left out."""
        values: dict[str, AttributeValue] = {
            "mlembed.prediction.id": entry.id,
            "mlembed.latency": entry.latency_ns / 1e9,
        }
        if entry.reason != "ok":
            values["mlembed.prediction.reason"] = entry.reason
        if isinstance(entry.score, np.ndarray):
            values["mlembed.prediction.count"] = len(entry.score)
        elif (score := _finite(entry.score)) is not None:
            values["mlembed.prediction.score"] = score
        if entry.rate != 1.0:
            values["mlembed.sampling.rate"] = entry.rate
        if entry.key is not None:
            values["mlembed.prediction.key"] = whole_text(str(entry.key))
        if entry.error:
            values["error.type"] = entry.error.partition(":")[0]
        return values

    def unknown(self, given: Mapping[str, Any] | None) -> dict[str, str]:
        """Return the attribute with the values outside their vocabulary that may be logged.

        Args:
            given: `Entry.unknown`.
        """
        texts = {
            name: cells if isinstance(cells, dict) else {0: cells}
            for name, cells in (given or {}).items()
            if name in self._redaction.raw
        }
        if not (texts and self.log_features):
            return {}
        whole = {
            name: {str(row): whole_text(text) for row, text in cells.items()}
            for name, cells in texts.items()
            if cells
        }
        return {"mlembed.payload.unknown": json.dumps(whole)} if whole else {}

    def rows(self, entry: Entry) -> bytes | None:
        """Return the logged rows of *entry*, the score behind each; None where there is none."""
        if entry.row is None and not isinstance(entry.score, np.ndarray):
            return None
        scores = np.atleast_1d(np.asarray(entry.score, dtype=np.float64))
        if entry.row is None:
            return scores.tobytes()
        if not self.log_features:
            return scores.tobytes()
        matrix = self._redaction.apply(self.matrix(entry), entry.unknown or {})
        return np.column_stack([matrix, scores]).tobytes()

    def matrix(self, entry: Entry) -> NDArray[np.float64]:
        """Return the encoded rows of *entry*, `(n_records, n_columns)`."""
        if isinstance(entry.row, bytes):
            return np.frombuffer(entry.row).reshape(1, self.n_columns)
        return np.asarray(entry.row, dtype=np.float64).reshape(-1, self.n_columns)

    def body(self, entry: Entry, *, features: bool) -> str:
        """Return the payload for people and collectors: JSON of columns.

        Features stand under `f`, one list a column, and scores under `y`.
        """
        answers = self._answers(entry)
        answer = f'"y":{json.dumps(answers, separators=(",", ":"))}'
        if not features or entry.row is None:
            return f"{{{answer}}}"
        return f'{{"f":{{{self._features(entry)}}},{answer}}}'

    def _answers(self, entry: Entry) -> dict[str, Any]:
        scores = entry.score.tolist() if isinstance(entry.score, np.ndarray) else [entry.score]
        return {"score": list(map(_finite, scores))}

    def _features(self, entry: Entry) -> str:
        unknown = entry.unknown or {}
        strange = {n: c if isinstance(c, dict) else {0: c} for n, c in unknown.items()}
        matrix = self._redaction.apply(self.matrix(entry), unknown)
        parts = []
        for i, (quoted, name, write) in enumerate(self._writers):
            if name == LABEL:  # it stands beside the score
                continue
            cells: list[Any] = matrix[:, i].tolist()
            if write is _hashed:
                cells = matrix[:, i].view(np.uint64).tolist()
            written = [write(cell) for cell in cells]
            if name in self._redaction.raw:
                for row, value in strange.get(name, {}).items():
                    written[row] = json.dumps(whole_text(value))
            parts.append(f"{quoted}:[{','.join(written)}]")
        return ",".join(parts)

    @functools.cached_property
    def _writers(self) -> list[tuple[str, str, Any]]:
        """The name of each logged column, quoted and plain, and what writes its cells as JSON."""
        writers: list[tuple[str, str, Any]] = []
        for column, mode in self._redaction.columns:
            texts = _texts(column) if mode == "raw" else {}
            write: Any = functools.partial(_text, texts) if texts else _number
            writers.append(
                (json.dumps(column.name), column.name, _hashed if mode == "hash" else write)
            )
        return writers


def unknown_source(name: str) -> Source:
    """Return the source of an answer that no version of *name* could give."""
    return Source(name, "", "", (), log_features=False)


def _described(column: Column, mode: str) -> dict[str, Any]:
    described: dict[str, Any] = {"name": column.name, "kind": column.kind}
    if column.kind == "category" and mode == "raw":
        described["vocabulary"] = list(column.vocabulary)
    return described if mode == "raw" else described | {"log": mode}


def _texts(column: Column) -> dict[float, str]:
    """Return the JSON of every coded value; empty for a column of plain numbers."""
    if column.kind == "boolean":
        return {0.0: "false", 1.0: "true"}
    return {float(code): json.dumps(value) for code, value in enumerate(column.vocabulary)}


def _text(texts: Mapping[float, str], cell: float) -> str:
    return texts.get(cell, "null")  # an unknown value stands beside the row, not in it


def _hashed(cell: int) -> str:
    return f'"{cell:016x}"'


def _number(value: Any) -> str:
    number = _finite(value)
    return "null" if number is None else repr(number)


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
