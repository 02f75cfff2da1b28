"""Forks and full disks: connections are never shared, and predictions stand."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crm.receiver import (
    action,
    child,
    finish,
    in_child,
)
from mlembed_crm import Outbox, connections

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_fork_while_threads_write_loses_nothing(tmp_path: Path) -> None:
    """Parent and children write on, through connections of their own; the file stays whole."""
    outbox = Outbox(tmp_path / "actions.db", busy_seconds=30)
    stop, written = threading.Event(), [0, 0]

    def write(number: int) -> None:
        while not stop.is_set():
            written[number] += outbox.enqueue(action(None))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(5):
        children.append(in_child(lambda: all(outbox.enqueue(action(None)) for _ in range(10))))
        time.sleep(0.02)
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    stop.set()
    for thread in threads:
        thread.join()

    assert statuses == [0] * 5
    assert outbox.counts()["pending"] == sum(written) + 50
    with sqlite3.connect(outbox.path) as check:
        assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


def test_fork_leaves_no_connection_to_share(tmp_path: Path) -> None:
    """SQLite must not see one connection on both sides: at a fork there is none."""
    outbox = Outbox(tmp_path / "actions.db")
    outbox.enqueue(action())

    def nothing_inherited() -> bool:
        slots = list(connections._slots)
        return bool(slots) and all(slot.connection is None for slot in slots)

    _, status = os.waitpid(in_child(nothing_inherited), 0)

    assert status == 0
    assert outbox.enqueue(action("c-2"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at open files as Linux does")
@pytest.mark.parametrize("how", ["read", "write"])
def test_cursor_that_somebody_still_holds_keeps_no_file_open(tmp_path: Path, how: str) -> None:
    """SQLite closes a connection when its last statement is gone: a fork must find none."""
    outbox = Outbox(tmp_path / "actions.db")
    outbox.enqueue(action())
    with getattr(outbox._database, how)() as cursor:
        cursor.execute("SELECT 1 UNION SELECT 2")
        assert cursor.fetchone() == (1,)

    def nothing_inherited() -> bool:
        open_files = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
        return not [path for path in open_files if path.startswith(str(outbox.path))]

    _, status = os.waitpid(in_child(nothing_inherited), 0)

    assert status == 0
    del cursor


FAILING = """
import logging, os, resource, sys
import mlembed
from mlembed.testing import InMemoryRegistry, override_model
from mlembed_crm import Actions, Outbox, Rule, rises_above
logging.basicConfig()
path, fault = sys.argv[1:]
rule = Rule("hold-payment", model="payments", when=rises_above(0.8), destination="risk-desk")
actions = Actions(Outbox(path), [rule])
actions.attach()
model = mlembed.load(
    "payments", registry=InMemoryRegistry(), settings=mlembed.Settings(log=False)
)
with override_model("payments", returns=0.95):
    model.predict({}, key="before")
    if fault == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(path + "-wal").st_size,) * 2)
    else:
        actions.outbox.close()
        for name in (path, os.path.dirname(path)):
            os.chmod(name, 0o555)
        if os.getuid() == 0:
            os.setuid(65534)
    print(model.predict({}, key="secret-key").score, actions.queued, actions.failed)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that another user can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(
    ("fault", "says"), [("full", "full|I/O error"), ("readonly", "readonly|unable to open")]
)
def test_outbox_that_cannot_be_written_leaves_the_prediction(
    open_folder: Path, fault: str, says: str
) -> None:
    """A full disk or a read-only file is in the log and in the count, not in the host's way."""
    path = open_folder / "actions.db"

    output, log = finish(child(FAILING, path, fault))
    open_folder.chmod(0o755)

    assert output == "0.95 1 1\n", log
    assert "rule 'hold-payment'" in log
    assert re.search(says, log)
    assert "secret-key" not in log
    assert [one.key for one in Outbox(path).list()] == ["before"]


ENDING = """
import sys, threading, time
from mlembed_crm import Action, Outbox
outbox = Outbox(sys.argv[1])
def work(number):
    for count in range(10**9):
        outbox.enqueue(Action(id=f"{time.time_ns()}-{number}-{count}", rule="r", model="m",
            version="1", prediction_id="p", key="k", score=0.5, destination="d", payload={},
            created=1.0))
for number in range(3):
    threading.Thread(target=work, args=(number,), daemon=True).start()
while not outbox.counts()["pending"]:
    time.sleep(0.01)
time.sleep(0.2)
"""


def test_exit_cuts_no_statement_of_a_thread_that_runs(tmp_path: Path) -> None:
    """A process that ends while its threads queue ends well, and its outbox is whole."""
    path = tmp_path / "actions.db"
    for _ in range(4):
        ended = subprocess.run(
            [sys.executable, "-c", ENDING, str(path)], capture_output=True, timeout=60, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, b"")

    assert Outbox(path).counts()["pending"] > 0
