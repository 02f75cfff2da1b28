"""See each prediction and queue the actions its rules ask for.

The host's prediction stands whatever happens here: a queue that fails is logged and counted, and
because its crossing is not remembered either, the next prediction past the threshold acts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError
from mlembed.serving import hooks
from mlembed_crm.rules import Rule, key_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from mlembed.serving.prediction import Prediction
    from mlembed_crm.action import Action
    from mlembed_crm.outbox import Outbox

_LOG = logging.getLogger("mlembed")


class Actions:
    """Applies *rules* to predictions; a prediction hook.

    A prediction that is a fallback, or has no score, never acts. One that abstains has a score, and
    acts by it. A crossing rule does nothing for a prediction without a key, and says so once in the
    log.

    Args:
        outbox: Where actions are queued.
        rules: With names that differ.

    Attributes:
        queued: Actions queued by this object.
        failed: Actions that could not be queued; each is in the log.
        keyless: Predictions that a crossing rule could not follow, for want of a key.

    Raises:
        SettingsError: If two rules share a name.
    """

    def __init__(self, outbox: Outbox, rules: Iterable[Rule]) -> None:
        self.outbox = outbox
        self.rules = tuple(rules)
        self.queued = self.failed = self.keyless = 0
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
            try:
                self._apply(rule, prediction, None)
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
            connection: As for `Outbox.enqueue`.

        Returns:
            The actions that were queued.

        Raises:
            MlembedError: If an action cannot be queued; with a *connection* the host decides then
                whether to commit.
        """
        applied = [
            self._apply(rule, prediction, connection) for rule in self._rules_for(prediction)
        ]
        return tuple(action for action in applied if action is not None)

    def _rules_for(self, prediction: Prediction) -> tuple[Rule, ...]:
        if prediction.reason == "fallback" or prediction.score is None:
            return ()
        return self._by_model.get(prediction.model, ())

    def _apply(
        self, rule: Rule, prediction: Prediction, connection: sqlite3.Connection | None
    ) -> Action | None:
        score, when = prediction.score, rule.when
        acts = when.acts(score)
        if when.crossing:
            key = key_of(prediction)
            if key is None:
                if acts:
                    self._warn_keyless(rule)
                return None
            if not acts and not when.rearms(score):
                return None
            if self.outbox.crossed(rule.name, key, connection=connection):
                if not acts:
                    self.outbox.rearm(rule.name, key, connection=connection)
                return None
        if not acts:
            return None
        action = rule.action(prediction)
        if not self.outbox.enqueue(action, once=when.crossing, connection=connection):
            return None
        self.queued += 1
        return action

    def _warn_keyless(self, rule: Rule) -> None:
        self.keyless += 1
        if rule.name not in self._warned:
            self._warned.add(rule.name)
            _LOG.warning(
                "rule '%s' follows each entity and cannot act on a prediction without a key; "
                "call predict(record, key=...)",
                rule.name,
            )
