"""Actions of the site: in the host's transaction, for one answer, a batch and a coroutine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from asgiref.sync import async_to_sync
from django.core.checks import run_checks
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles import RECORD, toy_table
from crm.receiver import action, once
from keeping import HIGH, LOW, in_service, journal
from mlembed.serving.batch import Batch
from mlembed.testing import override_model
from mlembed_crm import (
    Rule,
    Upsert,
    every_score,
    falls_below,
    label_changes,
    rises_above,
    score_at_least,
    top,
)
from mlembed_django.acting import SiteActions
from mlembed_django.batches import BatchRows
from mlembed_django.conf import get_model
from mlembed_django.models import Delivery, Prediction
from mlembed_django.outbox import DjangoOutbox
from mlembed_django.runs import whole_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed_crm.conditions import Condition

    Scores = Sequence[float] | NDArray[np.float64]

ACTS = {"ACTIONS": "keeping.RULES"}
UP = Rule("up", "toy", rises_above(0.8, reset=0.5))
BROKEN = 7


def batch_rows(scores: Scores, keys: Sequence[Any] | None, error: str = "") -> BatchRows:
    """Return a batch of answers as a model gives it."""
    batch = Batch(
        np.array(scores, dtype=float),
        lambda score: (score > 0.5, "ok"),
        *("toy", "1.0.0", time.time_ns(), error),
    )
    return BatchRows(batch, keys)


def state() -> tuple[list[tuple[str, str]], set[tuple[str, str]]]:
    """Return what was queued, in order, and what is crossed."""
    queued = Delivery.objects.order_by("pk").values_list("rule", "key")
    crossed = Delivery.objects.filter(memory__isnull=False, armed=False)
    return list(queued), set(crossed.values_list("rule", "key"))


@pytest.mark.usefixtures("committing_db")
@pytest.mark.parametrize("fails", [False, True])
def test_action_commits_or_rolls_back_with_the_host(
    declared: dict[str, Any], *, fails: bool
) -> None:
    """An action and its crossing are there if the host's transaction is."""
    serving, high = in_service(declared, **ACTS), override_model("toy", returns=HIGH)
    with serving, high, transaction.atomic():
        get_model("toy").predict(RECORD, key="c-1")
        transaction.set_rollback(fails)

    kept = [("up", "c-1"), ("each", "c-1")]
    assert state() == (([], set()) if fails else (kept, {("up", "c-1")}))


@pytest.mark.usefixtures("committing_db")
def test_prediction_that_causes_nothing_asks_the_database_nothing(declared: dict[str, Any]) -> None:
    """Between reset and threshold no rule has to look at what it remembers."""
    queries, between = CaptureQueriesContext(connection), override_model("toy", returns=0.6)
    with in_service(declared, **ACTS), between, queries:
        get_model("toy").predict(RECORD, key="c-1")
        get_model("toy").predict_batch(toy_table(3), keys=[1, 2, 3])

    assert queries.captured_queries == []


@pytest.mark.usefixtures("db")
def test_batch_acts_for_its_keys(declared: dict[str, Any]) -> None:
    """Rows of a batch act as single answers do, under the ids that the batch gives."""
    with override_settings(MLEMBED={**declared, **ACTS}), override_model("toy", returns=HIGH):
        batch = get_model("toy").predict_batch(toy_table(3), keys=["a", "b", "a"])

    made = list(Delivery.objects.filter(rule="each").order_by("pk"))
    assert [row.prediction for row in made] == batch.ids
    assert [row.key for row in Delivery.objects.filter(rule="up").order_by("pk")] == ["a", "b"]
    assert made[0].payload == '{"list":"calls"}'
    assert (made[0].model, made[0].version, made[0].score) == ("toy", "override", HIGH)


@pytest.mark.usefixtures("db")
def test_large_batch_makes_few_queries() -> None:
    """100,000 rows of which 500 act cost a few queries, not one a row."""
    scores = np.full(100_000, LOW)
    scores[::200] = HIGH
    keys = [f"c-{n}" for n in range(100_000)]
    actions = SiteActions(DjangoOutbox(), [UP])

    with CaptureQueriesContext(connection) as queries:
        actions.apply_batch(batch_rows(scores, keys))
    first = len(queries)
    with CaptureQueriesContext(connection) as queries:
        actions.apply_batch(batch_rows(scores[::-1], keys[::-1]))

    assert (actions.queued, actions.failed) == (500, 0)
    assert len(state()[1]) == 500
    # SQLite takes 58 rows an INSERT, PostgreSQL all.
    assert first <= 40
    assert len(queries) <= 6


SCORES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0.05, 0.3, 0.6, 0.85, 0.95])), max_size=12
)
RULES = [
    UP,
    Rule("down", "toy", falls_below(0.2, reset=0.5)),
    Rule("each", "toy", score_at_least(0.9)),
    Rule("calm", "toy", every_score(), cooldown_seconds=3600),
    Rule("slow", "toy", rises_above(0.8, 0.5), cooldown_seconds=3600, control=0.4),
    Rule("label", "toy", label_changes()),
    Rule("red", "toy", label_changes(to=True), control=0.4),
    Rule("score", "toy", every_score(), upsert=Upsert("contacts", "id", {"ml_score": "score"})),
]


@pytest.mark.usefixtures("db")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=SCORES, after=SCORES)
def test_batch_does_what_its_rows_do_one_by_one(
    before: list[tuple[str, float]], after: list[tuple[str, float]]
) -> None:
    """Whatever came before, a batch queues and remembers what single answers in its order do."""
    ends = []
    batches = [
        batch_rows([score for _, score in some], [key for key, _ in some])
        for some in (before, after)
    ]
    for alone in (True, False):
        with transaction.atomic():
            actions = SiteActions(DjangoOutbox(), RULES)
            for rows in batches:
                if alone:
                    for place in range(len(rows)):
                        actions(rows.prediction(place))
                else:
                    actions.apply_batch(rows)
            made = ("rule", "key", "score", "state", "label", "armed", "seen", "quiet_until")
            kept = list(Delivery.objects.order_by("rule", "pk").values_list(*made, "memory"))
            # What is remembered of an entity stands in one row; what others say of it is past.
            ends.append(
                (
                    sorted(row[:4] for row in kept),
                    sorted(str(row) for row in kept if row[-1]),
                    (actions.queued, actions.held, actions.failed),
                )
            )
            transaction.set_rollback(True)

    assert ends[0] == ends[1]


@pytest.mark.usefixtures("db")
def test_best_of_a_batch_and_of_a_whole_run_act() -> None:
    """A batch is a run of its own, unless a longer one is open; what breaks off is none."""
    actions = SiteActions(DjangoOutbox(), [Rule("best", "toy", top(2))])
    site: Any = SimpleNamespace(journal=actions)
    first, second = batch_rows([0.1, 0.9, 0.5], "abc"), batch_rows([0.7, 0.2, 0.95], "def")

    actions.apply_batch(first)
    alone = state()[0]
    with whole_run(site):
        for rows in (first, second):
            actions.apply_batch(rows)
        during = state()[0]
    with contextlib.suppress(KeyError), whole_run(site):
        actions.apply_batch(batch_rows([0.99], "x"))
        raise KeyError

    assert alone == during == [("best", "b"), ("best", "c")]
    assert state()[0][2:] == [("best", "f")]  # of b the same prediction has acted already
    assert actions.queued == 3


@pytest.mark.usefixtures("db")
def test_fallback_and_keyless_batches_do_not_cross(caplog: pytest.LogCaptureFixture) -> None:
    """A default is no opinion, and without a key there is nobody to follow."""
    actions = SiteActions(DjangoOutbox(), [UP])

    actions.apply_batch(batch_rows([HIGH], ["a"], error="NotFoundError: gone"))
    actions.apply_batch(batch_rows([HIGH, HIGH, LOW], None))
    actions.apply_batch(batch_rows([HIGH, float("nan")], [None, "b"]))

    assert state() == ([], set())
    assert actions.keyless == 3
    assert caplog.text.count("without a key") == 1


@pytest.mark.usefixtures("db")
def test_payload_that_fails_on_a_row_costs_that_action_alone() -> None:
    """The other rows act, nothing is remembered of the one, and the transaction goes on."""

    def payload(prediction: Any) -> Mapping[str, Any]:
        if prediction.key == str(BROKEN):
            with connection.cursor() as cursor:
                cursor.execute("SELECT * FROM nowhere")
        return {"score": prediction.score}

    actions = SiteActions(DjangoOutbox(), [Rule("up", "toy", rises_above(0.8), payload=payload)])

    actions.apply_batch(batch_rows([HIGH] * 10, range(10)))

    assert (actions.queued, actions.failed) == (9, 1)
    assert len(state()[1]) == 9
    assert ("up", str(BROKEN)) not in state()[1]


@pytest.mark.usefixtures("committing_db")
def test_batch_acts_once_where_another_was_faster() -> None:
    """A crossing that another process made after the batch looked acts no second time."""

    def payload(_prediction: object) -> Mapping[str, Any]:
        if not Delivery.objects.exists():  # as another would, between the look and the writing
            once(DjangoOutbox(), action("b", rule=UP))
        return {}

    actions = SiteActions(DjangoOutbox(), [Rule("up", "toy", UP.when, UP.destination, payload)])

    actions.apply_batch(batch_rows([HIGH] * 3, "abc"))

    queued, crossed = state()
    assert sorted(queued) == [("up", "a"), ("up", "b"), ("up", "c")]
    assert (len(crossed), actions.queued, actions.failed) == (3, 2, 0)


@pytest.mark.usefixtures("committing_db")
def test_coroutine_acts_and_keeps_before_it_goes_on(declared: dict[str, Any]) -> None:
    """What apredict answers has acted, and stands in the site's tables, when it is there."""
    with in_service(declared, DATABASE={"PREDICTIONS": "transaction"}, **ACTS):
        with override_model("toy", returns=HIGH):
            async_to_sync(get_model("toy").apredict)(RECORD, key="c-1")
        lost = journal().lost

    assert state()[0] == [("up", "c-1"), ("each", "c-1")]
    assert (Prediction.objects.count(), lost) == (1, {})


@pytest.mark.usefixtures("committing_db")
def test_sync_call_on_a_loop_is_handed_over_and_said_once(
    declared: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Where the ORM must not be used nothing is lost, and the log names what to call."""

    async def predict() -> None:
        for key in ("a", "b"):
            get_model("toy").predict(RECORD, key=key)
        get_model("toy").predict_batch(toy_table(1), keys=["c"])

    serving = in_service(declared, DATABASE={"PREDICTIONS": "transaction"}, **ACTS)
    with serving, override_model("toy", returns=HIGH):
        asyncio.run(predict())
        assert journal().flush(10)
        lost = journal().lost

    assert (Prediction.objects.count(), Delivery.objects.count(), lost) == (3, 6, {})
    assert caplog.text.count("await apredict there") == 1


@pytest.mark.usefixtures("db")
def test_sync_call_on_a_loop_is_counted_in_tests(
    declared: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A thread would write outside of the test's transaction, so it is told instead."""

    async def predict() -> None:
        get_model("toy").predict(RECORD, key="a")

    with override_settings(MLEMBED={**declared, "DATABASE": {}, **ACTS}):
        with override_model("toy", returns=HIGH):
            asyncio.run(predict())
        lost = journal().lost

    assert lost == {"loop": 2}
    assert "await apredict there" in caplog.text


@pytest.mark.usefixtures("committing_db")
def test_request_that_is_cancelled_leaves_whole_rows(declared: dict[str, Any]) -> None:
    """Whenever a task is cancelled, an action has its crossing, and the next answer is kept."""

    async def cancelled(model: Any, ticks: int) -> None:
        task = asyncio.create_task(model.apredict(RECORD, key=f"c-{ticks}"))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with in_service(declared, DATABASE={"PREDICTIONS": "transaction"}, **ACTS):
        with override_model("toy", returns=HIGH):
            for ticks in range(12):
                async_to_sync(cancelled)(get_model("toy"), ticks)
            async_to_sync(get_model("toy").apredict)(RECORD, key="last")
        lost = journal().lost

    queued, crossed = state()
    assert {key for rule, key in queued if rule == "up"} == {key for _, key in crossed}
    assert ("up", "last") in crossed
    assert lost == {}


@pytest.mark.usefixtures("db")
def test_rules_that_cannot_be_imported_cost_no_answer(
    declared: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The site answers and keeps; the log says once that nothing acts, and how to find out."""
    with override_settings(MLEMBED={**declared, "DATABASE": {}, "ACTIONS": "keeping.NOTHING"}):
        for _ in range(2):
            assert get_model("toy").predict(RECORD).reason == "ok"
        lost = journal().lost

    assert Prediction.objects.count() == 2
    assert lost == {"actions": 1}
    assert caplog.text.count("'keeping.NOTHING' gives no rules") == 1


@pytest.mark.usefixtures("committing_db")
def test_action_in_the_hosts_transaction_is_one_insert(declared: dict[str, Any]) -> None:
    """Crossing, cooldown and memory are columns of the row that is written anyway."""
    rule = Rule("up", "toy", rises_above(0.8, 0.5), "desk", cooldown_seconds=1e-9, control=0.01)
    with in_service(declared, ACTIONS=[rule]), transaction.atomic():
        for score in (HIGH, LOW, HIGH):
            with override_model("toy", returns=score), CaptureQueriesContext(connection) as queries:
                get_model("toy").predict(RECORD, key="c-1")
            texts = [each["sql"] for each in queries.captured_queries]
            assert sum(text.startswith("INSERT") for text in texts) == (score == HIGH)

    assert Delivery.objects.count() == 2


@pytest.mark.usefixtures("committing_db")
def test_rules_may_stand_in_the_setting_itself(declared: dict[str, Any]) -> None:
    """A list of rules is as good as the path of one, and is checked alike."""
    good = [Rule("each", "toy", score_at_least(0.5), "desk")]
    with in_service(declared, ACTIONS=good), override_model("toy", returns=HIGH):
        get_model("toy").predict(RECORD, key="c-1")
    with override_settings(MLEMBED={**declared, "ACTIONS": [*good, *good]}):
        found = [message.id for message in run_checks(tags=["mlembed"])]

    assert state()[0] == [("each", "c-1")]
    assert "mlembed.E007" in found


@pytest.mark.usefixtures("committing_db")
@pytest.mark.parametrize("ends", [HIGH, LOW])
def test_another_that_was_faster_with_one_costs_no_other(ends: float) -> None:
    """What a batch planned for the other entities happens all the same, each crossing of it."""

    def payload(_prediction: object) -> Mapping[str, Any]:
        if not Delivery.objects.exists():  # as another would, between the look and the writing
            once(DjangoOutbox(), action("x", rule=UP))
        return {}

    actions = SiteActions(DjangoOutbox(), [Rule("up", "toy", UP.when, UP.destination, payload)])
    scores = [HIGH, LOW, HIGH, LOW, HIGH, *([] if ends == HIGH else [LOW])]

    actions.apply_batch(batch_rows(scores, "x" + "k" * (len(scores) - 1)))
    actions(batch_rows([HIGH], "k").prediction(0))

    crossings = 2 if ends == HIGH else 3
    assert state()[0].count(("up", "k")) == crossings
    assert (state()[0].count(("up", "x")), actions.failed) == (1, 0)


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(
    "when", [rises_above(0.8), score_at_least(0.8), falls_below(0.2), every_score(), top(3)]
)
def test_score_that_is_no_number_is_passed_over_in_a_batch(when: Condition) -> None:
    """As in a single answer, it causes nothing and is no failure."""
    actions = SiteActions(DjangoOutbox(), [Rule("r", "toy", when)])
    number = 0.1 if when.kind == "falls_below" else HIGH

    actions.apply_batch(batch_rows([np.inf, number, -np.inf, np.nan], "abcd"))

    assert state()[0] == [("r", "b")]
    assert actions.failed == 0


@pytest.mark.usefixtures("db")
def test_odd_key_is_refused_and_costs_no_other() -> None:
    """No action goes to the record of another for want of a character in its key."""
    actions = SiteActions(DjangoOutbox(), [UP])

    actions.apply_batch(batch_rows([HIGH] * 3, ["a", "b\0", "c\ud800"]))

    assert state()[0] == [("up", "a")]
    assert actions.failed == 2
