"""Catch in a test the actions that would be queued, before any of them reaches a database.

Rules are applied as the site applies them, to an outbox in memory in which no entity has crossed a
threshold yet. What the database keeps of predictions is kept as ever, where there is one.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from mlembed.telemetry.notices import tell
from mlembed_crm.action import Action
from mlembed_crm.hook import Actions
from mlembed_crm.imagined import Imagined
from mlembed_django.batches import BatchRows
from mlembed_django.conf import SETTING, site
from mlembed_django.declaration import listed
from mlembed_django.runs import open_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlembed.serving.batch import Batch
    from mlembed.serving.prediction import Prediction
    from mlembed_crm.memory import Memory
    from mlembed_crm.rules import Rule
    from mlembed_django.conf import Site
    from mlembed_django.live import SiteModel


class CapturedActions(list[Action]):
    """The actions that were caught, the oldest first.

    Attributes:
        failed: What kept an action from being queued: the rule's name and the error.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failed: list[tuple[str, Exception]] = []
        self._imagined = Imagined()

    def enqueue(
        self, action: Action, *, memory: Memory | None = None, before: Memory | None = None
    ) -> bool:
        """Catch *action*, as an outbox would queue it."""
        taken = self._imagined.enqueue(action, memory=memory, before=before)
        if taken and action.state != "remembered":
            self.append(action)
        return taken

    def recall(self, rule: str, key: str) -> Memory | None:
        """Return what *rule* remembers of *key*; None where it has never acted."""
        return self._imagined.recall(rule, key)

    def renew(self, memory: Memory) -> None:
        """Replace what a rule remembers, but for what it did."""
        self._imagined.renew(memory)


class Capture:
    """Catches while it is open, in this site and in one that an overridden setting makes."""

    def __init__(self) -> None:
        self.actions = CapturedActions()
        self._site: Site | None = None
        self._before: Any = None

    def open(self) -> None:
        """Begin."""
        self._install(setting=SETTING)
        setting_changed.connect(self._install, weak=False)

    def close(self) -> None:
        """Let the site's own journal act again."""
        setting_changed.disconnect(self._install)
        if self._site is not None:
            self._site.put_journal(self._before)

    def _install(self, *, setting: str, **_: Any) -> None:
        if setting != SETTING:
            return
        self._site = None
        with contextlib.suppress(ImproperlyConfigured):  # whoever predicts is told
            found = site()
            self._before = found.journal
            found.put_journal(_StandIn(found, self.actions))
            self._site = found


class _StandIn:
    """Stands in the place of a site's journal."""

    def __init__(self, of: Site, captured: CapturedActions) -> None:
        declaration = of.declaration
        self._inner: Any = of.journal if declaration.database is not None else None
        self._captured = captured
        rules: Sequence[Rule] = listed(declaration.actions) if declaration.actions else ()
        Actions(captured, rules)  # refuses two of one name
        self._by_rule = [(rule.name, Actions(captured, [rule])) for rule in rules]

    def note(self, model: SiteModel, prediction: Prediction) -> None:
        self._catch(prediction)
        if self._inner is not None:
            with self._keeping_only() as inner:
                inner.note(model, prediction)

    async def anote(self, model: SiteModel, prediction: Prediction) -> None:
        self._catch(prediction)
        if self._inner is not None:
            with self._keeping_only() as inner:
                await inner.anote(model, prediction)

    def note_batch(self, model: SiteModel, batch: Batch, keys: Sequence[Any] | None) -> None:
        if not batch.error:
            fits = keys is not None and len(keys) == len(batch)
            rows = BatchRows(batch, keys if fits else None)
            answers = [rows.prediction(place) for place in range(len(rows))]
            for answer in answers:
                self._catch(answer)
            self._rank(answers)
        if self._inner is not None:
            with self._keeping_only() as inner:
                inner.note_batch(model, batch, keys)

    def note_outcome(self, *about: Any) -> None:
        if self._inner is not None:
            self._inner.note_outcome(*about)

    def flush(self, timeout_seconds: float = 2.0) -> bool:
        return self._inner is None or bool(self._inner.flush(timeout_seconds))

    @property
    def lost(self) -> dict[str, int]:
        return {} if self._inner is None else dict(self._inner.lost)

    def finish(self, hear: Any = None) -> int:
        return 0 if self._inner is None else int(self._inner.finish(hear))

    def keep_up(self) -> None:
        if self._inner is not None:
            self._inner.keep_up()

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()

    def finish_run(self, best: Mapping[str, Sequence[Prediction]]) -> None:
        for name, actions in self._by_rule:
            self._run(name, actions, best.get(name, ()), whole=True)

    def _rank(self, answers: Sequence[Prediction]) -> None:
        """Let a batch be a run of its own, or part of the one that is open."""
        run = open_run.get()
        for name, actions in self._by_rule:
            (rule,) = actions.rules
            mine = [one for one in answers if one.model == rule.model]
            if rule.when.kind != "top" or not mine:
                continue
            if run is None:
                self._run(name, actions, mine, whole=True)
            else:
                seen = (one for one in mine if rule.when.acts(one.score))
                run[name] = rule.best([*run.get(name, ()), *seen])

    def _run(self, name: str, actions: Actions, some: Sequence[Prediction], *, whole: bool) -> None:
        try:
            actions.run(some, whole=whole)
        except Exception as error:  # noqa: BLE001  the prediction stands, as in the site
            self._captured.failed.append((name, error))
            tell(logging.ERROR, "rule '%s': its action is not queued: %s", name, error)

    def _catch(self, prediction: Prediction) -> None:
        for name, actions in self._by_rule:
            self._run(name, actions, [prediction], whole=False)

    @contextlib.contextmanager
    def _keeping_only(self) -> Iterator[Any]:
        """Lend the site's journal without its rules."""
        before, self._inner.actions = self._inner.actions, None
        try:
            yield self._inner
        finally:
            self._inner.actions = before
