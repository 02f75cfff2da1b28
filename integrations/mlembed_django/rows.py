"""What the database keeps of an answer or an outcome: its row, in values that every database takes.

A text that a column would refuse is made to fit, so that one odd key loses no batch of rows: NUL
and halves of surrogate pairs are replaced, and what is too long becomes its beginning and a digest.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import re
import uuid
from typing import TYPE_CHECKING, Any

from mlembed_django.models import KEY_LENGTH, NAME_LENGTH, Outcome, Prediction
from mlembed_django.times import date_of_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlembed.serving.prediction import Prediction as Answer
    from mlembed.telemetry.events import Outcome as Truth
    from mlembed_django.batches import BatchRows
    from mlembed_django.context import RequestContext

_ODD = re.compile("[\0\ud800-\udfff]")
_VERSION_LENGTH, _LABEL_LENGTH, _ERROR_LENGTH = 64, 255, 2_000
_MOST_ROWS = 2**31 - 1  # what a row's number and a revision may be


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """Who asked, worked out while the request is there.

    Attributes:
        request: Id of the request.
        user: Hash of the user's key.
        trace: Id of the trace.
    """

    request: str = ""
    user: str = ""
    trace: str = ""

    @classmethod
    def of(cls, context: RequestContext | None) -> Asked:
        """Return what is known of the request of *context*; nothing where there is none."""
        return NOBODY if context is None else cls(context.id, context.user, context.trace)


NOBODY = Asked()


def is_odd(text: str) -> bool:
    """Tell whether *text* holds what no database takes: NUL, or half a surrogate pair."""
    return _ODD.search(text) is not None


def fitted(text: object, length: int = KEY_LENGTH) -> str:
    """Return *text* as a column of *length* characters takes it; two texts stay two."""
    given = str(text)
    fit = _ODD.sub("\ufffd", given) if _ODD.search(given) else given
    if len(fit) <= length:
        return fit
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{fit[: length - len(digest) - 1]}~{digest}"[-length:]


def prediction_rows(name: str, answer: Answer, asked: Asked) -> Iterator[Prediction]:
    """Yield the row of *answer* by the model that the site calls *name*."""
    yield Prediction(
        uuid=uuid.UUID(answer.id),
        model=fitted(name, NAME_LENGTH),
        version=fitted(answer.version, _VERSION_LENGTH),
        key="" if answer.key is None else fitted(answer.key),
        score=_finite(answer.score),
        label=_label(answer.label),
        reason=answer.reason,
        error=fitted(answer.error, _ERROR_LENGTH),
        latency=answer.latency_seconds * 1e6 or None,
        created=date_of_ns(answer.time_ns),
        **_of(asked),
    )


def batch_rows(
    name: str, rows: BatchRows, chosen: Sequence[int], asked: Asked
) -> Iterator[Prediction]:
    """Yield the rows of the *chosen* places of a batch, in order."""
    batch = rows.batch
    same = {
        "model": fitted(name, NAME_LENGTH),
        "version": fitted(batch.version, _VERSION_LENGTH),
        "error": fitted(batch.error, _ERROR_LENGTH),
        "created": date_of_ns(batch.time_ns),
        **_of(asked),
    }
    for place in chosen:
        event, row = rows.event_of(place)
        key = rows.key_of(place)
        yield Prediction(
            uuid=uuid.UUID(event),
            row=row,
            key="" if key is None else fitted(key),
            score=_finite(rows.scores[place]),
            label=_label(rows.labels[place]),
            reason=rows.reasons[place],
            **same,
        )


def outcome_row(name: str, truth: Truth) -> Outcome | None:
    """Return the row of *truth*; None where it names neither a prediction nor a key."""
    event, row = _place(truth.prediction_id)
    if event is None and not truth.key:
        return None
    value = truth.value
    return Outcome(
        uuid=event,
        row=row,
        model=fitted(name, NAME_LENGTH),
        key=fitted(truth.key),
        value=fitted(value, _LABEL_LENGTH) if isinstance(value, str) else value,
        observed=None if truth.observed_ns is None else date_of_ns(truth.observed_ns),
        revision=min(max(truth.revision, 0), _MOST_ROWS),
        created=date_of_ns(truth.time_ns),
    )


def _place(prediction_id: str) -> tuple[uuid.UUID | None, int]:
    event, _, row = prediction_id.partition("/")
    try:
        number = int(row or 0)
        return (uuid.UUID(event), number) if 0 <= number <= _MOST_ROWS else (None, 0)
    except ValueError:
        return None, 0


def _of(asked: Asked) -> dict[str, Any]:
    return {
        "request": fitted(asked.request, 128),
        "user": fitted(asked.user, 64),
        "trace": fitted(asked.trace, 32),
    }


def _finite(score: Any) -> float | None:
    return float(score) if score is not None and math.isfinite(score) else None


@functools.lru_cache(maxsize=1_024)
def _label(label: bool | str | None) -> str:  # noqa: FBT001  the label itself
    return "" if label is None else fitted(str(label), _LABEL_LENGTH)
