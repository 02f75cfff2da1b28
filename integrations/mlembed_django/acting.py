"""Apply the site's rules: to one answer, or to a whole batch by a few queries.

What a rule does to the database happens as a whole or not at all, and whatever fails leaves the
caller's transaction usable.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from django.db import Error, IntegrityError, transaction

from mlembed.telemetry.notices import tell
from mlembed_crm.hook import Actions
from mlembed_crm.memory import memory_id
from mlembed_django.actionrows import memory_of, row_of
from mlembed_django.models import Delivery
from mlembed_django.plans import Step, planned
from mlembed_django.runs import open_run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from mlembed.serving.prediction import Prediction
    from mlembed_crm.action import Action
    from mlembed_crm.memory import Memory
    from mlembed_crm.outboxes import Queue
    from mlembed_crm.rules import Rule
    from mlembed_django.batches import BatchRows
    from mlembed_django.outbox import DjangoOutbox

    Made = tuple[Action, Delivery]

_CHUNK = 500


class SiteActions(Actions):
    """Applies *rules* in the database of *outbox*.

    Args:
        outbox: Where actions are queued.
        rules: With names that differ.
    """

    outbox: DjangoOutbox

    def apply_batch(self, rows: BatchRows) -> None:
        """Queue what a batch causes; log and count what cannot be queued.

        A key that stands in it twice is followed in the order of the rows. Of a rule with `top`, the
        batch is a run of its own, unless it is part of one that `whole_run` has open.
        """
        if rows.batch.error:
            return
        for rule in self._by_model.get(rows.batch.model, ()):
            try:
                if rule.when.kind == "top":
                    self._rank(rule, rows)
                else:
                    self._apply_rows(rule, rows)
            except Exception:  # noqa: BLE001  the host's answers must not depend on an action
                self._fail(rule, "a batch")

    def _rank(self, rule: Rule, rows: BatchRows) -> None:
        """Keep the best of *rows* for the run that is open, or let them act at once."""
        acts = np.asarray(rule.when.acts(rows.scores))  # type: ignore[arg-type]  # one for each
        reached = np.flatnonzero(acts & np.isfinite(rows.scores))
        best = reached[np.argsort(-rows.scores[reached], kind="stable")[: rule.when.k]].tolist()
        run = open_run.get()
        if run is None:
            self._apply_places(rule, rows, best)
        else:
            seen = [*run.get(rule.name, ()), *(rows.prediction(place) for place in best)]
            run[rule.name] = rule.best(seen)

    def finish_run(self, best: Mapping[str, Sequence[Prediction]]) -> None:
        """Act on the best of a whole run, by the rule's name; log and count what cannot be queued."""
        for rule in self.rules:
            for prediction in best.get(rule.name, ()):
                try:
                    self._apply(rule, prediction, self.outbox)
                except Exception:  # noqa: BLE001  idem
                    self._fail(rule, "the best of a run")

    def _apply(self, rule: Rule, prediction: Prediction, queue: Queue) -> Action | None:
        with self.outbox.savepoint():
            return super()._apply(rule, prediction, queue)

    def _apply_rows(self, rule: Rule, rows: BatchRows) -> None:
        numbers = np.isfinite(rows.scores)
        if rule.when.kind == "label":
            labels = enumerate(rows.labels)
            places = [place for place, label in labels if label is not None and numbers[place]]
        else:
            acts = np.asarray(rule.when.acts(rows.scores))  # type: ignore[arg-type]  # one for each
            rearms = np.asarray(rule.when.rearms(rows.scores))  # type: ignore[arg-type]  # idem
            places = np.flatnonzero((acts | rearms) & numbers).tolist()
        self._apply_places(rule, rows, places)

    def _apply_places(self, rule: Rule, rows: BatchRows, places: Sequence[int]) -> None:
        if rule.needs_key:
            keyed = [place for place in places if rows.key_of(place) is not None]
            n_keyless = sum(
                rule.when.kind == "label" or bool(rule.when.acts(float(rows.scores[place])))
                for place in set(places).difference(keyed)
            )
            if n_keyless:
                self._warn_keyless(rule, n_keyless)
            places = keyed
        if not rule.remembers:
            self._queue_all(rule, rows, places, [Step(place, "act") for place in places], {})
            return
        names = {memory_id(rule.name, rows.key_of(place) or "") for place in places}
        before = self._recalled(rule, names)
        plan = planned(rule, rows, places, before)
        self.outbox.renew_all(plan.renewed)
        self._queue_all(rule, rows, places, plan.steps, before)

    def _recalled(self, rule: Rule, names: Collection[str]) -> dict[str, Memory]:
        """Return what *rule* remembers of *names*, by as few queries as there can be."""
        found: dict[str, Memory] = {}
        if len(names) > _CHUNK:
            every = self.outbox.recall_rule(rule.name, len(names))
            if every is not None:
                return {name: every[name] for name in names if name in every}
        for some in _chunks(names):
            found |= self.outbox.recall_all(some)
        return found

    def _queue_all(
        self,
        rule: Rule,
        rows: BatchRows,
        places: Sequence[int],
        steps: Sequence[Step],
        before: Mapping[str, Memory],
    ) -> None:
        """Queue what *steps* say, a chunk at a time; each chunk happens as a whole or not at all.

        Args:
            rule: Whose.
            rows: The batch.
            places: All that the rule looks at, in the order of the rows.
            steps: What it does about them, in the same order.
            before: What the rule remembered, by `memory_id`, before any of them.
        """
        left, n_left = dict(before), len(steps)
        for some in _chunks(steps):
            made = self._made(rule, rows, some)
            last = {action.key: place for place, (action, _) in enumerate(made)}
            released = []
            for place, (action, row) in enumerate(made):
                if row.memory is None:
                    continue
                known = left.pop(row.memory, None)
                if known is not None:
                    released.append(known.action_id)
                if last[action.key] != place:  # a later one of the same key remembers for both
                    row.memory = None
                else:
                    left[row.memory] = memory_of(row)
            try:
                with transaction.atomic(self.outbox.using):
                    self._release(released)
                    rows_of = Delivery.objects.using(self.outbox.using)
                    rows_of.bulk_create([row for _, row in made])
                self._count([action for action, _ in made])
            except IntegrityError:  # another process was faster with one of them
                self._one_by_one(rule, rows, places, some[0].place)
                return
            except Error:
                self.failed += n_left - 1  # and one for the batch
                raise
            n_left -= len(some)

    def _one_by_one(self, rule: Rule, rows: BatchRows, places: Sequence[int], first: int) -> None:
        """Take the places from *first* on as single answers, by what the rule remembers by now."""
        for place in places:
            if place < first:
                continue
            try:
                self._apply(rule, rows.prediction(place), self.outbox)
            except Exception:  # noqa: BLE001  one row costs no other its action
                self._fail(rule, f"row {place} of a batch")

    def _count(self, queued: Sequence[Action]) -> None:
        self.held += sum(action.state == "held" for action in queued)
        self.queued += sum(action.state == "pending" for action in queued)

    def _fail(self, rule: Rule, what: str) -> None:
        """Count what could not be queued, and log the error that is being handled."""
        self.failed += 1
        told = "rule '%s': its action on %s is not queued"
        tell(logging.ERROR, told, rule.name, what, traceback=True)

    def _release(self, ids: Sequence[str]) -> None:
        """Let older actions no longer be what their rule remembers."""
        if ids:
            Delivery.objects.using(self.outbox.using).filter(uuid__in=ids).update(memory=None)

    def _made(self, rule: Rule, rows: BatchRows, steps: Sequence[Step]) -> list[Made]:
        """Return the actions of *steps*; what the host's payload fails on is left out."""
        try:
            with self.outbox.savepoint():
                return [self._make(rule, rows, step) for step in steps]
        except Exception:  # noqa: BLE001  one of them; which one is found below
            return list(self._each_made(rule, rows, steps))

    def _each_made(self, rule: Rule, rows: BatchRows, steps: Sequence[Step]) -> Iterator[Made]:
        for step in steps:
            try:
                with self.outbox.savepoint():
                    made = self._make(rule, rows, step)
            except Exception:  # noqa: BLE001  one row costs no other its action
                self._fail(rule, f"row {step.place} of a batch")
            else:
                yield made

    def _make(self, rule: Rule, rows: BatchRows, step: Step) -> Made:
        prediction = rows.prediction(step.place)
        action = rule.note(prediction) if step.say == "note" else rule.action(prediction)
        memory = step.memory and dataclasses.replace(step.memory, action_id=action.id)
        return action, row_of(action, self.outbox.now(), memory)


def _chunks(items: Collection[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while some := list(itertools.islice(rest, _CHUNK)):
        yield some
