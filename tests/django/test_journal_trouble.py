"""A database that is down, locked, full or not migrated never costs a prediction."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import OperationalError, connection, transaction

from bundles import RECORD, toy_table
from keeping import HIGH, in_service, journal, run_site, the_database
from mlembed.testing import override_model
from mlembed_django import writer
from mlembed_django.conf import get_model
from mlembed_django.inserting import explained
from mlembed_django.models import Delivery, ModelVersion, Outcome, Prediction
from mlembed_django.times import date_of_ns
from store.models import Town

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRANSACTION = {"DATABASE": {"PREDICTIONS": "transaction"}, "ACTIONS": "keeping.RULES"}


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold a lock that keeps every other connection from writing."""
    if connection.vendor == "sqlite":
        other: Any = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
    else:
        other = connection.copy()
        other.set_autocommit(False)
        other.cursor().execute("LOCK TABLE mlembed_prediction, mlembed_modelversion")
    try:
        yield
    finally:
        other.rollback()
        other.close()


@contextlib.contextmanager
def without_tables() -> Iterator[None]:
    """Take the tables away, as where migrations are not applied."""
    models = (Prediction, Outcome, ModelVersion, Delivery)
    names = [model._meta.db_table for model in models]
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"ALTER TABLE {name} RENAME TO away_{name}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute(f"ALTER TABLE away_{name} RENAME TO {name}")


@pytest.mark.usefixtures("committing_db")
def test_locked_database_holds_nobody_up(declared: dict[str, Any]) -> None:
    """Callers go on at once; what they were answered is written when the lock is gone."""
    with in_service(declared, DATABASE={}):
        get_model("toy").predict(RECORD)
        assert journal().flush(10)
        with locked():
            begun = time.monotonic()
            for _ in range(20):
                get_model("toy").predict(RECORD)
            took = time.monotonic() - begun
            flushed = journal().flush(0.3)
        assert journal().flush(30)
        lost = journal().lost

    assert took < 1
    assert (flushed, lost, Prediction.objects.count()) == (False, {}, 21)


@pytest.mark.usefixtures("committing_db")
def test_migrations_that_are_not_applied_are_told_once(
    declared: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Predictions stand, the log names the command, and what waited is written afterwards."""
    with in_service(declared, DATABASE={}):
        with without_tables():
            for _ in range(3):
                assert get_model("toy").predict(RECORD).reason == "ok"
                assert not journal().flush(0.5)
        assert journal().flush(10)
        lost = journal().lost

    assert (Prediction.objects.count(), lost) == (3, {})
    assert caplog.text.count("rows are not written yet") == 1
    assert "manage.py migrate mlembed --database default" in caplog.text


@pytest.mark.usefixtures("committing_db")
def test_host_goes_on_in_its_transaction_where_tables_are_missing(
    declared: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a row nor an action that fails spoils what the host does around it."""
    serving, high = in_service(declared, **TRANSACTION), override_model("toy", returns=HIGH)
    with without_tables(), serving, high, transaction.atomic():
        Town.objects.create(name="Oslo")
        get_model("toy").predict(RECORD, key="c-1")
        get_model("toy").predict_batch(toy_table(2), keys=[1, 2])
        get_model("toy").outcome(key="c-1", value=True)
        Town.objects.create(name="Lyon")
        lost = journal().lost

    # One row, one batch of two, one outcome; of two rules one action each, and each for the batch.
    assert lost == {"failed": 4, "unqueued": 2 + 2 + 1}
    assert Town.objects.count() == 2
    assert "manage.py migrate mlembed --database default" in caplog.text


@pytest.mark.usefixtures("committing_db")
def test_row_that_is_refused_costs_no_other(
    declared: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """One row that the database does not take is counted; the rest of its batch is written."""
    now = date_of_ns(time.time_ns())

    def made() -> Iterator[Prediction]:
        for row in (0, 2**70, 1):
            yield Prediction(uuid=uuid.UUID(int=1), row=row, model="toy", reason="ok", created=now)

    with in_service(declared, DATABASE={}):
        journal()._writer.put(1, 3, made)
        assert journal().flush(10)
        lost = journal().lost

    assert (Prediction.objects.count(), lost) == (2, {"refused": 1})
    assert str(2**70) not in caplog.text


@pytest.mark.usefixtures("committing_db")
def test_rows_that_fail_to_be_made_cost_no_other(declared: dict[str, Any]) -> None:
    """What cannot be described is counted; what was made before and what waits behind is written."""
    now = date_of_ns(time.time_ns())

    def made() -> Iterator[Prediction]:
        yield Prediction(uuid=uuid.UUID(int=1), model="toy", reason="ok", created=now)
        raise ZeroDivisionError

    with in_service(declared, DATABASE={}):
        journal()._writer.put(1, 3, made)
        get_model("toy").predict(RECORD)
        assert journal().flush(10)
        lost = journal().lost

    assert (Prediction.objects.count(), lost) == (2, {"row": 2})


class Odd:
    """A key of a host's own that fails."""

    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.usefixtures("committing_db")
def test_key_that_fails_costs_no_row(declared: dict[str, Any]) -> None:
    """A row of a batch whose key is no text is kept without one, and acts for nobody."""
    acting = {"DATABASE": {}, "ACTIONS": "keeping.RULES"}
    with in_service(declared, **acting), override_model("toy", returns=HIGH):
        get_model("toy").predict_batch(toy_table(3), keys=[1, Odd(), 3])
        assert journal().flush(10)
        lost = journal().lost

    assert sorted(Prediction.objects.values_list("key", flat=True)) == ["", "1", "3"]
    crossed = Delivery.objects.filter(rule="up", memory__isnull=False)
    assert (crossed.count(), lost) == (2, {})


@pytest.mark.usefixtures("committing_db")
def test_full_queue_drops_and_counts(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory has a bound while the database is down, and each row beyond it is counted."""
    monkeypatch.setattr(writer, "MAX_BYTES", 10_000)

    with in_service(declared, DATABASE={}):
        get_model("toy").predict(RECORD)
        assert journal().flush(10)
        with locked():
            for _ in range(50):
                get_model("toy").predict(RECORD)
        assert journal().flush(30)
        lost = journal().lost

    assert lost["full"] > 30
    assert Prediction.objects.count() + lost["full"] == 51
    assert caplog.text.count("(full)") == 1


@pytest.mark.usefixtures("committing_db")
def test_job_waits_for_room_while_the_database_keeps_up(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches that are made faster than they are written lose no row."""
    monkeypatch.setattr(writer, "MAX_BYTES", 100_000)

    with in_service(declared, DATABASE={}):
        for _ in range(20):
            get_model("toy").predict_batch(toy_table(500))
        assert journal().flush(30)
        lost = journal().lost

    assert (Prediction.objects.count(), lost) == (10_000, {})


@pytest.mark.usefixtures("committing_db")
def test_job_waits_once_for_a_database_that_is_locked(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that takes nothing holds a job up for a moment, not for each batch."""
    monkeypatch.setattr(writer, "MAX_BYTES", 100_000)
    monkeypatch.setattr(writer, "_ROOM_SECONDS", 0.5)

    with in_service(declared, DATABASE={}):
        get_model("toy").predict_batch(toy_table(500))
        assert journal().flush(10)
        with locked():
            begun = time.monotonic()
            for _ in range(20):
                get_model("toy").predict_batch(toy_table(500))
            took = time.monotonic() - begun
        assert journal().flush(30)
        lost = journal().lost

    assert 0.4 < took < 4
    assert Prediction.objects.count() + lost["full"] == 21 * 500


@pytest.mark.usefixtures("committing_db")
def test_writer_outlives_a_long_outage(declared: dict[str, Any]) -> None:
    """After more failures than a float has powers of two it writes what waited."""
    with in_service(declared, DATABASE={}):
        kept = journal()._writer
        kept._failures = 5_000
        get_model("toy").predict(RECORD, key="a")
        thread = kept._thread
        assert thread is not None
        assert journal().flush(10)
        assert kept._thread is thread
        assert thread.is_alive()

    assert Prediction.objects.get().key == "a"


@pytest.mark.usefixtures("committing_db")
def test_thread_that_died_is_replaced(declared: dict[str, Any]) -> None:
    """Whatever ended it, the next row has it written."""
    dead = threading.Thread(target=int)
    dead.start()
    dead.join()
    with in_service(declared, DATABASE={}):
        kept = journal()._writer
        kept._thread = dead
        get_model("toy").predict(RECORD, key="a")

        assert kept._thread is not dead
        assert journal().flush(10)

    assert Prediction.objects.get().key == "a"


@pytest.mark.usefixtures("committing_db")
def test_caller_that_is_cancelled_loses_no_action(declared: dict[str, Any]) -> None:
    """A client that leaves while Django's one thread is busy changes nothing of what was predicted."""

    async def leave() -> None:
        busy = asyncio.ensure_future(sync_to_async(time.sleep)(0.5))
        await asyncio.sleep(0.05)
        asking = asyncio.ensure_future(get_model("toy").apredict(RECORD, key="a"))
        await asyncio.sleep(0.1)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await busy

    with in_service(declared, DATABASE={"PREDICTIONS": "transaction"}, ACTIONS="keeping.EAGER"):
        _ = get_model("toy").version
        async_to_sync(leave)()

        assert (Prediction.objects.count(), Delivery.objects.count()) == (1, 1)
        assert not journal().lost


@pytest.mark.usefixtures("committing_db")
def test_close_gives_up_and_counts(declared: dict[str, Any]) -> None:
    """A process ends within two seconds whatever its database does, and says what it left."""
    with in_service(declared, DATABASE={}):
        get_model("toy").predict(RECORD)
        assert journal().flush(10)
        with locked():
            get_model("toy").predict(RECORD)
            begun = time.monotonic()
            journal().close()
            took = time.monotonic() - begun
        lost = journal().lost

    assert took < 5
    assert lost == {"closed": 1}


@pytest.mark.usefixtures("committing_db")
def test_journal_begins_anew_after_close(declared: dict[str, Any]) -> None:
    """What is predicted after a close is written too."""
    with in_service(declared, DATABASE={}):
        for _ in range(2):
            get_model("toy").predict(RECORD)
            journal().close()

    assert Prediction.objects.count() == 2


DOWN = """
from pathlib import Path
import time

begun = time.monotonic()
reasons = [model.predict(RECORD, key="c").reason, *model.predict_batch(toy_table(2)).reasons]
model.outcome(key="c", value=True)
took = time.monotonic() - begun
flushed = site().journal.flush(1.0)
site().close()
print(json.dumps({"reasons": reasons, "took": took, "flushed": flushed, "lost": site().journal.lost}))
"""


def down(tmp_path: Path, engine: str) -> dict[str, Any]:
    """Return a database that is not there."""
    if engine == "sqlite3":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "no" / "db.sqlite3")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"NAME": "x", "USER": "x", "HOST": "127.0.0.1", "PORT": str(port)}
    return {"ENGINE": "django.db.backends.postgresql", **place}


@pytest.mark.parametrize("engine", ["sqlite3", "postgresql"])
def test_database_that_is_down_costs_no_prediction(
    declared: dict[str, Any], tmp_path: Path, engine: str
) -> None:
    """The caller is answered at once; the log tells once, and all that was lost is counted."""
    said, logged = run_site(DOWN, declared, down(tmp_path, engine), DATABASE={})

    assert said["reasons"] == ["ok"] * 3
    assert said["took"] < 5
    assert (said["flushed"], said["lost"]) == (False, {"closed": 4})
    assert logged.count("rows are not written yet") == 1


@pytest.mark.parametrize("engine", ["sqlite3", "postgresql"])
def test_database_that_is_down_costs_no_prediction_in_a_transaction(
    declared: dict[str, Any], tmp_path: Path, engine: str
) -> None:
    """Where rows and actions are to be written at once, the answer stands too."""
    acting = {**TRANSACTION, "ACTIONS": "keeping.EAGER"}

    said, logged = run_site(DOWN, declared, down(tmp_path, engine), **acting)

    assert said["reasons"] == ["ok"] * 3
    assert said["lost"]["failed"] == 4
    assert said["lost"]["unqueued"] >= 1
    assert "predictions go on" in logged


BACK = """
from pathlib import Path

model.predict(RECORD)
before = site().journal.flush(0.5)
Path(settings.DATABASES["default"]["NAME"]).parent.mkdir()
call_command("migrate", verbosity=0)
after = site().journal.flush(10.0)
print(json.dumps([before, after, Prediction.objects.count(), site().journal.lost]))
"""


def test_database_that_comes_back_is_given_what_waited(
    declared: dict[str, Any], tmp_path: Path
) -> None:
    """Nothing is lost while there is room for it."""
    said, _ = run_site(BACK, declared, down(tmp_path, "sqlite3"), DATABASE={})

    assert said == [False, True, 1, {}]


EXIT = """
for _ in range(700):
    model.predict(RECORD)
print(json.dumps(0))
"""


@pytest.mark.usefixtures("committing_db")
def test_process_that_ends_writes_what_waits(declared: dict[str, Any]) -> None:
    """The last second of a worker is not lost."""
    run_site(EXIT, declared, the_database(), DATABASE={})

    assert Prediction.objects.count() == 700


FORK = """
import os, threading, warnings
from django.db import connections
warnings.simplefilter("ignore", DeprecationWarning)

model.predict(RECORD, key="parent")
assert site().journal.flush(10)
for _ in range(5):
    model.predict(RECORD, key="parent")  # these wait while the workers are forked
workers = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert "mlembed-rows" not in [thread.name for thread in threading.enumerate()]
            for _ in range(10):
                model.predict(RECORD, key="worker")
            assert site().journal.flush(10)
            assert site().journal.lost == {}
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    workers.append(pid)
ended = [os.waitpid(pid, 0)[1] for pid in workers]
model.predict(RECORD, key="parent")
assert site().journal.flush(10)
keys = list(Prediction.objects.values_list("key", flat=True))
print(json.dumps([ended, keys.count("parent"), keys.count("worker"), site().journal.lost]))
"""


@pytest.mark.usefixtures("committing_db")
@pytest.mark.parametrize("max_age", [0, None])
def test_workers_that_are_forked_write_their_own_rows(
    declared: dict[str, Any], max_age: int | None
) -> None:
    """After a first row in the parent each child begins its own thread; no row is lost or doubled."""
    database = {**the_database(), "CONN_MAX_AGE": max_age}

    said, logged = run_site(FORK, declared, database, DATABASE={})

    assert said == [[0, 0], 7, 20, {}], logged


@pytest.mark.usefixtures("committing_db")
def test_journal_has_all_its_room_after_a_close(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was given up at a close takes no room, and is not counted again."""
    monkeypatch.setattr(writer, "MAX_BYTES", 150_000)
    with in_service(declared, DATABASE={}):
        with without_tables(), override_model("toy", returns=HIGH):
            for _ in range(3):
                get_model("toy").predict_batch(toy_table(400))
            journal().close()
        given_up = journal().lost
        for _ in range(2):
            get_model("toy").predict_batch(toy_table(400))
            assert journal().flush(20)
        lost, waiting = journal().lost, journal().waiting

    assert given_up == {"closed": 1200}
    assert (lost, waiting) == (given_up, 0)
    assert Prediction.objects.count() == 800


@pytest.mark.usefixtures("committing_db")
def test_rows_that_are_lost_are_not_waited_for(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row is counted as lost or as waiting, never as both."""
    monkeypatch.setattr(writer, "_PATIENCE_SECONDS", 2.0)
    monkeypatch.setattr(writer, "_TOLD_SECONDS", 0.05)

    def bad() -> Iterator[Any]:
        raise ValueError
        yield

    with in_service(declared, DATABASE={}):
        with without_tables(), override_model("toy", returns=HIGH):
            journal()._writer.put(10, 100, bad)
            get_model("toy").predict({})
            left = journal().finish()
        assert journal().flush(20)
        lost = journal().lost

    assert (left, lost) == (1, {"row": 100})


@pytest.mark.parametrize(
    ("said", "is_missing"),
    [
        ('relation "mlembed_prediction" does not exist', True),
        ('column "key" of relation "mlembed_prediction" does not exist', True),
        ("no such table: mlembed_prediction", True),
        ("(1146, \"Table 'shop.mlembed_prediction' doesn't exist\")", True),
        ('FATAL:  database "shop" does not exist', False),
        ('FATAL:  role "shop" does not exist', False),
    ],
)
def test_only_missing_tables_are_to_be_migrated(said: str, *, is_missing: bool) -> None:
    """A server that lacks the database or the role needs another remedy."""
    assert ("manage.py migrate" in explained(OperationalError(said), "default")) is is_missing
