"""What the host's threads leave behind: predictions and outcomes.

An entry holds what is known when the caller has its answer, in the order of `Entry`; the
caller's thread makes a plain tuple of it, which costs a tenth of what a named one does.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import operator
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlembed.errors import OutcomeError
from mlembed.telemetry.ids import uuid7
from mlembed.telemetry.otlpjson import log_record, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from opentelemetry.trace import SpanContext

    from mlembed.telemetry.otlpjson import AttributeValue, Records
    from mlembed.telemetry.source import Source

    # An entry as the caller's thread makes it: the fields of `Entry`, in their order.
    Call = tuple[
        Source,
        int,
        int,
        int,
        Any,
        str,
        str,
        str | None,
        Any,
        Mapping[str, Any] | None,
        SpanContext | None,
        float,
    ]

PREDICTION, OUTCOME = "mlembed.prediction", "mlembed.outcome"
SCOPE, SCOPE_VERSION = "mlembed", "0.1.0"
SHORT_KEY = 64  # characters of a key that stand in the bound of an entry
_END_NS = 2**63  # times are kept as 64-bit integers
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Entry(NamedTuple):
    """One call of `predict` or `predict_batch`, as the caller's thread leaves it.

    Attributes:
        source: The bundle that answered.
        time_ns: Unix time of the call.
        sequence: Makes the id unique within its millisecond.
        latency_ns: Time to the score.
        score: The score, or `(n_records,)` of them.
        reason: ok, fallback or abstain.
        error: What failed, its type before a colon; empty where nothing did. Only the type is logged.
        key: The host's key of the entity, or None.
        row: The encoded row's bytes, a matrix `(n_records, n_columns)`, or None for a fallback.
        unknown: Values outside the vocabulary, by column (and row, for a matrix).
        span: The span that was current, or None.
        rate: Share of such predictions that are kept; each kept one stands for 1 / rate.
    """

    source: Source
    time_ns: int
    sequence: int
    latency_ns: int
    score: Any
    reason: str
    error: str
    key: str | None
    row: bytes | NDArray[Any] | None
    unknown: Mapping[str, Any] | None
    span: SpanContext | None
    rate: float = 1.0

    @property
    def id(self) -> str:
        """Id of the prediction."""
        return uuid7(self.time_ns // 1_000_000, self.sequence)

    @property
    def n_records(self) -> int:
        """Number of records."""
        return len(self.score) if isinstance(self.score, np.ndarray) else 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The truth about a prediction, as far as it is known.

    Attributes:
        model: Name of the model.
        value: What happened: a bool, a number or a class.
        time_ns: Unix time of the report.
        prediction_id: Id of the prediction, or empty.
        key: The host's key of the entity, where there is no id.
        observed_ns: Unix time when it happened, or None.
        revision: A higher one replaces a lower.
    """

    model: str
    value: AttributeValue
    time_ns: int
    prediction_id: str = ""
    key: str = ""
    observed_ns: int | None = None
    revision: int = 0

    def attributes(self) -> dict[str, AttributeValue]:
        """Return the event's attributes."""
        values: dict[str, AttributeValue | None] = {
            "mlembed.model.name": self.model,
            "mlembed.prediction.id": self.prediction_id or None,
            "mlembed.prediction.key": self.key or None,
            "mlembed.outcome.value": self.value,
            "mlembed.outcome.observed_at": self.observed_ns,
            "mlembed.outcome.revision": self.revision,
        }
        return {name: plain(value) for name, value in values.items() if value is not None}


def make_outcome(
    model: str,
    prediction_id: str,
    value: AttributeValue | None,
    key: str,
    observed_at: dt.datetime | None,
    revision: int,
) -> Outcome:
    """Check a report of the truth and stamp it with the time.

    Raises:
        OutcomeError: If it cannot be joined, says nothing, or could not be read back.
    """
    try:
        prediction_id, key = ("" if given is None else str(given) for given in (prediction_id, key))
    except Exception as error:
        raise OutcomeError(f"outcome of '{model}': id and key must be a text each") from error
    if not (prediction_id or key):
        raise OutcomeError(f"outcome of '{model}': give the prediction's id, or its key")
    truth = _truth(value)
    if truth is None:
        raise OutcomeError(f"outcome of '{model}': expected a bool, a number or a class")
    try:
        revision = operator.index(revision)
    except TypeError as error:
        raise OutcomeError(f"outcome of '{model}': revision must be a whole number") from error
    return Outcome(
        model=model,
        value=truth,
        time_ns=time.time_ns(),
        prediction_id=prediction_id,
        key=key,
        observed_ns=None if observed_at is None else _nanoseconds(model, observed_at),
        revision=revision,
    )


def _nanoseconds(model: str, moment: dt.datetime) -> int:
    """Return the Unix time of *moment*, exactly: a double would lose the microsecond."""
    if not isinstance(moment, dt.datetime):
        raise OutcomeError(f"outcome of '{model}': observed_at must be a datetime")
    if moment.utcoffset() is None:
        raise OutcomeError(f"outcome of '{model}': observed_at needs a time zone")
    moment_ns = (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1_000
    if not 0 <= moment_ns < _END_NS:
        raise OutcomeError(f"outcome of '{model}': observed_at must lie between 1970 and 2262")
    return moment_ns


def _truth(value: Any) -> AttributeValue | None:
    """Return *value* as it is logged; None where it says nothing."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str):
        return value or None
    try:
        number = float(value)
    except Exception:  # noqa: BLE001  a host's own number may raise anything
        return None
    return number if math.isfinite(number) else None


def outcome_record(outcome: Outcome) -> Records:
    """Return the log record of *outcome* in OTLP-JSON."""
    return log_record(OUTCOME, outcome.time_ns, outcome.attributes(), None, None)


def text_bytes(call: Call) -> int:
    """Return the bytes of the texts that wait with *call*, beyond its source's bound."""
    texts = [call[6]]
    for cells in (call[9] or {}).values():
        texts += [cells] if isinstance(cells, str) else cells.values()
    if call[7] is not None and len(call[7]) > SHORT_KEY:
        texts.append(call[7])
    return 4 * sum(map(len, texts))
