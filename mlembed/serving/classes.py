"""Bring a bundle of several classes into service: its graph gives a probability for each of them.

It stands where a version with one score would, so replacement, forks and limits are the same; the
label cannot be told from the score, so it is found here, and logged behind the row.
"""

from __future__ import annotations

import dataclasses
import threading
import time
import types
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import InferenceError
from mlembed.serving import hooks
from mlembed.serving.batch import lot
from mlembed.serving.loading import Rows, Served, source_of
from mlembed.serving.probabilities import ClassBatch, ClassPrediction
from mlembed.telemetry.classes import ClassSource, label_column
from mlembed.telemetry.events import SHORT_KEY, text_bytes
from mlembed.telemetry.ids import SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from mlembed.serving.breaker import Breaker
    from mlembed.serving.prediction import Answer, Prediction
    from mlembed.serving.probabilities import Probabilities
    from mlembed.serving.session import Row
    from mlembed.settings import Settings
    from mlembed.telemetry.events import Call
    from mlembed.telemetry.intake import Lot
    from mlembed.telemetry.recorder import Recorder

_FEW = 48  # classes up to which a list is faster than an array
_NONE: Any = types.SimpleNamespace(free=())  # no row is ever free for who does not ask this version
_perf_ns = time.perf_counter_ns


class ClassServed(Served):
    """One version whose graph gives a probability for each class, in service.

    Args:
        bundle: The verified bundle.
        serving: How it is served.

    Raises:
        BundleError: If the graph cannot be loaded or does not fit the manifest.
        GoldenError: If it does not reproduce its golden rows on this machine.
        SettingsError: If the settings log a column in a way that there is not.
    """

    source: ClassSource
    answers_itself = True

    def _load(self, settings: Settings) -> None:
        super()._load(settings)
        self._ones = np.ones(len(self.source.classes))
        self._is_wide = len(self._ones) > _FEW

    def _source(self, settings: Settings) -> ClassSource:
        task = self.manifest.task
        if not settings.log_features:
            # The label is logged where no feature is.
            dropped = {column.name: "drop" for column in self.manifest.columns}
            settings = dataclasses.replace(settings, log_features=True, log_columns=dropped)
        beside = [label_column(task.classes)]
        return source_of(ClassSource, self._bundle, settings, self.decide, beside)

    def begin_in_child(self) -> None:
        """Forget, in a forked child, the rows that the parent bound."""
        self.rows, self.own_rows = _NONE, Rows()

    def new_row(self) -> Row:
        """Return a new row for the calling thread, with room for the label behind it."""
        self._runners.add(threading.get_ident())
        return self.session.row(self._timeout_seconds, 1)

    def predict(  # noqa: C901, PLR0912  as `Model.predict`, and for the same reason
        self,
        record: Any,
        key: str | None,
        moments: tuple[int, int],
        breaker: Breaker,
        recorder: Recorder | None,
    ) -> Prediction:
        """Answer for one record; see `AnswersItself`.

        Raises:
            SchemaError: If the record does not fit.
            InferenceError: If the graph gives what is no finite number.
        """
        free = self.own_rows.free
        row = free.pop() if free else self.new_row()
        try:
            cells = row.cells
            if type(record) is dict:
                unknown = self.encode_dict(record, cells)
            else:
                unknown = self.encode(record, cells)
            row.run()
            probabilities: Probabilities
            if self._is_wide:
                probabilities, code, score, total = self._wide(row)
            else:
                probabilities = row.scores.tolist()
                score, total = max(probabilities), sum(probabilities)
                code = probabilities.index(score)
            if total - total != 0.0:  # NaN, or without end
                raise InferenceError(
                    f"{self.manifest.title} gave no finite number; look at the record"
                )
            row.beside[0] = code
        except Exception:
            free.append(row)
            raise
        time_ns, start = moments
        latency = _perf_ns() - start
        if breaker.failed:
            breaker.succeed()
        source, block = self.source, row.block
        reason = "ok" if self.band is None else source.decide(score)[1]
        slot = block.n
        if slot >= block.room and recorder is not None:
            block = recorder.next_block(row, source)
            slot = block.n
        is_short = key is None or len(key) <= SHORT_KEY
        if slot < block.room and is_short and reason == "ok":
            if key is not None:
                block.keys[slot] = key
            if unknown is not None and recorder is not None:
                recorder.hold_words(block, slot, unknown)
            source.pack(block.cells, slot * source.slot_bytes, cells, score, time_ns, latency)
            block.n = slot + 1
            call = (source, time_ns, block.first + slot, latency, score, reason, "", key)
        else:
            call = (source, time_ns, SEQUENCE.next(), latency, score, reason, "", key)
            if recorder is not None:
                _leave(recorder, call, bytes(cells), unknown)
        free.append(row)
        answer = ClassPrediction(call, probabilities)
        if hooks.subscribed:
            hooks.notify(answer)
        return answer

    def _wide(self, row: Row) -> tuple[NDArray[np.float64], int, float, float]:
        """Return the probabilities of many classes, place and value of the top one, and the sum."""
        values = np.array(row.scores)
        code = int(values.argmax())
        return values, code, values.item(code), float(values.dot(self._ones))

    def predict_batch(
        self, data: Any, moments: tuple[int, int], breaker: Breaker, recorder: Recorder | None
    ) -> ClassBatch:
        """Answer for many records; see `AnswersItself`.

        Raises:
            SchemaError: If the table does not fit.
            InferenceError: If the graph gives what is no finite number.
        """
        scored, source = self.score_columns(data), self.source
        probabilities = scored.scores.reshape(-1, len(source.classes))
        codes = probabilities.argmax(axis=1)
        scores = np.take_along_axis(probabilities, codes[:, None], axis=1)[:, 0]
        latency = _perf_ns() - moments[1]
        if breaker.failed:
            breaker.succeed()
        batch = ClassBatch(scores, self.decide, source.name, source.version, moments[0])
        batch.classes, batch.codes, batch.probabilities = source.classes, codes, probabilities
        if recorder is not None:
            logged = lot(source, batch, scored.matrix, scored.unknown, latency)
            recorder.append_batch(_with_labels(logged, codes.copy()))
        return batch


def _leave(
    recorder: Recorder, call: Answer, cells: bytes, unknown: Mapping[str, str] | None
) -> None:
    """Leave a prediction that is not plain to be logged."""
    span = recorder.bridge.current_span() if recorder.bridge.traces else None
    whole: Any = (*call, cells, unknown, span, 1.0)
    key = call[7]
    if unknown is None and (key is None or len(key) <= SHORT_KEY):
        recorder.append(whole)
    else:
        recorder.press(whole, text_bytes(whole))


def _with_labels(logged: Lot, codes: NDArray[np.intp]) -> Lot:
    """Return *logged* with the code of the label behind each row."""

    def calls() -> Iterator[Call]:
        start = 0
        for call in logged.calls:
            stop = start + len(call[4])
            rows = np.column_stack([call[8], codes[start:stop]])
            yield (*call[:8], rows, *call[9:])
            start = stop

    return logged._replace(calls=calls(), n_bytes=logged.n_bytes + codes.nbytes)
