"""The command line, run as people run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from crm.receiver import SECRET, action, answer, receiving
from mlembed_crm import Outbox, verify

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "MLEMBED_WEBHOOK_SECRET"


def start(*arguments: str | Path, secret: str = SECRET) -> subprocess.Popen[str]:
    """Start the command."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), VARIABLE: secret}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "mlembed_crm", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )


def run(*arguments: str | Path, secret: str = SECRET) -> tuple[int, str, str]:
    """Run the command to its end."""
    process = start(*arguments, secret=secret)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """Return an outbox with one action."""
    outbox = Outbox(tmp_path / "actions.db")
    outbox.enqueue(action())
    return outbox


def test_deliver_once_list_and_redeliver(outbox: Outbox) -> None:
    """A refused action is found, sent again and taken, from the shell alone."""
    (queued,) = outbox.list()
    with receiving() as receiver:
        receiver.answers.append(answer(410))
        once = ("deliver", "--outbox", outbox.path, "--url", receiver.url, "--allow-private")
        first = run(*once, "--once", "--json")
        listed = run("list", "--outbox", outbox.path, "--state", "dead")
        again = run("redeliver", "--outbox", outbox.path, queued.id)
        second = run(*once, "--once", "--destination", "risk-desk")

    assert (first[0], json.loads(first[1])) == (1, {"sent": 0, "failed": 0, "dead": 1})
    assert listed[0] == 0
    assert queued.id in listed[1]
    assert "HTTP 410 Gone" in listed[1]
    assert (again[0], again[1]) == (0, f"{queued.id}  pending\n")
    assert (second[0], second[1]) == (0, "1 sent, 0 to be tried again, 0 given up\n")
    assert verify(SECRET, receiver.received[1].headers, receiver.received[1].body)


def test_deliver_runs_until_it_is_told_to_stop(outbox: Outbox) -> None:
    """SIGTERM ends it in order, after what it was sending."""
    with receiving() as receiver:
        process = start(
            "deliver", "--outbox", outbox.path, "--url", receiver.url, "--allow-private"
        )
        deadline = time.monotonic() + 20
        while not outbox.list("sent") and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        try:
            _, problems = process.communicate(timeout=20)
        finally:
            process.kill()

    assert process.returncode == 0, problems
    assert len(receiver.received) == 1


def test_list_as_json_gives_every_field(outbox: Outbox) -> None:
    """Each line is an object that a program can read."""
    status, out, _ = run("list", "--outbox", outbox.path, "--json")

    assert status == 0
    assert json.loads(out)["id"] == outbox.list()[0].id
    assert json.loads(out)["state"] == "pending"


def test_command_that_cannot_run_says_why_and_exits_2(outbox: Outbox, tmp_path: Path) -> None:
    """Each mistake is one line that names the remedy, and changes nothing."""
    missing = tmp_path / "none.db"
    empty = Outbox(tmp_path / "empty.db").path
    deliver = ("deliver", "--url", "https://example.com", "--once", "--outbox")

    results = {
        "--outbox": run("list", "--outbox", missing),
        VARIABLE: run(*deliver, outbox.path, secret=""),
        "'whsec_'": run(*deliver, outbox.path, secret="hunter2"),  # noqa: S106  the mistake under test
        "--destination": run(*deliver, empty),
        "no such action": run("redeliver", "--outbox", outbox.path, "nope"),
    }

    for says, (status, out, err) in results.items():
        assert (status, out) == (2, "")
        assert says in err
        assert err.count("\n") == 1
        assert "hunter2" not in err
    assert not missing.exists()
    assert outbox.list()[0].attempts == 0
