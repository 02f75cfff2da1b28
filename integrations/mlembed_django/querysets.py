"""Answer for each row of a queryset, a chunk at a time: memory stays flat whatever its length.

A chunk is read column by column and answered by one run of the graph. A row that does not fit costs
no other row its answer: the fallback answers for it alone, or the error names it by primary key.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from mlembed.errors import SchemaError
from mlembed.serving.fallback import RAISE
from mlembed_django.answers import Alone, Lot, Scored
from mlembed_django.reading import Reading
from mlembed_django.streams import Stream, streamed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from django.db.models import QuerySet

    from mlembed_django.live import SiteModel

__all__ = ["Scored", "predict_queryset"]

_SHOWN = 10
_ANY = Stream(())


def predict_queryset(
    model: SiteModel, queryset: QuerySet[Any] | Iterable[Any], *, chunk_size: int = 2_000
) -> Iterator[Scored]:
    """Yield the answer for each row of *queryset*, in its order.

    Rows are instances, rows of `values()`, or whatever an iterable gives. Of a queryset the
    relations that the model's mapping goes through are joined, and fields that it needs are
    loaded even where `only` or `defer` left them out. Without a mapping each column is read from
    the attribute, or the key, of its name.

    Args:
        model: What answers.
        queryset: The rows; one that is evaluated already is not read again.
        chunk_size: How many rows are read and answered at once.

    Raises:
        SchemaError: If rows do not fit and the model has no fallback; names them by primary key,
            and their fields. The rows of earlier chunks are answered.
        MlembedError: As for `mlembed.Model.predict_batch`.
    """
    if chunk_size < 1:
        raise ValueError("predict_queryset: chunk_size is the number of rows, 1 or more")
    stream = streamed(queryset, model.mapping, chunk_size)
    rows, done = iter(stream.rows), 0
    while chunk := list(itertools.islice(rows, chunk_size)):
        yield from answered(model, chunk, done, stream).scored
        done += len(chunk)


class Answered:
    """The answers for one chunk.

    Attributes:
        scored: One a row that was answered, in order.
        places: Which rows of the chunk those are.
        lot: Those that one run of the graph answered; None where there are none.
        apart: Those that the fallback answered alone.
        refused: What is wrong with each row that was not answered, by its name.
    """

    def __init__(self) -> None:
        self.scored: Iterable[Scored] = ()
        self.places: Sequence[int] = ()
        self.lot: Lot | None = None
        self.apart: dict[int, Alone] = {}
        self.refused: dict[str, Sequence[str]] = {}


def answered(
    model: SiteModel,
    rows: Sequence[Any],
    done: int = 0,
    stream: Stream = _ANY,
    *,
    skip: bool = False,
) -> Answered:
    """Answer for *rows*.

    Args:
        model: What answers.
        rows: Instances, or rows of `values()`, all of a kind.
        done: How many rows came before, to name one that has no primary key.
        stream: Where they come from, if they are bare values.
        skip: Whether rows that do not fit are told in `refused`, and the others answered.

    Raises:
        SchemaError: If rows do not fit, and neither a fallback nor *skip* leaves them out.
    """
    reading = Reading(model, rows, stream.places)
    bad = reading.misfits() if model.fallback is not RAISE else reading.unreadable
    if not bad:
        try:
            return _whole(model, reading, stream)
        except SchemaError:
            bad = reading.misfits()
            if not bad:
                raise
    found = Answered()
    if model.fallback is RAISE:
        found.refused = {reading.name(row, done): problems for row, problems in bad.items()}
        if not skip:
            raise SchemaError(reading.title, told(found.refused)) from reading.cause
    return _in_parts(model, reading, bad, found, stream)


def told(refused: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return a sentence for each of the first rows that were refused, and the number of the rest."""
    lines = [f"{name}: {'; '.join(refused[name])}" for name in itertools.islice(refused, _SHOWN)]
    if len(refused) > _SHOWN:
        lines.append(f"{len(refused) - _SHOWN} more rows do not fit")
    return tuple(lines)


def _whole(model: SiteModel, reading: Reading, stream: Stream) -> Answered:
    found = Answered()
    batch = model.predict_batch(reading.columns(), keys=reading.keys)
    lot = found.lot = Lot(batch, reading.keys)
    same, make = itertools.repeat(lot), itertools.repeat(stream.instance)
    found.places = range(len(reading.rows))
    found.scored = map(Scored, reading.rows, same, itertools.count(), make)
    return found


def _in_parts(
    model: SiteModel,
    reading: Reading,
    bad: Mapping[int, Sequence[str]],
    found: Answered,
    stream: Stream,
) -> Answered:
    """Answer for the rows that fit together, and for each other one alone."""
    good = [row for row in range(len(reading.rows)) if row not in bad]
    if good:
        keys = [reading.keys[row] for row in good]
        found.lot = Lot(model.predict_batch(reading.columns(good), keys=keys), keys)
    places = {row: place for place, row in enumerate(good)}
    scored = []
    for row, instance in enumerate(reading.rows):
        if row in places and found.lot is not None:
            scored.append(Scored(instance, found.lot, places[row], stream.instance))
        elif not found.refused:
            key = reading.keys[row]
            alone = found.apart[row] = Alone(model.predict(reading.record(row), key=key), key)
            scored.append(Scored(instance, alone, 0, stream.instance))
    found.places = good if found.refused else range(len(reading.rows))
    found.scored = scored
    return found
