"""`mlembed_deliver` empties the outbox to a real receiver, and dies without losing or doubling."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import override_settings

from crm.receiver import SECRET, Receiver, action, answer, receiving
from mlembed_django.loopback import require_loopback
from mlembed_django.models import Delivery
from mlembed_django.outbox import DjangoOutbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm.receiver import Handler

_ROOT = Path(__file__).parents[2]
_started: list[subprocess.Popen[str]] = []

SCRIPT = """
import json, sys
from django.conf import settings
from django.core.management import execute_from_command_line

database, mlembed, *arguments = sys.argv[1:]
settings.configure(
    DATABASES={"default": json.loads(database)},
    INSTALLED_APPS=["mlembed_django"],
    MLEMBED=json.loads(mlembed),
    SECRET_KEY="not a secret",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    SILENCED_SYSTEM_CHECKS=["mlembed.W001"],
)
execute_from_command_line(["manage.py", *arguments])
"""


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    """Kill what a test started and did not end."""
    yield
    while _started:
        with _started.pop() as process:
            process.kill()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Run a receiver of webhooks on this machine."""
    with receiving() as running:
        yield running


@pytest.fixture
def setting(declared: dict[str, Any], receiver: Receiver) -> Iterator[dict[str, Any]]:
    """Set MLEMBED to a site that sends to the receiver, as `risk-desk` and as `other`."""
    place = {
        "ADAPTER": "mlembed_crm.destinations.webhook.Webhook",
        "URL": receiver.url,
        "SECRET": SECRET,
        "ALLOW_PRIVATE": True,
    }
    setting = {**declared, "DESTINATIONS": {"risk-desk": place, "other": place}}
    with override_settings(MLEMBED=setting):
        yield setting


def run(*arguments: str) -> tuple[list[str], str]:
    """Run the command; return the lines it printed, and the error that makes it exit with 1."""
    out = io.StringIO()
    try:
        call_command("mlembed_deliver", *arguments, stdout=out)
    except CommandError as error:
        return out.getvalue().splitlines(), str(error)
    return out.getvalue().splitlines(), ""


def queue(*keys: str, destination: str = "risk-desk") -> list[str]:
    """Queue an action a key; return their ids."""
    ids = []
    for key in keys:
        made = action(key)
        DjangoOutbox("default").enqueue(made)
        Delivery.objects.filter(uuid=made.id).update(destination=destination)
        ids.append(made.id)
    return ids


def start(setting: dict[str, Any], *arguments: str, database: Any = None) -> subprocess.Popen[str]:
    """Start the command as a process of its own, on the tests' *database* by default."""
    about = connection.settings_dict
    names = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    database = database or {name: about[name] for name in names if about.get(name)}
    options = [json.dumps(each, default=str) for each in (database, setting)]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT, *options, *arguments],
        env={**os.environ, "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'integrations'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _started.append(process)
    return process


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait until *process* has ended; return its status and what it wrote."""
    try:
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, errors


def states() -> dict[str, str]:
    """Return the state of each delivery by its key."""
    return dict(Delivery.objects.values_list("key", "state"))


@pytest.mark.usefixtures("setting", "committing_db")
def test_once_sends_what_is_due(receiver: Receiver) -> None:
    """It sends each action once, tells how many, and finds nothing more to send."""
    ids = queue("a", "b")

    first, again = run("--once"), run("--once", "--json")

    assert sorted(received.id for received in receiver.received) == sorted(ids)
    assert first == (["2 sent, 0 to be tried again, 0 given up"], "")
    assert json.loads(again[0][0]) == {"sent": 0, "failed": 0, "dead": 0}
    assert states() == {"a": "sent", "b": "sent"}


@pytest.mark.usefixtures("setting", "committing_db")
def test_once_fails_where_an_action_is_given_up(receiver: Receiver) -> None:
    """The exit status tells, with how to look at it; --again queues it again."""
    (uid,) = queue("a")
    receiver.answers.append(answer(400))

    lines, error = run("--once")
    dead, _ = run("--list", "dead")
    again, _ = run("--again", uid)
    last, _ = run("--once")

    assert (lines, error) == (
        ["0 sent, 0 to be tried again, 1 given up"],
        "1 actions are given up; manage.py mlembed_deliver --list dead",
    )
    assert dead[0].startswith(f"{uid}  dead")
    assert (again, last) == ([f"{uid}  pending"], ["1 sent, 0 to be tried again, 0 given up"])
    assert run("--again", "00000000-0000-0000-0000-000000000000")[1] != ""
    assert run("--again", "no-id")[1] != ""


@pytest.mark.usefixtures("setting", "committing_db")
def test_destination_limits_what_is_sent(receiver: Receiver) -> None:
    """Only what is for the destinations that are named is sent, or listed."""
    queue("a")
    (other,) = queue("b", destination="other")

    lines, _ = run("--once", "--destination", "other")
    listed, _ = run("--list", "sent", "--destination", "risk-desk")

    assert lines == ["1 sent, 0 to be tried again, 0 given up"]
    assert [received.id for received in receiver.received] == [other]
    assert listed == []


@pytest.mark.usefixtures("setting", "committing_db")
def test_dry_run_prints_the_events_and_sends_nothing(receiver: Receiver) -> None:
    """What would be sent is printed as it would be sent; what is not due is not."""
    due, waits = queue("a", "b")
    Delivery.objects.filter(uuid=waits).update(next_attempt=time.time() + 600)

    text, _ = run("--dry-run")
    lines, _ = run("--dry-run", "--json")
    run("--once")

    (sent,) = receiver.received
    assert text[0].startswith("to risk-desk: {")
    assert [json.loads(line) for line in lines] == [
        {"destination": "risk-desk", "event": json.loads(sent.body)}
    ]
    assert sent.id == due


@pytest.mark.usefixtures("setting", "committing_db")
def test_list_shows_each_state() -> None:
    """Each action is one line, or one JSON object, and no more than are asked for."""
    ids = queue("a", "b", "c")
    Delivery.objects.filter(uuid=ids[1]).update(state="discarded")

    pending, _ = run("--list", "pending", "--limit", "1")
    discarded, _ = run("--list", "discarded", "--json")

    assert [line.split()[0] for line in pending] == [ids[0]]
    assert [json.loads(line)["id"] for line in discarded] == [ids[1]]


@pytest.mark.usefixtures("setting", "databases")
def test_an_unknown_destination_is_told() -> None:
    """A name that is not declared is told, with the one that was meant."""
    assert (
        "declares no 'risk-dsk'. Did you mean 'risk-desk'?" in run("--destination", "risk-dsk")[1]
    )


@pytest.mark.usefixtures("declared", "databases")
def test_no_destination_is_told() -> None:
    """Where none is declared there is nothing to deliver to."""
    assert "declares none" in run("--once")[1]


@pytest.mark.usefixtures("databases")
def test_a_destination_elsewhere_is_refused_in_tests(setting: dict[str, Any]) -> None:
    """A test run sends to this machine alone."""
    place = {**setting["DESTINATIONS"]["other"], "URL": "https://desk.example/hook"}
    places = {**setting["DESTINATIONS"], "away": place}

    with override_settings(MLEMBED={**setting, "DESTINATIONS": places}):
        _, error = run("--once")
        lines, near = run("--once", "--destination", "other")

    assert "tests deliver to this machine alone, and away is elsewhere" in error
    assert (lines, near) == (["0 sent, 0 to be tried again, 0 given up"], "")


@pytest.mark.parametrize(
    "command", [("mlembed_deliver", "--once"), ("mlembed_prune",)], ids=" ".join
)
def test_missing_migrations_are_told(
    setting: dict[str, Any], command: tuple[str, ...], tmp_path: Path
) -> None:
    """Where the tables are not there the command says how to make them, and no more."""
    setting = {**setting, "DATABASE": {}}
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "new.sqlite3")}

    process = start(setting, *command, database=database)
    status, _, errors = end(process)

    assert status == 1
    assert errors.endswith("Run: manage.py migrate mlembed\n")
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("committing_db")
def test_a_signal_ends_it_after_the_attempt_in_hand(
    setting: dict[str, Any], receiver: Receiver, number: int
) -> None:
    """What is being sent is finished and marked, what waits goes on waiting, the status is 0."""
    queue("a", "b")
    in_hand = threading.Event()

    def slowly(handler: Handler) -> None:
        in_hand.set()
        time.sleep(1.5)
        answer(204)(handler)

    receiver.answers.append(slowly)
    connections.close_all()
    process = start(setting, "mlembed_deliver")
    assert in_hand.wait(30)
    process.send_signal(number)

    status, out, errors = end(process)

    assert status == 0, errors
    assert out.splitlines() == [
        "delivering to risk-desk, other; Ctrl-C ends it",
        "1 sent, 0 to be tried again, 0 given up",
    ]
    assert states() == {"a": "sent", "b": "pending"}


@pytest.mark.usefixtures("committing_db")
def test_a_killed_delivery_is_taken_up_again(setting: dict[str, Any], receiver: Receiver) -> None:
    """Killed after the receiver took it and before that was marked, it is sent again, as the same."""
    (uid,) = queue("a")
    killed: list[subprocess.Popen[str]] = []

    def kill(_handler: Handler) -> None:
        killed[0].kill()

    receiver.answers.append(kill)
    connections.close_all()
    killed.append(start(setting, "mlembed_deliver"))
    status, _, _ = end(killed[0])
    early = end(start(setting, "mlembed_deliver", "--once"))
    Delivery.objects.filter(lease_until__gt=time.time()).update(lease_until=time.time() - 1)
    late = end(start(setting, "mlembed_deliver", "--once", "--json"))

    assert status == -signal.SIGKILL
    assert early[1] == "0 sent, 0 to be tried again, 0 given up\n"
    assert json.loads(late[1]) == {"sent": 1, "failed": 0, "dead": 0}
    assert [received.id for received in receiver.received] == [uid, uid]
    assert states() == {"a": "sent"}


@pytest.mark.usefixtures("committing_db")
def test_it_waits_for_what_is_queued_later(setting: dict[str, Any], receiver: Receiver) -> None:
    """It goes on looking, and sends what commits while it runs."""
    connections.close_all()
    process = start(setting, "mlembed_deliver", "--json")
    assert process.stdout is not None
    try:
        queue("a")
        line = process.stdout.readline()
    finally:
        process.send_signal(signal.SIGTERM)
    status, _, errors = end(process)

    assert status == 0, errors
    assert json.loads(line) == {"sent": 1, "failed": 0, "dead": 0}
    assert len(receiver.received) == 1


@pytest.mark.usefixtures("committing_db")
def test_it_outlives_a_database_that_fails(setting: dict[str, Any], receiver: Receiver) -> None:
    """What fails is logged once, and what waits is sent when the database is back."""
    connections.close_all()
    process = start(setting, "mlembed_deliver", "--json")
    assert process.stdout is not None
    queue("a")
    first = process.stdout.readline()
    rename("mlembed_delivery", "mlembed_away")
    time.sleep(2.5)
    rename("mlembed_away", "mlembed_delivery")
    queue("b")
    second = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    status, _, errors = end(process)

    assert status == 0, errors
    assert [json.loads(line)["sent"] for line in (first, second)] == [1, 1]
    assert errors.count("delivery failed; it goes on") == 1
    assert len(receiver.received) == 2


def rename(table: str, to: str) -> None:
    """Rename a table, as a failure that both databases know."""
    with connection.schema_editor(atomic=False) as editor:
        editor.alter_db_table(Delivery, table, to)


@pytest.mark.usefixtures("setting", "committing_db")
def test_what_a_receiver_said_steers_no_terminal() -> None:
    """A site's own adapter may repeat what the far side wrote."""
    queue("a")
    Delivery.objects.update(last_error="bad \x1b[2J\nfake line")

    listed, _ = run("--list", "pending")

    assert len(listed) == 1
    assert listed[0].endswith(r"bad \x1b[2J\nfake line")


@pytest.mark.usefixtures("setting", "committing_db")
def test_a_limit_is_a_number_of_actions() -> None:
    """None and fewer are refused in a sentence."""
    listed, error = run("--list", "pending", "--limit", "-1")

    assert not listed
    assert error == "--limit is a number of actions, 1 or more"


def test_a_database_that_cannot_be_read_is_told(setting: dict[str, Any]) -> None:
    """It is told in a sentence, without a traceback."""
    nowhere = {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nowhere/site.sqlite3"}

    status, _, errors = end(start(setting, "mlembed_deliver", database=nowhere))

    assert status == 1
    assert "the database 'default' cannot be read: unable to open database file" in errors
    assert "Traceback" not in errors


class Desk:
    """A destination of the site's own."""

    def __init__(self, name: str) -> None:
        self.name = name

    def send(self, action: Any, /) -> Any:
        """Take it."""
        return action


class House(Desk):
    """Stands for one of the library's own that has no URL."""


House.__module__ = "mlembed_crm.destinations.house"


@pytest.mark.parametrize(
    ("destination", "is_refused"),
    [
        (Desk("fake"), False),
        (Desk("http://localhost:8000/x"), False),
        (Desk("https://[::1]/"), False),
        (Desk("https://127.0.0.1.example/"), True),
        (Desk("https://user@10.0.0.1/"), True),
        (Desk("https://[broken/"), True),
        (House("house"), True),
    ],
)
def test_tests_reach_this_machine_alone(destination: Any, is_refused: bool) -> None:  # noqa: FBT001
    """A destination that says where it is must be here; a fake of the site's own may be anything."""
    if not is_refused:
        require_loopback({"desk": destination})
        return
    with pytest.raises(ImproperlyConfigured, match="desk is elsewhere"):
        require_loopback({"desk": destination})


@pytest.mark.usefixtures("committing_db", "setting")
def test_once_tells_of_a_destination_that_is_left_alone() -> None:
    """Whoever runs it by the clock hears that nothing moves, and what to do."""
    queue("a")
    outbox = DjangoOutbox("default")
    outbox.pause("risk-desk", outbox.now() + 600, "HTTP 401 Unauthorized")

    _, error = run("--once")

    assert "'risk-desk' is left alone until" in error
    assert (
        "HTTP 401 Unauthorized. To go on at once: manage.py mlembed_actions resume risk-desk"
        in error
    )
