"""See each prediction and queue the actions its rules ask for.

The host's prediction stands whatever happens here: a queue that fails is logged and counted, and
because its rule does not remember it either, the next prediction past the threshold acts.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, cast

from mlembed.errors import SettingsError
from mlembed.serving import hooks
from mlembed_crm.imagined import Imagined
from mlembed_crm.memory import noted, remembered, renewed, verdict
from mlembed_crm.rules import Rule, key_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from mlembed.serving.prediction import Prediction
    from mlembed_crm.action import Action
    from mlembed_crm.memory import Memory, Verdict
    from mlembed_crm.outboxes import Joins, Queue

_LOG = logging.getLogger("mlembed")


class Actions:
    """Applies *rules* to predictions; a prediction hook.

    A prediction that is a fallback, or has no score, never acts. One that abstains has a score, and
    acts by it. A rule that follows entities or writes records does nothing for a prediction without
    a key, and says so once in the log.

    Args:
        outbox: Where actions are queued.
        rules: With names that differ.

    Attributes:
        queued: Actions queued by this object.
        held: Actions that were held back, for their entity is in a rule's control group.
        failed: Actions that could not be queued; each is in the log.
        keyless: Predictions that a rule could do nothing about, for want of a key.

    Raises:
        SettingsError: If two rules share a name.
    """

    def __init__(self, outbox: Queue, rules: Iterable[Rule]) -> None:
        self.outbox = outbox
        self.rules = tuple(rules)
        self.queued = self.held = self.failed = self.keyless = 0
        self._by_model: dict[str, tuple[Rule, ...]] = {}
        names = set()
        for rule in self.rules:
            if rule.name in names:
                raise SettingsError(f"Actions: two rules are called '{rule.name}'; rename one")
            names.add(rule.name)
            self._by_model[rule.model] = (*self._by_model.get(rule.model, ()), rule)
        self._warned: set[str] = set()

    def attach(self) -> Callable[[], None]:
        """Apply the rules to every single prediction of this process; return what ends it."""
        return hooks.subscribe(self)

    def __call__(self, prediction: Prediction, /) -> None:
        """Queue what *prediction* causes; log and count what cannot be queued."""
        for rule in self._rules_for(prediction):
            if rule.when.kind == "top":
                continue
            try:
                self._apply(rule, prediction, self.outbox)
            except Exception:  # noqa: BLE001  the host's prediction must not depend on an action
                self.failed += 1
                _LOG.exception(
                    "rule '%s': its action on prediction %s is not queued; the prediction stands",
                    rule.name,
                    prediction.id,
                )

    def apply(
        self, prediction: Prediction, *, connection: sqlite3.Connection | None = None
    ) -> tuple[Action, ...]:
        """Queue what *prediction* causes, in the host's transaction if one is given.

        Args:
            prediction: Of any model; one that no rule is for does nothing.
            connection: As for `Outbox.enqueue`; only with an `Outbox`.

        Returns:
            The actions that were queued, or held back.

        Raises:
            MlembedError: If an action cannot be queued; with a *connection* the host decides then
                whether to commit.
        """
        return self.run([prediction], connection=connection, whole=False)

    def run(
        self,
        predictions: Iterable[Prediction],
        *,
        connection: sqlite3.Connection | None = None,
        whole: bool = True,
    ) -> tuple[Action, ...]:
        """Queue what a run of predictions causes, such as the night's scoring.

        Args:
            predictions: All of the run; a rule with `top(k)` chooses among them.
            connection: As for `Outbox.enqueue`; only with an `Outbox`.
            whole: Whether this is the whole run; if not, no rule with `top(k)` acts.

        Returns:
            The actions that were queued, or held back.

        Raises:
            MlembedError: If an action cannot be queued; those before it are.
        """
        return self._run(predictions, self._queue(connection), whole=whole)

    def preview(
        self, predictions: Iterable[Prediction], *, afresh: bool = False
    ) -> tuple[Action, ...]:
        """Return what a run of predictions would queue or hold back, and write nothing.

        Args:
            predictions: All of the run.
            afresh: Whether to begin as if no rule had acted before, as for predictions of the past.

        Raises:
            MlembedError: If an action could not be made.
        """
        counts = self.queued, self.held
        try:
            return self._run(predictions, Imagined(None if afresh else self.outbox), whole=True)
        finally:
            self.queued, self.held = counts

    def concern(self, prediction: Prediction) -> bool:
        """Tell whether *prediction* makes a rule act, or may arm one again."""
        return any(
            rule.when.kind == "label"
            or rule.when.acts(prediction.score)
            or rule.when.rearms(prediction.score)
            for rule in self._rules_for(prediction)
            if rule.when.kind != "top"
        )

    def _queue(self, connection: sqlite3.Connection | None) -> Queue:
        if connection is None:
            return self.outbox
        if not hasattr(self.outbox, "inside"):
            raise SettingsError(f"apply: {self.outbox} joins no connection; leave it out")
        return cast("Joins", self.outbox).inside(connection)

    def _run(
        self, predictions: Iterable[Prediction], queue: Queue, *, whole: bool
    ) -> tuple[Action, ...]:
        queued: list[Action | None] = []
        runs: dict[str, list[Prediction]] = {}
        for prediction in predictions:
            for rule in self._rules_for(prediction):
                if rule.when.kind != "top":
                    queued.append(self._apply(rule, prediction, queue))
                elif whole and rule.when.acts(prediction.score):
                    runs.setdefault(rule.name, []).append(prediction)
        for rule in self.rules:
            best = rule.best(runs.get(rule.name, ()))
            queued += [self._apply(rule, prediction, queue) for prediction in best]
        return tuple(action for action in queued if action is not None)

    def _rules_for(self, prediction: Prediction) -> tuple[Rule, ...]:
        if prediction.reason == "fallback" or prediction.score is None:
            return ()
        return self._by_model.get(prediction.model, ())

    def _apply(self, rule: Rule, prediction: Prediction, queue: Queue) -> Action | None:
        score, key = prediction.score, key_of(prediction)
        acts = rule.when.kind == "label" or rule.when.acts(score)
        if not math.isfinite(score) or not (acts or rule.when.rearms(score)):
            return None
        if key is None and rule.needs_key:
            if acts:
                self._warn_keyless(rule)
            return None
        before = queue.recall(rule.name, key) if rule.remembers and key is not None else None
        moment = prediction.time_ns / 1e9
        say = verdict(rule, score, prediction.label, moment, before)
        if before is not None and say in {"rearm", "relabel"}:
            queue.renew(renewed(before, say, prediction.label))
        return self._do(say, rule, prediction, queue, before)

    def _do(
        self,
        say: Verdict,
        rule: Rule,
        prediction: Prediction,
        queue: Queue,
        before: Memory | None,
    ) -> Action | None:
        if say == "note":
            noting = rule.note(prediction)
            queue.enqueue(noting, memory=noted(noting.id, prediction.label))
        if say != "act":
            return None
        action, memory = rule.action(prediction), None
        if rule.remembers:
            memory = remembered(rule, action.id, prediction.label, action.created)
        if not queue.enqueue(action, memory=memory, before=before):
            return None
        if action.state == "held":
            self.held += 1
        else:
            self.queued += 1
        return action

    def _warn_keyless(self, rule: Rule, count: int = 1) -> None:
        self.keyless += count
        if rule.name not in self._warned:
            self._warned.add(rule.name)
            _LOG.warning(
                "rule '%s' %s and cannot act on a prediction without a key; "
                "call predict(record, key=...)",
                rule.name,
                "follows each entity" if rule.remembers else "needs to know the entity",
            )
