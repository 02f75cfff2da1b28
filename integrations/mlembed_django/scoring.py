"""Write scores onto the rows they are for, in bulk, and so that it can be gone on with.

Rows are taken in the order of their primary keys, a chunk at a time, and each chunk is committed by
itself, with the actions and predictions that the same database keeps: what is interrupted has scored
the rows before. Nothing but the three columns of the field is written, so what others change on a
row meanwhile stays.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from typing import TYPE_CHECKING, Any

from django.core.exceptions import FieldDoesNotExist
from django.db import connections, transaction
from django.db.models import F, Manager

from mlembed.errors import MlembedError, SettingsError
from mlembed.serving.fallback import RAISE
from mlembed_django.conf import get_model, site
from mlembed_django.fields import TIME, VERSION, PredictionField
from mlembed_django.locking import lock_writes
from mlembed_django.querysets import answered
from mlembed_django.runs import whole_run
from mlembed_django.streams import streamed
from mlembed_django.times import date_of_seconds
from mlembed_django.updating import key_of, update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from django.db.models import Model, QuerySet

    from mlembed_django.live import SiteModel
    from mlembed_django.querysets import Answered
    from mlembed_django.streams import Stream

_TOLD = 100


@dataclasses.dataclass(slots=True)
class Scoring:
    """What was done so far.

    Attributes:
        rows: Rows that were looked at.
        scored: Rows that the model answered for.
        written: Rows that have that score; others were deleted meanwhile, or it is a dry run.
        fallbacks: Rows that only the fallback answered for; they keep what they had.
        unanswered: Why the model did not answer, of the first hundred of them, by primary key.
        n_refused: Rows that do not fit; they keep what they had.
        refused: What is wrong with each of the first hundred of them, by its primary key.
        versions: Versions that answered.
        total: Sum of the scores.
        seconds: Time it took.
    """

    rows: int = 0
    scored: int = 0
    written: int = 0
    fallbacks: int = 0
    unanswered: dict[str, str] = dataclasses.field(default_factory=dict)
    n_refused: int = 0
    refused: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    versions: tuple[str, ...] = ()
    total: float = 0.0
    seconds: float = 0.0

    @property
    def mean(self) -> float | None:
        """The mean of the scores; None where there are none."""
        return self.total / self.scored if self.scored else None

    def to_json(self) -> dict[str, Any]:
        """Describe it in plain JSON types."""
        plain = dataclasses.asdict(self)
        del plain["total"]
        return {**plain, "mean": self.mean}


def score_queryset(
    queryset: QuerySet[Any],
    field: str,
    *,
    chunk_size: int = 2_000,
    only_stale: bool = False,
    dry_run: bool = False,
    hear: Callable[[Scoring], None] | None = None,
) -> Scoring:
    """Predict for each row of *queryset* and write score, version and time onto it.

    A row that does not fit, or for which only the fallback could answer, keeps what it had. Rows
    are written in the database that *queryset* names with `using`, else where the routers say.

    Args:
        queryset: The rows; its order is not kept.
        field: Name of the `PredictionField`.
        chunk_size: Rows that are read, answered and committed at once.
        only_stale: Leave out the rows that the version in service has scored.
        dry_run: Predict, and write nothing: no score, no log, no action.
        hear: Hears after each chunk how far it is.

    Raises:
        SettingsError: If *field* is no PredictionField, or *queryset* is sliced or united.
        MlembedError: If the model cannot be loaded and has no fallback.
    """
    if chunk_size < 1:
        raise ValueError("score_queryset: chunk_size is the number of rows, 1 or more")
    if isinstance(queryset, Manager):
        queryset = queryset.all()
    run = _Run(queryset, field, only_stale=only_stale, dry_run=dry_run)
    start, last = time.monotonic(), None
    try:
        with whole_run(site()):
            while (last := run.go_on(chunk_size, last)) is not None:
                run.keep_up()
                run.done.seconds = time.monotonic() - start
                if hear is not None:
                    hear(run.done)
    finally:
        run.close()
    return run.done


def stale(queryset: QuerySet[Any], field: str) -> QuerySet[Any]:
    """Return the rows that the version in service has not scored: all where there is none.

    Raises:
        MlembedError: If the model cannot be loaded and has no fallback.
    """
    model = get_model(_field(queryset.model, field).predicts)
    version = _version(model)
    return queryset.exclude(**{field + VERSION: version}) if version else queryset.all()


def fields_of(model: type[Model]) -> tuple[str, ...]:
    """Return the names of the prediction fields of *model*."""
    return tuple(f.name for f in model._meta.get_fields() if isinstance(f, PredictionField))


class _Run:
    """One run over a queryset; the arguments are those of `score_queryset`."""

    def __init__(
        self, queryset: QuerySet[Any], field: str, *, only_stale: bool, dry_run: bool
    ) -> None:
        self.done = Scoring()
        found = _field(queryset.model, field)
        self._rows = _by_key(queryset)
        self._model = site().quiet(found.predicts) if dry_run else get_model(found.predicts)
        _version(self._model)  # it is loaded before a transaction waits for it
        if only_stale:
            self._rows = stale(self._rows, field)
        owner = self._owner = (
            found.model
        )  # of several tables that a row has, the one with the field
        names = (field, field + VERSION, field + TIME)
        self._fields: list[Any] = [owner._meta.get_field(name) for name in names]
        written = queryset.all()
        written._for_write = True  # type: ignore[attr-defined]  # noqa: SLF001  as Django's own do
        self._using = written.db
        self._dry_run = dry_run

    def close(self) -> None:
        """Let go of a model that is the run's own."""
        if self._dry_run:
            self._model.close()

    def keep_up(self) -> None:
        """Let what is kept of the answers be written, unless the caller has a transaction open."""
        journal = self._model.journal
        if journal is not None and not connections[self._using].in_atomic_block:
            journal.keep_up()

    def go_on(self, chunk_size: int, last: Any) -> Any:
        """Score the rows that follow the key *last*; return the key of the last one, None at the end."""
        chunk = self._rows if last is None else self._rows.filter(pk__gt=last)
        stream = streamed(chunk[:chunk_size], self._model.mapping, chunk_size)
        taken = list(stream.rows)
        if not taken:
            return None
        keys = _read(taken, [self._rows.model._meta.pk.attname], stream)
        # A filter across a relation to many gives a row once for each of them.
        pairs = itertools.pairwise([None, *keys])
        taken = [row for row, (before, key) in zip(taken, pairs, strict=True) if key != before]
        with transaction.atomic(self._using):
            if not self._dry_run:
                lock_writes(self._using, self._owner)
            found = answered(self._model, taken, self.done.rows, stream, skip=True)
            values = list(self._values(found, taken, stream))
            if not self._dry_run:
                self.done.written += update(self._owner, self._using, self._fields, values)
        self.done.rows += len(taken)
        self._tell(found)
        return keys[-1][0] if len(keys[-1]) == 1 else keys[-1]

    def _values(
        self, found: Answered, taken: Sequence[Any], stream: Stream
    ) -> Iterator[tuple[Any, ...]]:
        """Yield what is written on each row, and its key."""
        done, now = self.done, date_of_seconds(time.time())
        rows = [taken[place] for place in found.places]
        keys = _read(rows, [field.attname for field in key_of(self._owner)], stream)
        for scored, key in zip(found.scored, keys, strict=True):
            if scored.reason == "fallback" or not math.isfinite(scored.score):
                done.fallbacks += 1
                if len(done.unanswered) < _TOLD:
                    name = f"pk={', '.join(map(str, key))}"
                    done.unanswered[name] = scored.error or f"its score is {scored.score}"
                continue
            if scored.version not in done.versions:
                done.versions = (*done.versions, scored.version)
            done.scored += 1
            done.total += scored.score
            yield (scored.score, scored.version, now, *key)

    def _tell(self, found: Answered) -> None:
        done = self.done
        done.n_refused += len(found.refused)
        room = max(0, _TOLD - len(done.refused))
        for name, problems in itertools.islice(found.refused.items(), room):
            done.refused[name] = tuple(problems)


def _read(rows: Sequence[Any], names: Sequence[str], stream: Stream) -> list[tuple[Any, ...]]:
    """Return attributes of rows as a stream gives them."""
    places = stream.places
    if places is None:
        return [tuple(getattr(row, name) for name in names) for row in rows]
    return [tuple(row[places[name]] for name in names) for row in rows]


def _version(model: SiteModel) -> str:
    """Return the version in service; empty where only a fallback answers."""
    try:
        return model.version
    except MlembedError:
        if model.fallback is RAISE:
            raise
        return ""


def _field(model: type[Model], name: str) -> PredictionField:
    try:
        found = model._meta.get_field(name)
    except FieldDoesNotExist:
        found = None
    if not isinstance(found, PredictionField):
        there = ", ".join(fields_of(model)) or "none"
        raise SettingsError(
            f"'{name}' of {model._meta.label} is no PredictionField; it has: {there}"
        )
    return found


def _by_key(queryset: QuerySet[Any]) -> QuerySet[Any]:
    query = queryset.query
    if query.is_sliced or query.combinator or query.values_select or query.distinct:
        raise SettingsError(
            "score_queryset: rows are taken by primary key and written, so the queryset may not be "
            "sliced, united, distinct or of values(); filter it instead"
        )
    return queryset.order_by(F("pk").asc())
