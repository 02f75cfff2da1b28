"""The answers of a batch one by one, as rules and rows need them."""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.serving.prediction import Answered, NamedPrediction
from mlembed.telemetry.ids import uuid7
from mlembed_django.sampling import kept_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.serving.batch import Batch
    from mlembed.serving.prediction import Prediction

_EVENT_ROWS = 256  # as `Batch.ids`
_ROW_BYTES = 96


class BatchRows:
    """The answers of *batch* by their place in it, each under the key that the host gave.

    Args:
        batch: The answers; they are copied, as the host may change its own.
        keys: One a record, or None.

    Attributes:
        batch: The copy.
        scores: `(n_records,)`.
    """

    def __init__(self, batch: Batch, keys: Sequence[Any] | None) -> None:
        self.batch = copy.copy(batch)
        self.batch.outputs, self.batch.probabilities = {}, None
        self.batch.scores = self.scores = np.array(batch.scores, dtype=float)
        self._keys = None if keys is None else list(keys)
        if self._keys is not None and len(self._keys) != len(batch):
            raise ValueError(f"{len(self._keys)} keys for {len(batch)} records; give one a record")
        milliseconds = batch.time_ns // 1_000_000
        self._events = [uuid7(milliseconds, sequence) for sequence in batch.sequences]

    @property
    def n_bytes(self) -> int:
        """What it holds in memory, about."""
        texts = self._keys or ()
        return len(self) * _ROW_BYTES + sum(len(key) for key in texts if isinstance(key, str))

    def __len__(self) -> int:
        return len(self.scores)

    @functools.cached_property
    def labels(self) -> list[bool | str | None]:
        """The label of each; none where the fallback answers."""
        return [None] * len(self) if self.batch.error else self.batch.labels

    @functools.cached_property
    def reasons(self) -> list[Any]:
        """The reason of each."""
        return ["fallback"] * len(self) if self.batch.error else self.batch.reasons

    def kept(self, share: float) -> list[int]:
        """Return the places of the *share* that the database keeps."""
        places = []
        for number, event in enumerate(self._events):
            first = number * _EVENT_ROWS
            n_rows = min(_EVENT_ROWS, len(self) - first)
            places += [first + row for row in kept_rows(event, n_rows, share)]
        return places

    def event_of(self, place: int) -> tuple[str, int]:
        """Return the id of the event that holds the answer, and the answer's row in it."""
        return self._events[place // _EVENT_ROWS], place % _EVENT_ROWS

    def key_of(self, place: int) -> str | None:
        """Return the key of the entity as text; None where there is none."""
        key = None if self._keys is None else self._keys[place]
        try:
            return None if key is None else str(key) or None
        except Exception:  # noqa: BLE001  the host's own class; one odd key costs no other row
            return None

    def prediction(self, place: int) -> Prediction:
        """Return one answer as `Model.predict` would have given it, but under its own id."""
        batch = self.batch
        label, reason = self.labels[place], self.reasons[place]
        source = Answered(batch.model, batch.version, lambda _: (label, reason), batch.interval)
        key, score = self.key_of(place), float(self.scores[place])
        call = (source, batch.time_ns, 0, 0, score, reason, batch.error, key)
        return NamedPrediction(call, "{}/{}".format(*self.event_of(place)))
