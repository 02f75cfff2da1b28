"""Write a batch of predictions and outcomes wherever they belong, on the writer's thread.

The local log, the counts against the reference and the host's OpenTelemetry fail apart: what one
of them refuses is counted as lost there, and kept in the others.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mlembed.telemetry.events import Entry, outcome_record
from mlembed.telemetry.lines import in_lines, log_line, prediction_records, slot_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mlembed.telemetry.block import Slots
    from mlembed.telemetry.bridge import HostTelemetry
    from mlembed.telemetry.events import Call, Outcome
    from mlembed.telemetry.otlpjson import AttributeValue, Records
    from mlembed.telemetry.source import Source
    from mlembed.telemetry.store import Store

    Lose = Callable[[str, int, Exception], None]

_TALLIED = 2048  # rows counted together

T = TypeVar("T")
R = TypeVar("R")


class Writer:
    """Writes what the recorder took.

    Args:
        store: The local log.
        bridge: The host's OpenTelemetry.
        lose: Is told where records are lost, how many, and why.
    """

    def __init__(self, store: Store, bridge: HostTelemetry, lose: Lose) -> None:
        self._store = store
        self._bridge = bridge
        self._lose = lose
        self._untallied: dict[Source, list[Call]] = {}

    def write(
        self,
        calls: Mapping[Source, list[Call]],
        outcomes: Sequence[Outcome],
        dropped: Mapping[str, int],
    ) -> None:
        """Write predictions, by their source, and outcomes; tell the host what was dropped."""
        entries: list[Entry] = []
        for source, some in calls.items():
            entries += self._write_calls(source, some)
        by_model: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            by_model.setdefault(outcome.model, []).append(outcome)
        for model, told in by_model.items():
            self._store_lines(model, self._each(outcome_record, told, "record"), {}, {})
        if self._bridge.found:
            self._each(self._bridge.log_prediction, entries, "otel")
            self._each(self._bridge.log_outcome, outcomes, "otel")
            try:
                self._bridge.count(entries, outcomes, dropped)
            except Exception as error:  # noqa: BLE001  a log must never end its writer
                self._lose("otel", 1, error)

    def write_slots(
        self, source: Source, parts: Sequence[Slots], dropped: Mapping[str, int]
    ) -> None:
        """Write plain predictions of *source* that wait in blocks."""
        if source.is_raw and not self._bridge.found:
            try:
                records = [slot_records(slots) for slots in parts]
            except Exception:  # noqa: BLE001  one by one, none is lost for another
                records = []
            if records:
                self._store_lines(source.name, records, source.scope, {source.layout: source})
                self._tally_slots(source, parts)
                return
        calls = list(itertools.chain.from_iterable(slots.calls() for slots in parts))
        self.write({source: calls}, (), dropped)

    def _tally_slots(self, source: Source, parts: Sequence[Slots]) -> None:
        if source.tally is None:
            return
        try:
            rows = np.concatenate([slots.rows for slots in parts])
            source.tally.add(rows[:, :-1], rows[:, -1])
        except Exception as error:  # noqa: BLE001  a log must never end its writer
            self._lose("record", 0, error)

    def settle(self) -> None:
        """Count what was written since the last time."""
        for source, calls in self._untallied.items():
            try:
                _tally(source, calls)
            except Exception as error:  # noqa: BLE001  a log must never end its writer
                self._lose("record", 0, error)
        self._untallied.clear()

    def _write_calls(self, source: Source, calls: list[Call]) -> list[Entry]:
        """Write *calls* into the local log; return them for the host's OpenTelemetry, if it has any.

        The local log comes first: what hangs in the host's exporters is in it already.
        """
        entries: list[Entry] = []
        if self._bridge.found:
            entries = [self._traced(Entry(*call)) for call in calls]
            calls = [tuple(entry) for entry in entries]
        try:
            records = prediction_records(source, calls)
        except Exception:  # noqa: BLE001  one of them; the others are not lost for it
            some = self._each(lambda call: prediction_records(source, (call,)), calls, "record")
            records = list(itertools.chain.from_iterable(some))
        self._store_lines(source.name, records, source.scope, {source.layout: source})
        if source.tally is not None:
            waiting = self._untallied.setdefault(source, [])
            waiting += calls
            if len(waiting) >= _TALLIED:
                self.settle()
        return entries

    def _store_lines(
        self,
        model: str,
        records: Sequence[Records],
        scope: Mapping[str, AttributeValue],
        described: Mapping[str, Source],
    ) -> None:
        for some in in_lines(records):
            heads = {
                layout: (lambda source=source: _head(source))
                for layout, source in described.items()
            }
            try:
                self._store.write(model, log_line(some, scope), heads)
            except Exception as error:  # noqa: BLE001  a log must never end its writer
                self._lose("store", sum(part.n for part in some), error)

    def _traced(self, entry: Entry) -> Entry:
        try:
            return self._bridge.trace(entry)
        except Exception as error:  # noqa: BLE001  the local log is written whatever the host does
            self._lose("otel", 1, error)
            return entry

    def _each(self, function: Callable[[T], R], items: Iterable[T], place: str) -> list[R]:
        """Return what *function* makes of each item; one that fails spoils no other."""
        results = []
        for item in items:
            try:
                results.append(function(item))
            except Exception as error:  # noqa: BLE001  idem
                self._lose(place, 1, error)
        return results


def _head(source: Source) -> bytes:
    return log_line([source.description(time.time_ns())], source.scope)


def _tally(source: Source, calls: Sequence[Call]) -> None:
    """Count the rows of *calls* in the bins of the reference, each for as many as it stands for."""
    tally = source.tally
    if tally is None:
        return
    rows, scores, others = [], [], []
    for call in calls:
        row = call[8]
        if type(row) is bytes and call[11] == 1.0:
            rows.append(row)
            scores.append(call[4])
        elif row is not None:
            others.append(Entry(*call))
    if rows:
        matrix = np.frombuffer(b"".join(rows)).reshape(len(rows), -1)
        tally.add(matrix, np.array(scores))
    for entry in others:
        answers = np.atleast_1d(np.asarray(entry.score, dtype=np.float64))
        tally.add(source.matrix(entry), answers, round(1 / entry.rate))
