"""What a run over many rows leaves in the database besides the scores is all there when it ends."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import time
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models.signals import post_init
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from bundles import Toy
from keeping import HIGH, in_service, journal
from mlembed.testing import override_model
from mlembed_crm import Rule, rises_above
from mlembed_django import from_instance, get_model, inserting, score_queryset, writer
from mlembed_django.models import Delivery, Prediction
from mlembed_django.testing import capture_actions
from store.models import Customer, Line, Town

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEEN = dt.datetime(2026, 3, 4, 17, 30, tzinfo=dt.UTC)
N, CHUNK = 25, 10
_INTERRUPTED = 130
CUSTOMER: Any = from_instance(
    "store.Customer",
    Toy,
    income="spent",
    visits="id",
    member="newsletter",
    town="town__name",
    seen="joined",
)


@pytest.fixture
def customers(committing_db: None) -> None:
    """Keep 25 customers, committed."""
    del committing_db
    town = Town.objects.create(name="oslo")
    Customer.objects.bulk_create(
        Customer(name=f"c{i}", age=20 + i, town=town, joined=SEEN) for i in range(N)
    )


@pytest.fixture
def mapped(declared: dict[str, Any]) -> dict[str, Any]:
    """Return the setting of a site of which customers are records of the model `toy`."""
    return {
        **declared,
        "MODELS": {"toy": {"REF": "toy@champion", "RECORD": f"{__name__}.CUSTOMER"}},
    }


@pytest.fixture
def deferred(customers: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let SQLite's transactions begin without a lock, as they do unless a site says otherwise."""
    del customers
    if connection.vendor != "sqlite":
        pytest.skip("SQLite's own")
    connection.close()
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", None)
    yield
    connection.close()


def others_can_write() -> bool:
    """Tell whether another connection can begin to write at this moment."""
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, timeout=0)
    try:
        other.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    finally:
        other.close()
    return True


@pytest.fixture
def watching() -> tuple[list[Rule], list[bool]]:
    """Return a rule that remembers, and whether others could write while each action was made."""
    seen: list[bool] = []

    def payload(_: Any) -> dict[str, Any]:
        seen.append(others_can_write())
        return {}

    return [Rule("up", "toy", rises_above(0.8), "desk", payload)], seen


@pytest.mark.usefixtures("deferred")
def test_nobody_writes_between_what_a_chunk_reads_and_writes(
    mapped: dict[str, Any], watching: tuple[list[Rule], list[bool]]
) -> None:
    """SQLite would refuse the chunk at once, had another committed meanwhile."""
    rules, seen = watching

    with in_service(mapped, ACTIONS=rules), override_model("toy", returns=HIGH):
        score_queryset(Customer.objects.all(), "churn", chunk_size=CHUNK)

    assert seen == [False] * N
    assert Delivery.objects.count() == N


@pytest.mark.usefixtures("deferred")
@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_an_action_locks_before_it_reads_in_the_hosts_transaction(
    mapped: dict[str, Any], watching: tuple[list[Rule], list[bool]], *, many: bool
) -> None:
    """A host that has read nothing loses no action to another that commits meanwhile."""
    rules, seen = watching

    with in_service(mapped, ACTIONS=rules), override_model("toy", returns=HIGH):
        with transaction.atomic():
            if many:
                get_model("toy").predict_batch({"age": [1.0] * 600}, keys=[*range(600)])
            else:
                get_model("toy").predict({}, key="c-1")
        lost = journal().lost

    assert (set(seen), lost) == ({False}, {})


@pytest.mark.usefixtures("deferred")
def test_a_prediction_that_causes_nothing_takes_no_lock(mapped: dict[str, Any]) -> None:
    """It still asks the database nothing."""
    rules = [Rule("up", "toy", rises_above(0.8, 0.5), "desk")]

    with (
        in_service(mapped, ACTIONS=rules),
        override_model("toy", returns=0.6),
        transaction.atomic(),
        CaptureQueriesContext(connection) as queries,
    ):
        get_model("toy").predict({}, key="c-1")

    assert len(queries) == 0


@pytest.mark.usefixtures("customers")
def test_the_command_ends_when_its_predictions_are_written(mapped: dict[str, Any]) -> None:
    """They are all there at once, whatever was still to be written after the last chunk."""
    out = StringIO()

    with in_service(mapped, DATABASE={}):
        call_command("mlembed_score", "store.Customer", "--json", stdout=out)
        kept = Prediction.objects.count()

    assert kept == N
    assert json.loads(out.getvalue())["lost"] == {}


@pytest.fixture
def without_predictions(customers: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take the table of predictions away, and let nobody wait long for it."""
    del customers
    monkeypatch.setattr(writer, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(writer, "_TOLD_SECONDS", 0.05)
    table = Prediction._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away_{table}")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE away_{table} RENAME TO {table}")


class Terminal(StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.usefixtures("without_predictions")
def test_the_command_says_what_is_lost(mapped: dict[str, Any]) -> None:
    """The scores stand, the output and the exit status tell that predictions are not kept."""
    out, terminal = StringIO(), Terminal()

    with in_service(mapped, DATABASE={}):
        with pytest.raises(CommandError, match=rf"{N} predictions, .* are lost \({N} waiting\)"):
            call_command("mlembed_score", "store.Customer", stdout=out, stderr=terminal)
        with pytest.raises(CommandError, match="are lost"):
            call_command(
                "mlembed_score", "store.Customer", "--json", stdout=(as_json := StringIO())
            )

    assert Customer.objects.exclude(churn=None).count() == N
    assert f"{N} of {N} rows scored" in out.getvalue()
    assert f"{N} predictions are still to be kept" in terminal.getvalue()
    assert json.loads(as_json.getvalue())["lost"]["waiting"] >= N


@pytest.fixture
def failing() -> Iterator[Callable[[type[BaseException]], None]]:
    """Return what lets a row of the second chunk raise where it is read."""
    handlers = []

    def fail(error: type[BaseException]) -> None:
        seen: list[int] = []

        def handle(instance: Any, **_: Any) -> None:
            seen.append(instance.pk)
            if len(seen) > CHUNK:
                raise error

        handlers.append(handle)
        post_init.connect(handle, sender=Customer)

    yield fail
    for handle in handlers:
        post_init.disconnect(handle, sender=Customer)


@pytest.mark.usefixtures("customers")
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_ends_the_command_costs_no_prediction_before(
    mapped: dict[str, Any],
    failing: Callable[[type[BaseException]], None],
    error: type[BaseException],
) -> None:
    """The predictions of the chunks that are committed are kept, after Ctrl-C as after a failure."""
    failing(error)

    with in_service(mapped, DATABASE={}):
        with pytest.raises((SystemExit, CommandError)) as ended:
            call_command(
                "mlembed_score", "store.Customer", "--chunk", str(CHUNK), stdout=StringIO()
            )
        kept = Prediction.objects.count()
        status = getattr(ended.value, "code", None)
        del ended  # it holds the cursor that was read from

    assert kept == CHUNK
    assert status == (_INTERRUPTED if error is KeyboardInterrupt else None)


@pytest.mark.usefixtures("customers")
def test_a_run_waits_for_what_it_has_kept_so_far(
    mapped: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may answer faster than the database writes, and fills no memory and drops nothing for that."""
    monkeypatch.setattr(writer, "_MANY_ROWS", CHUNK)
    kept: list[int] = []

    with in_service(mapped, DATABASE={}):
        score_queryset(
            Customer.objects.all(),
            "churn",
            chunk_size=CHUNK,
            hear=lambda _: kept.append(Prediction.objects.count()),
        )

    assert kept[:2] == [CHUNK, 2 * CHUNK]


@pytest.mark.usefixtures("customers")
@pytest.mark.parametrize("database", [{}, None], ids=["kept", "not kept"])
def test_the_command_runs_where_a_test_catches_its_actions(
    mapped: dict[str, Any], database: dict[str, Any] | None
) -> None:
    """There is nothing to wait for: rows are written at once, and actions not at all."""
    rules = [Rule("up", "toy", rises_above(0.8), "desk")]

    with (
        override_settings(MLEMBED={**mapped, "ACTIONS": rules, "DATABASE": database}),
        override_model("toy", returns=HIGH),
        capture_actions() as caught,
    ):
        call_command("mlembed_score", "store.Customer", stdout=StringIO())

    assert len(caught) == N
    assert Prediction.objects.count() == (0 if database is None else N)
    assert Delivery.objects.count() == 0


@pytest.mark.usefixtures("without_predictions")
def test_a_thread_that_ends_is_not_waited_for(mapped: dict[str, Any]) -> None:
    """Whoever closes the site while another waits lets that one go, with what is left."""
    with in_service(mapped, DATABASE={}):
        with override_model("toy", returns=HIGH):
            get_model("toy").predict({})
        left = journal().finish(lambda _: journal().close())
        lost = journal().lost

    assert (left, lost) == (0, {"closed": 1})


@pytest.mark.usefixtures("customers")
def test_a_slow_database_is_waited_for_as_long_as_it_takes_rows(
    mapped: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them together take longer than anybody waits for one."""
    insert = inserting.insert

    def slow(rows: Any, using: str) -> None:
        time.sleep(0.2)
        insert(rows, using)

    monkeypatch.setattr(writer, "insert", slow)
    monkeypatch.setattr(writer, "ROWS", 2)
    monkeypatch.setattr(writer, "_TOLD_SECONDS", 0.05)
    monkeypatch.setattr(writer, "_PATIENCE_SECONDS", 1.0)

    with in_service(mapped, DATABASE={}):
        [*get_model("toy").predict_queryset(Customer.objects.all())]
        begun = time.monotonic()
        left = journal().finish()
        took = time.monotonic() - begun

    assert (left, Prediction.objects.count()) == (0, N)
    assert took > 1.0


@pytest.mark.usefixtures("deferred", "declared")
def test_rows_of_a_composite_key_are_scored_by_chunks() -> None:
    """The lock that SQLite is asked for names a column of any table."""
    Line.objects.bulk_create(Line(order=n // 3, number=n % 3, age=20) for n in range(N))

    with override_model("toy", returns=HIGH):
        done = score_queryset(Line.objects.all(), "churn", chunk_size=CHUNK)

    assert (done.scored, Line.objects.exclude(churn=None).count()) == (N, N)


@pytest.mark.usefixtures("customers")
def test_the_command_waits_for_no_writer_that_waits_for_it(
    mapped: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a transaction of the caller, as of a data migration, predictions are kept after it."""
    monkeypatch.setattr(writer, "_PATIENCE_SECONDS", 1.0)

    with in_service(mapped, DATABASE={}):
        with transaction.atomic():
            call_command("mlembed_score", "store.Customer", stdout=StringIO())
        assert journal().flush(20)
        lost = journal().lost

    assert (Customer.objects.exclude(churn=None).count(), lost) == (N, {})
    assert Prediction.objects.count() == N


@pytest.mark.usefixtures("customers")
@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_in_the_last_wait_ends_the_wait_alone(
    mapped: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    failing: Callable[[type[BaseException]], None],
    fails: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    """What came of the run is told as it is: rows are scored, or why they are not."""
    if fails:
        failing(ValueError)

    def interrupted(*_: Any) -> int:
        raise KeyboardInterrupt

    out = StringIO()
    with in_service(mapped, DATABASE={}):
        monkeypatch.setattr(writer, "_FLUSH_SECONDS", 30.0)
        monkeypatch.setattr(journal()._writer, "finish", interrupted)
        with pytest.raises(CommandError, match=r"waiting\)") as ended:
            call_command("mlembed_score", "store.Customer", "--chunk", str(CHUNK), stdout=out)
        del ended  # it holds the cursor that was read from

    assert (f"{N} of {N} rows scored" in out.getvalue()) is not fails


@pytest.mark.usefixtures("deferred")
def test_an_action_that_is_not_due_needs_no_lock(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that cannot begin to write loses nothing where nothing is to be written."""
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.1)
    rules = [Rule("up", "toy", rises_above(0.8, reset=0.5), "desk")]

    with in_service(declared, ACTIONS=rules), override_model("toy", returns=HIGH):
        get_model("toy").predict({}, key="c-1")
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with transaction.atomic():
            get_model("toy").predict({}, key="c-1")
        other.execute("ROLLBACK")
        other.close()
        lost = journal().lost

    assert (lost, Delivery.objects.count()) == ({}, 1)
