"""Actions as a hook: which predictions act, and that the host never notices a failure."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

import mlembed
from crm.receiver import DESTINATION, RULE, acted, prediction
from mlembed.errors import SettingsError
from mlembed.testing import InMemoryRegistry, override_model
from mlembed_crm import Actions, Outbox, Rule, rises_above, score_at_least
from mlembed_crm.errors import OutboxError

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed_crm import Action
    from mlembed_crm.memory import Memory

UP = Rule("up", "payments", rises_above(0.8, reset=0.5), DESTINATION)


def test_attached_actions_see_predictions_until_detached(outbox: Outbox) -> None:
    """Every single prediction of the process is judged, from attach to detach."""
    settings = mlembed.Settings(log=False)
    model = mlembed.load("payments", registry=InMemoryRegistry(), settings=settings)
    detach = Actions(outbox, [UP]).attach()

    with override_model("payments", returns=0.9):
        made = model.predict({}, key="a")
        detach()
        model.predict({}, key="b")

    (queued,) = outbox.list()
    assert (queued.prediction_id, queued.key, queued.score) == (made.id, "a", 0.9)


@pytest.mark.parametrize(("reason", "acts"), [("ok", 1), ("abstain", 1), ("fallback", 0)])
def test_fallback_never_acts(outbox: Outbox, reason: str, acts: int) -> None:
    """A host's default is no opinion of a model; a score it abstained on is one."""
    actions = Actions(outbox, [RULE, UP])

    actions(prediction(0.9, reason=reason))  # type: ignore[arg-type]  # one of the three

    assert actions.queued == 2 * acts


def test_other_models_do_nothing(outbox: Outbox) -> None:
    """A rule is for one model."""
    actions = Actions(outbox, [RULE])

    actions(prediction(0.9, model="churn"))

    assert (actions.queued, actions.failed) == (0, 0)


def test_keyless_prediction_is_left_by_a_crossing_rule_and_said_once(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a key there is no entity to follow; rules that act each time do not need one."""
    actions = Actions(outbox, [UP, RULE])

    for _ in range(3):
        actions(prediction(0.9, key=None))
    actions(prediction(0.1, key=None))

    assert [queued.rule for queued in outbox.list()] == [RULE.name] * 3
    assert actions.keyless == 3
    assert caplog.text.count("without a key") == 1


def test_failed_action_is_logged_and_counted_and_the_next_rule_goes_on(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """One rule's bug costs that rule's action, and nobody else's."""

    def broken(_prediction: mlembed.Prediction) -> dict[str, object]:
        raise KeyError

    bad = Rule("bad", "payments", rises_above(0.8), DESTINATION, broken)
    actions = Actions(outbox, [bad, RULE])

    actions(prediction(0.9))

    assert (actions.queued, actions.failed) == (1, 1)
    assert "rule 'bad'" in caplog.text
    assert not acted(outbox, "bad", "c-1")


def test_crossing_that_could_not_be_queued_fires_on_the_next_prediction(
    tmp_path: Path,
) -> None:
    """A failure is not remembered as a crossing, so the entity is not forgotten."""
    outbox = Outbox(tmp_path / "actions.db", busy_seconds=0.01)
    actions = Actions(outbox, [UP])
    other = sqlite3.connect(outbox.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    actions(prediction(0.9))
    other.execute("ROLLBACK")
    other.close()

    actions(prediction(0.9))

    assert (actions.queued, actions.failed) == (1, 1)


def test_apply_joins_the_hosts_transaction_or_raises(outbox: Outbox) -> None:
    """A host that wants both or neither calls apply inside its transaction."""
    actions = Actions(outbox, [UP])
    host = sqlite3.connect(outbox.path, isolation_level=None)

    with pytest.raises(OutboxError, match="BEGIN first"):
        actions.apply(prediction(0.9), connection=host)
    host.execute("BEGIN IMMEDIATE")
    (queued,) = actions.apply(prediction(0.9), connection=host)
    again = actions.apply(prediction(0.95), connection=host)
    host.execute("COMMIT")
    host.close()

    assert again == ()
    assert [one.id for one in outbox.list()] == [queued.id]
    assert actions.apply(prediction(0.6)) == actions.apply(prediction(0.1)) == ()
    assert len(actions.apply(prediction(0.9))) == 1


def test_rule_that_acts_each_time_takes_one_prediction_once(outbox: Outbox) -> None:
    """The same prediction, applied again by a task that was retried, acts once."""
    actions = Actions(outbox, [Rule("each", "payments", score_at_least(0.5), DESTINATION)])
    made = prediction(0.9)

    assert len(actions.apply(made)) == 1
    assert actions.apply(made) == ()


def test_two_rules_of_one_name_are_refused(outbox: Outbox) -> None:
    """Crossings are remembered by the rule's name."""
    with pytest.raises(SettingsError, match="'up'"):
        Actions(outbox, [UP, UP])


class Elsewhere:
    """An outbox that is in no SQLite file."""

    def enqueue(
        self, _action: Action, *, memory: Memory | None = None, before: Memory | None = None
    ) -> bool:
        return memory is before

    def recall(self, _rule: str, _key: str) -> Memory | None:
        return None

    def renew(self, _memory: Memory) -> None:
        """Remember nothing."""


def test_apply_refuses_a_connection_that_its_outbox_cannot_join(tmp_path: Path) -> None:
    """A connection to SQLite means nothing to an outbox that is somewhere else."""
    host = sqlite3.connect(tmp_path / "host.db")

    with pytest.raises(SettingsError, match="joins no connection"):
        Actions(Elsewhere(), [RULE]).apply(prediction(0.9), connection=host)
    host.close()


@pytest.mark.parametrize(
    ("score", "concerns"), [(0.9, True), (0.6, False), (0.5, False), (0.4, True)]
)
def test_prediction_concerns_rules_that_act_or_arm_again(
    outbox: Outbox, *, score: float, concerns: bool
) -> None:
    """Between its bounds a rule has nothing to look up."""
    actions = Actions(outbox, [UP])

    assert actions.concern(prediction(score)) is concerns
    assert not actions.concern(prediction(score, reason="fallback"))
