"""`manage.py mlembed_score app.Model`: score rows in bulk, onto their own `PredictionField`.

Ctrl-C ends it after the chunk in hand; what was scored stays, and `--stale` goes on with the rest.
It ends when what the site keeps of the predictions is written; a second Ctrl-C does not wait for that.
Exit status: 0; 1 where it cannot run, rows were refused or had only a fallback, or predictions or
actions were lost; 130 for Ctrl-C.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.exceptions import FieldError, ImproperlyConfigured, ValidationError
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.db.models import Exists, OuterRef, QuerySet

from mlembed.errors import MlembedError
from mlembed_django.management.asked import SiteCommand, the_site
from mlembed_django.management.kept import Kept

if TYPE_CHECKING:
    from django.core.management.base import CommandParser
    from django.db.models import Model

    from mlembed_django.scoring import Scoring

_SHOWN = 10
# A filter may be refused where it is made, or only where the database is asked.
_REFUSALS = (
    *(MlembedError, ImproperlyConfigured, DatabaseError),
    *(FieldError, ValidationError, TypeError, ValueError),
)
_INTERRUPTED = 130


class Command(SiteCommand):
    """Score a model's rows."""

    help = "Predict for the rows of a model of yours, and write score, version and time onto them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the model, which rows, and how."""
        parser.add_argument("model", metavar="app.Model", help="whose rows")
        parser.add_argument("--field", help="the PredictionField; not needed where there is one")
        parser.add_argument(
            *("--filter", "-f"), action="append", default=[], metavar="NAME=VALUE", dest="filters"
        )
        parser.add_argument("--stale", action="store_true", help="only rows of older versions")
        parser.add_argument(
            "--chunk", type=int, default=2_000, help="rows read and written at once"
        )
        parser.add_argument("--dry-run", action="store_true", help="predict, and write nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Score, and tell what came of it.

        Raises:
            CommandError: If it cannot run, or rows were left without a score.
        """
        from mlembed_django.scoring import score_queryset, stale

        if options["chunk"] < 1:
            raise CommandError("--chunk is a number of rows, 1 or more")
        model = _model(options["model"])
        field = options["field"] or _only_field(model)
        rows = _filtered(model, options["filters"])
        self._total, done = 0, None
        kept = Kept(None if options["dry_run"] else the_site().journal)

        def hear(so_far: Scoring) -> None:
            nonlocal done
            done = so_far
            if self._total:
                self._progress(so_far)

        try:
            if self._is_watched(options):
                self._total = _count(stale(rows, field) if options["stale"] else rows)
            done = score_queryset(
                rows,
                field,
                chunk_size=options["chunk"],
                only_stale=options["stale"],
                dry_run=options["dry_run"],
                hear=hear,
            )
        except _REFUSALS as error:
            kept.finish(self._wait)
            raise CommandError("; ".join([str(error), *kept.problems()])) from error
        except KeyboardInterrupt:
            kept.finish(self._wait)
            self._tell(done, field, kept, options)
            self.stderr.write("interrupted; go on with --stale")
            sys.exit(_INTERRUPTED)
        kept.finish(self._wait)
        self._tell(done, field, kept, options)
        left = done.n_refused + done.fallbacks
        why = [f"{left} of {done.rows} rows have no new score"] if left else []
        if why := [*why, *kept.problems()]:
            raise CommandError("; ".join(why))

    def _is_watched(self, options: dict[str, Any]) -> bool:
        return not options["json"] and bool(getattr(self.stderr, "isatty", bool)())

    def _progress(self, done: Scoring) -> None:
        rate = done.rows / max(done.seconds, 1e-9)
        left = max(0, self._total - done.rows) / max(rate, 1e-9)
        line = f"{done.rows:,} of {self._total:,} rows, {rate:,.0f} a second, {left:.0f} s left"
        self.stderr.write(f"\r{line:<70}", ending="")

    def _wait(self, n_left: int) -> None:
        if self._total:
            line = f"{n_left:,} predictions are still to be kept"
            self.stderr.write(f"\r{line:<70}", ending="")

    def _tell(self, done: Scoring | None, field: str, kept: Kept, options: dict[str, Any]) -> None:
        if options["json"]:
            told = {} if done is None else done.to_json()
            whole = {"field": field, "dry_run": options["dry_run"], **told, "lost": kept.lost}
            self.stdout.write(json.dumps(whole))
            return
        if self._total:
            self.stderr.write("")
        if done is None:
            self.stdout.write("no row was scored")
            return
        verb = "would be scored" if options["dry_run"] else "scored"
        mean = "" if done.mean is None else f", mean {done.mean:.4g}"
        version = f" by version {', '.join(done.versions)}" if done.versions else ""
        self.stdout.write(
            f"{done.scored:,} of {done.rows:,} rows {verb}{version} in {done.seconds:.1f} s{mean}"
        )
        gone = 0 if options["dry_run"] else done.scored - done.written
        if gone:
            self.stdout.write(f"{gone:,} of them were deleted meanwhile")
        if done.fallbacks:
            self.stdout.write(f"{done.fallbacks:,} had only a fallback, and keep what they had")
            for name, error in list(done.unanswered.items())[:_SHOWN]:
                self.stdout.write(f"{name}: {error}")
        for name, problems in list(done.refused.items())[:_SHOWN]:
            self.stdout.write(f"{name}: {'; '.join(problems)}")
        if done.n_refused > _SHOWN:
            self.stdout.write(f"{done.n_refused - _SHOWN:,} more rows do not fit")


def _count(rows: QuerySet[Any]) -> int:
    return rows.values("pk").distinct().count()


def _model(label: str) -> type[Model]:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError) as error:
        raise CommandError(f"no installed app has the model '{label}'; write app.Model") from error


def _only_field(model: type[Model]) -> str:
    from mlembed_django.scoring import fields_of

    found = fields_of(model)
    if len(found) != 1:
        there = ", ".join(found) or "none"
        raise CommandError(f"name one with --field: {model._meta.label} has {there}")
    return found[0]


def _filtered(model: type[Model], filters: list[str]) -> QuerySet[Any]:
    rows = model._default_manager.all()  # noqa: SLF001  what the site means by all its rows
    for text in filters:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"--filter {text}: write NAME=VALUE, as in town=oslo or age__gte=18")
        try:
            rows = _chosen(rows, name, _value(name, value))
        except _REFUSALS as error:
            raise CommandError(f"--filter {name}: {error}") from error
    return rows


def _chosen(rows: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
    """Return those of *rows* that a lookup finds, with all that is annotated on them as it was.

    What is joined to a row would count in the aggregates that the site's own manager annotates.
    """
    if name.partition("__")[0] in rows.query.annotations:
        return rows.filter(**{name: value})
    plain: QuerySet[Any] = QuerySet(rows.model).filter(**{name: value})
    if len(plain.query.alias_map) > 1:
        return rows.filter(Exists(plain.filter(pk=OuterRef("pk"))))
    return rows.filter(**{name: value})


def _value(name: str, text: str) -> Any:
    """Return what is meant by the text after the lookup *name*; Django reads the rest of the types."""
    lookup = name.rpartition("__")[2]
    if lookup == "isnull":
        if text.lower() not in ("true", "false"):
            raise ValueError("give true or false")
        return text.lower() == "true"
    if lookup in ("in", "range"):
        values = text.split(",")
        if lookup == "range" and len(values) != len(("from", "to")):
            raise ValueError("give two values, as in age__range=18,30")
        return values
    return text
