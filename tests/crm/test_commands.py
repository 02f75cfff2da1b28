"""The command line, run as people run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from crm.receiver import SECRET, action, answer, prediction, receiving
from mlembed_crm import Actions, Outbox, Rule, every_score, verify

if TYPE_CHECKING:
    from pathlib import Path

    from crm.receiver import Receiver

DECLARED = """
    from mlembed_crm import Actions, Delivery, Outbox, Retries, Rule, Webhook, rises_above

    outbox = Outbox({path!r})
    rules = [Rule("hold", "payments", rises_above(0.8), "risk-desk")]
    actions = Actions(outbox, rules)
    delivery = Delivery(
        outbox, {{"risk-desk": Webhook({url!r}, {secret!r}, allow_private=True)}},
        retries=Retries(first_seconds=0, most_seconds=0),
    )
"""


def start(*arguments: str | Path, program: str = "mlembed_crm") -> subprocess.Popen[str]:
    """Start the command."""
    words = ["mlembed", "actions"] if program == "mlembed" else [program]
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", *words, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def run(*arguments: str | Path, program: str = "mlembed_crm") -> tuple[int, str, str]:
    """Run the command to its end."""
    process = start(*arguments, program=program)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """Return an outbox with one action."""
    outbox = Outbox(tmp_path / "actions.db")
    outbox.enqueue(action())
    return outbox


def declare(outbox: Outbox, receiver: Receiver) -> Path:
    """Write the file that declares what delivers *outbox* to *receiver*."""
    file = outbox.path.with_name("actions.py")
    text = DECLARED.format(path=str(outbox.path), url=receiver.url, secret=SECRET)
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    return file


@pytest.mark.parametrize("program", ["mlembed_crm", "mlembed"])
def test_deliver_once_list_show_and_redeliver(outbox: Outbox, program: str) -> None:
    """A refused action is found, sent again and taken, from the shell alone."""
    (queued,) = outbox.list()
    with receiving() as receiver:
        file = declare(outbox, receiver)
        receiver.answers.append(answer(400))
        first = run("deliver", file, "--once", "--json", program=program)
        listed = run("list", outbox.path, "--state", "dead", program=program)
        again = run("redeliver", outbox.path, queued.id, program=program)
        second = run("deliver", file, "--once", "--destination", "risk-desk", program=program)
        shown = run("show", file, queued.id, program=program)

    assert (first[0], json.loads(first[1])) == (1, {"sent": 0, "failed": 0, "dead": 1})
    assert listed[0] == 0
    assert queued.id in listed[1]
    assert "HTTP 400 Bad Request" in listed[1]
    assert (again[0], again[1]) == (0, f"{queued.id}  pending\n")
    assert (second[0], second[1]) == (0, "1 sent, 0 to be tried again, 0 given up\n")
    assert verify(SECRET, receiver.received[1].headers, receiver.received[1].body)
    assert shown[0] == 0
    assert "dead    400" in shown[1]
    assert "sent    204" in shown[1]


@pytest.mark.parametrize("workers", ["1", "3"])
def test_deliver_runs_until_it_is_told_to_stop(outbox: Outbox, workers: str) -> None:
    """SIGTERM ends it in order, after what it was sending."""
    for number in range(20):
        outbox.enqueue(action(f"c-{number}"))
    with receiving() as receiver:
        process = start("deliver", declare(outbox, receiver), "--workers", workers)
        deadline = time.monotonic() + 60
        while outbox.counts()["sent"] < 21 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        try:
            _, problems = process.communicate(timeout=60)
        finally:
            process.kill()

    assert process.returncode == 0, problems
    assert len({got.id for got in receiver.received}) == len(receiver.received) == 21


def test_dry_run_prints_what_is_due_and_sends_nothing(outbox: Outbox, receiver: Receiver) -> None:
    """The event, byte for byte as it would be sent, and the outbox as it was."""
    status, out, _ = run("deliver", declare(outbox, receiver), "--dry-run", "--json")

    assert status == 0
    (queued,) = outbox.list()
    assert json.loads(out)["event"] == json.loads(queued.event())
    assert (receiver.received, queued.attempts) == ([], 0)


def test_status_tells_who_waits_and_who_is_left_alone(outbox: Outbox, receiver: Receiver) -> None:
    """Until when and why, and it goes on at once where a person says so."""
    receiver.answers.append(answer(401))
    file = declare(outbox, receiver)
    run("deliver", file, "--once")

    again = run("deliver", file, "--once")
    paused = run("status", outbox.path)
    told = json.loads(run("status", outbox.path, "--json")[1])
    resumed = run("resume", outbox.path)
    after = run("deliver", file, "--once", "--json")

    assert again[0] == 1
    assert f"mlembed actions resume {file} risk-desk" in again[2]
    assert "paused until" in paused[1]
    assert "HTTP 401 Unauthorized" in paused[1]
    assert (told["destination"], told["pending"], told["sent"]) == ("risk-desk", 1, 0)
    assert resumed[1] == "risk-desk  goes on\n"
    assert json.loads(after[1])["sent"] == 1


def test_remedies_name_files_as_they_are_called(outbox: Outbox, receiver: Receiver) -> None:
    """A path with braces is no template of ours."""
    receiver.answers.append(answer(401))
    file = declare(outbox, receiver)
    odd = file.parent / "{env}{0}" / file.name
    odd.parent.mkdir()
    file.rename(odd)

    run("deliver", odd, "--once")
    again = run("deliver", odd, "--once")

    assert again[0] == 1
    assert f"mlembed actions resume {odd} risk-desk" in again[2]


def test_list_as_json_gives_every_field(outbox: Outbox) -> None:
    """Each line is an object that a program can read."""
    status, out, _ = run("list", outbox.path, "--json")

    assert status == 0
    assert json.loads(out)["id"] == outbox.list()[0].id
    assert json.loads(out)["state"] == "pending"


def test_command_that_cannot_run_says_why_and_exits_2(outbox: Outbox, tmp_path: Path) -> None:
    """Each mistake is one line that names the remedy, and changes nothing."""
    broken, empty = tmp_path / "broken.py", tmp_path / "empty.py"
    broken.write_text("1 / 0", encoding="utf-8")
    empty.write_text("outbox = None", encoding="utf-8")
    other = tmp_path / "other.db"
    subprocess.run([sys.executable, "-c", MAKE_DATABASE, str(other)], check=True)

    results = {
        "there is no file": run("list", tmp_path / "none.db"),
        "ZeroDivisionError in broken.py line 1": run("list", broken),
        "declares no Outbox": run("list", empty),
        "declares no Delivery": run("deliver", empty),
        "declares no Actions": run("check", empty),
        "declares no Outcomes": run("outcomes", empty, "--once"),
        "without an outbox": run("list", other),
        "no such action": run("redeliver", outbox.path, "nope"),
        "'x'. Its ids: mlembed actions list actions.db": run("show", outbox.path, "x"),
        "or --dead": run("redeliver", outbox.path),
        "'desk' is not paused": run("resume", outbox.path, "desk"),
    }

    for says, (status, out, err) in results.items():
        assert (status, out) == (2, ""), says
        assert says in err
        assert err.count("\n") == 1
    assert outbox.list()[0].attempts == 0


MAKE_DATABASE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("CREATE TABLE orders (id)")
connection.close()
"""


@pytest.mark.parametrize(
    "words",
    [("deliver", "--workers", "0"), ("list", "--limit", "x"), ("preview", "--since", "7 days")],
)
def test_option_that_is_wrong_is_refused(outbox: Outbox, words: tuple[str, ...]) -> None:
    """A misread number is not taken for another."""
    command, *options = words

    status, _, err = run(command, outbox.path, *options)

    assert status == 2
    assert "expected" in err or "is no number" in err


def test_output_steers_no_terminal(tmp_path: Path) -> None:
    """What a destination said may hold anything; a terminal is shown it, and not steered by it."""
    outbox = Outbox(tmp_path / "actions.db")
    Actions(outbox, [Rule("\x1b[31mred", "payments", every_score(), "x\ny")]).apply(prediction())

    listed, told = run("list", outbox.path)[1], run("status", outbox.path)[1]

    assert "\x1b" not in listed + told
    assert listed.count("\n") == 2


def test_all_that_was_given_up_is_sent_again(outbox: Outbox, receiver: Receiver) -> None:
    """After a mistake at the receiver, nobody has to name each action."""
    file = declare(outbox, receiver)
    for key in "ab":
        outbox.enqueue(action(key))
    receiver.answers.extend([answer(400)] * 3)
    first = run("deliver", file, "--once", "--json")

    again = run("redeliver", file, "--dead", "--destination", "risk-desk")
    second = run("deliver", file, "--once", "--json")

    assert json.loads(first[1])["dead"] == again[1].count("pending") == 3
    assert json.loads(second[1])["sent"] == 3


def test_list_says_what_it_leaves_out(outbox: Outbox) -> None:
    """A list that is cut is known to be."""
    for number in range(4):
        outbox.enqueue(action(f"c-{number}"))

    lines = run("list", outbox.path, "--limit", "3")[1].splitlines()

    assert len(lines) == 5
    assert "key c-0" in lines[2]
    assert lines[-1].startswith("and more; --limit")


def test_new_outbox_is_pointed_out(tmp_path: Path, receiver: Receiver) -> None:
    """A path that is relative to somewhere else is found out at once."""
    outbox = Outbox(tmp_path / "actions.db")
    file = declare(outbox, receiver)
    outbox.close()
    outbox.path.unlink()

    first, second = run("status", file), run("status", file)

    assert f"there was no outbox at {outbox.path}" in first[2]
    assert second[2] == ""
