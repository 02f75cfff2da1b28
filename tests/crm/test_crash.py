"""Processes that are killed: nothing is lost, and what is repeated has the same id."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from crm.receiver import (
    DESTINATION,
    SECRET,
    acted,
    action,
    answer,
    child,
    counted,
    delivery,
    finish,
    receiving,
)
from mlembed_crm import Delivered, Outbox

if TYPE_CHECKING:
    import subprocess

    from crm.receiver import Handler

TESTS = Path(__file__).parents[1]

PREDICT = """
import os, signal, sys
import mlembed
from mlembed.testing import InMemoryRegistry, override_model
from mlembed_crm import Actions, Outbox, Rule, rises_above
rule = Rule("hold-payment", model="payments", when=rises_above(0.8), destination="risk-desk")
Actions(Outbox(sys.argv[1]), [rule]).attach()
model = mlembed.load(
    "payments", registry=InMemoryRegistry(), settings=mlembed.Settings(log=False)
)
with override_model("payments", returns=0.95):
    model.predict({"amount": 1.0}, key="c-42")
os.kill(os.getpid(), signal.SIGKILL)
"""

DELIVER = """
import sys
sys.path.insert(0, sys.argv[4])
from mlembed_crm import Delivery, Outbox, Webhook
hook = Webhook(sys.argv[2], sys.argv[3], allow_private=True)
print("ready", flush=True)
sys.stdin.readline()
print(Delivery(Outbox(sys.argv[1]), {"risk-desk": hook}).run_once().sent)
"""


def started(path: Path, url: str) -> subprocess.Popen[str]:
    """Start a process that delivers once it is told to."""
    process = child(DELIVER, path, url, SECRET, TESTS)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", finish(process)
    return process


def tell(process: subprocess.Popen[str]) -> None:
    """Tell a process to go."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_killed_between_commit_and_delivery_is_delivered_once(tmp_path: Path) -> None:
    """A process that dies right after its prediction has lost nothing."""
    path = tmp_path / "actions.db"
    process = child(PREDICT, path)
    _, problems = finish(process)
    assert process.returncode == -signal.SIGKILL, problems

    with receiving() as receiver:
        deliver = delivery(Outbox(path), receiver)
        runs = [deliver.run_once() for _ in range(3)]

    assert runs == [Delivered(sent=1), Delivered(), Delivered()]
    assert [got.body.count(b'"subject":"c-42"') for got in receiver.received] == [1]


def test_killed_before_commit_sends_nothing(tmp_path: Path) -> None:
    """An action in a transaction that was never committed never was."""
    outbox = Outbox(tmp_path / "actions.db")
    script = """
import os, signal, sqlite3, sys
sys.path.insert(0, sys.argv[2])
from crm.receiver import action, once
from mlembed_crm import Outbox
host = sqlite3.connect(sys.argv[1])
host.execute("BEGIN")
assert once(Outbox(sys.argv[1]), action(), connection=host)
os.kill(os.getpid(), signal.SIGKILL)
"""

    process = child(script, outbox.path, TESTS)
    _, problems = finish(process)

    assert process.returncode == -signal.SIGKILL, problems
    assert outbox.counts()["pending"] == 0
    assert not acted(outbox, action().rule, "c-1")


def test_killed_between_delivery_and_mark_is_sent_again_the_same(tmp_path: Path) -> None:
    """The receiver took it, the sender died: the repeat has the same id and the same bytes."""
    path = tmp_path / "actions.db"
    Outbox(path).enqueue(action())

    with receiving() as receiver:
        process = started(path, receiver.url)

        def take_and_kill(handler: Handler) -> None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            answer(204)(handler)

        receiver.answers.append(take_and_kill)
        tell(process)
        finish(process)
        soon = Outbox(path)
        late = Outbox(path, clock=lambda: time.time() + 121)
        runs = [delivery(outbox, receiver).run_once() for outbox in (soon, late, late)]

    assert process.returncode == -signal.SIGKILL
    assert runs == [Delivered(), Delivered(sent=1), Delivered()]
    assert len(receiver.received) == 2
    assert len({(got.id, got.body) for got in receiver.received}) == 1


def test_four_processes_deliver_each_action_once(tmp_path: Path) -> None:
    """Where nothing fails, four deliveries of one outbox repeat nothing."""
    path = tmp_path / "actions.db"
    outbox = Outbox(path)
    for number in range(60):
        outbox.enqueue(action(f"c-{number}"))

    with receiving() as receiver:
        them = [started(path, receiver.url) for _ in range(4)]
        for process in them:
            tell(process)
        sent = [int(finish(process)[0]) for process in them]

    ids = [got.id for got in receiver.received]
    assert sum(sent) == len(ids) == len(set(ids)) == 60
    assert counted(outbox) == {"sent": 60}


def test_processes_that_make_the_outbox_together_all_get_it(tmp_path: Path) -> None:
    """The first use may happen in several processes at the same moment."""
    script = """
import sys
sys.path.insert(0, sys.argv[2])
from crm.receiver import action, once
from mlembed_crm import Outbox
print("ready", flush=True)
sys.stdin.readline()
print(Outbox(sys.argv[1]).enqueue(action()))
"""
    path = tmp_path / "actions.db"
    many = [child(script, path, TESTS) for _ in range(4)]
    for process in many:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", finish(process)
    for process in many:
        tell(process)

    assert [finish(process)[0].strip() for process in many] == ["True"] * 4
    assert Outbox(path).counts()["pending"] == 4


def test_destination_of_these_tests_is_the_rules() -> None:
    """The scripts above name the destination that the receiver's helpers deliver to."""
    assert f'destination="{DESTINATION}"' in PREDICT


EXIT = """
import sys, time
sys.path.insert(0, sys.argv[4])
from mlembed_crm import Delivery, Outbox, Webhook
outbox = Outbox(sys.argv[1])
Delivery(outbox, {"risk-desk": Webhook(sys.argv[2], sys.argv[3], allow_private=True)}).start()
while not outbox.list("sent"):
    time.sleep(0.01)
"""


def test_process_that_ends_with_a_delivery_running_ends_cleanly(tmp_path: Path) -> None:
    """A host that never calls close exits at once and without a word."""
    path = tmp_path / "actions.db"
    Outbox(path).enqueue(action())

    with receiving() as receiver:
        process = child(EXIT, path, receiver.url, SECRET, TESTS)
        output, problems = finish(process)

    assert (process.returncode, output, problems) == (0, "", "")
