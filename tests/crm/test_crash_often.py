"""Killed two hundred times at each point, nothing is lost and no record is written twice.

Every child is killed by itself at the point under test. `MLEMBED_CRASHES` sets how often; more by hand.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from crm.fakes.hubspot import TOKEN, hubspot
from crm.receiver import DESTINATION, NO_PAUSE, counted, in_child, prediction
from mlembed_crm import Actions, Delivery, HubSpot, Outbox, Rule, Upsert, every_score

if TYPE_CHECKING:
    from pathlib import Path

    from crm.fakes.hubspot import HubSpotFake

TIMES = int(os.environ.get("MLEMBED_CRASHES", "200"))
RULE = Rule(
    *("score", "payments", every_score(), DESTINATION),
    upsert=Upsert("contacts", "ext_id", {"ml_score": "score"}),
)
LATER = 700.0


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed(pid: int) -> None:
    """Wait for a child that is to kill itself."""
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def delivery(outbox: Any, fake: HubSpotFake) -> Delivery:
    """Return what delivers to the fake account."""
    crm = HubSpot(TOKEN, url=fake.url, allow_private=True, timeout_seconds=20)
    return Delivery(outbox, {DESTINATION: crm}, retries=NO_PAUSE)


def scores(fake: HubSpotFake) -> dict[str, float]:
    """Return the score of each contact by its key; fails where two have the same."""
    records = fake.records("contacts").values()
    found = {record["ext_id"]: float(record["ml_score"]) for record in records}
    assert len(found) == len(records)
    return found


def test_killed_before_commit(tmp_path: Path) -> None:
    """What was never committed is never sent."""
    path = tmp_path / "actions.db"
    Outbox(path).close()
    for number in range(TIMES):

        def work(key: str = f"c-{number}") -> bool:
            outbox = Outbox(path)
            host = sqlite3.connect(path, isolation_level=None)
            host.execute("BEGIN IMMEDIATE")
            assert Actions(outbox, [RULE]).apply(prediction(0.5, key), connection=host)
            die()
            return False

        killed(in_child(work))

    with hubspot() as fake:
        done = delivery(Outbox(path), fake).run_once()
        assert (done.sent, fake.records("contacts")) == (0, {})
    assert counted(Outbox(path)) == {}


def test_killed_between_commit_and_send(tmp_path: Path) -> None:
    """What was committed is sent, once the lease of the dead is over."""
    path = tmp_path / "actions.db"
    Outbox(path).close()
    for number in range(TIMES):

        def work(number: int = number) -> bool:
            outbox = Outbox(path)
            Actions(outbox, [RULE]).apply(prediction(number / 1000, f"c-{number}"))
            if number % 2:  # some die with it in hand, some before
                outbox.claim(limit=100)
            die()
            return False

        killed(in_child(work))

    late = Outbox(path, clock=lambda: time.time() + LATER)
    with hubspot() as fake:
        done = delivery(late, fake).run_once()
        assert done.sent == TIMES
        assert scores(fake) == {f"c-{number}": number / 1000 for number in range(TIMES)}
    assert counted(late) == {"sent": TIMES}


def test_killed_between_send_and_acknowledgement(tmp_path: Path) -> None:
    """What arrived and was not marked is sent again, and is the same record."""
    path = tmp_path / "actions.db"
    outbox = Outbox(path)
    actions = Actions(outbox, [RULE])
    with hubspot() as fake:
        for number in range(TIMES):
            actions.apply(prediction(number / 1000, f"c-{number}"))
            outbox.close()

            def work() -> bool:
                mine = Outbox(path)
                vars(mine)["settle"] = lambda _attempts: die()
                delivery(mine, fake).run_once()
                return False

            killed(in_child(work))
        written = scores(fake)
        late = Outbox(path, clock=lambda: time.time() + LATER)
        done = delivery(late, fake).run_once()

        assert done.sent == TIMES
        assert len(written) == TIMES
        assert scores(fake) == written
    assert counted(late) == {"sent": TIMES}


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """A delivery that is killed again and again gets there, and the newest value is what is left."""
    path = tmp_path / "actions.db"
    outbox = Outbox(path)
    actions, draw = Actions(outbox, [RULE]), random.Random(5)  # noqa: S311  it guards nothing
    ahead = 0.0
    with hubspot() as fake:
        for turn in range(max(3, TIMES // 20)):
            for number in range(30):
                actions.apply(prediction(turn + number / 1000, f"c-{number}"))
            outbox.close()
            ahead += LATER

            def work(ahead: float = ahead) -> bool:
                mine = Outbox(path, clock=lambda: time.time() + ahead)
                running = delivery(mine, fake)
                running.destinations[DESTINATION].limits = dataclasses.replace(  # type: ignore[misc]
                    running.destinations[DESTINATION].limits, batch=3
                )
                running.run_once()
                return True

            pid = in_child(work)
            time.sleep(draw.uniform(0.0, 0.15))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        late = Outbox(path, clock=lambda: time.time() + ahead + LATER)
        delivery(late, fake).run_once()

        assert scores(fake) == {f"c-{n}": turn + n / 1000 for n in range(30)}
    assert set(counted(late)) <= {"sent", "superseded"}


@pytest.mark.parametrize("how", ["stall", "drop"])
def test_answer_that_is_lost_writes_no_second_record(tmp_path: Path, how: str) -> None:
    """A read that times out after the record was written is tried again, and changes nothing."""
    outbox = Outbox(tmp_path / "actions.db")
    for number in range(5):
        Actions(outbox, [RULE]).apply(prediction(number / 1000, f"c-{number}"))
    with hubspot() as fake:
        fake.fail_next(how)
        crm = HubSpot(TOKEN, url=fake.url, allow_private=True, timeout_seconds=0.5)
        running = Delivery(outbox, {DESTINATION: crm}, retries=NO_PAUSE)

        first, second = running.run_once(), running.run_once()

        assert (first.failed, second.sent) == (5, 5)
        assert len(scores(fake)) == 5
