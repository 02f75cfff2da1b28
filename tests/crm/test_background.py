"""Delivery on a background thread: it starts, stops, forks and outlives damage."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from crm.receiver import (
    DESTINATION,
    SECRET,
    Clock,
    action,
    answer,
    delivery,
    in_child,
)
from mlembed.errors import SettingsError
from mlembed_crm import Delivered, Delivery, Outbox, Retries, Webhook
from mlembed_crm.errors import OutboxError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from crm.receiver import Receiver


def until(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait until *true* says so; return whether it did."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.01)
    return False


def test_two_deliveries_send_each_action_once(outbox: Outbox, receiver: Receiver) -> None:
    """Threads that deliver one outbox at once share the work, and repeat none of it."""
    for number in range(60):
        outbox.enqueue(action(f"c-{number}"))
    workers = [delivery(outbox, receiver) for _ in range(3)]
    threads = [threading.Thread(target=worker.run_once) for worker in workers]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ids = [got.id for got in receiver.received]
    assert len(ids) == len(set(ids)) == 60
    assert outbox.counts()["sent"] == 60


def test_background_thread_delivers_until_closed(tmp_path: Path, receiver: Receiver) -> None:
    """What is queued after the start is delivered; after close nothing is."""
    outbox = Outbox(tmp_path / "actions.db")
    deliver = delivery(outbox, receiver, poll_seconds=0.01).start()
    assert deliver.start() is deliver

    outbox.enqueue(action())
    assert until(lambda: outbox.counts()["sent"] == 1)
    deliver.close()
    outbox.enqueue(action())
    time.sleep(0.1)

    assert outbox.counts()["pending"] == 1
    deliver.start()
    assert until(lambda: outbox.counts()["sent"] == 2)
    deliver.close()
    deliver.close()


def test_background_thread_outlives_a_damaged_outbox(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """An outbox that cannot be read is logged once, and delivered when it is back."""
    path = tmp_path / "actions.db"
    outbox = Outbox(path)
    outbox.enqueue(action())
    outbox.close()
    path.rename(tmp_path / "aside.db")
    path.write_bytes(b"no database" * 1000)
    deliver = delivery(outbox, receiver, poll_seconds=0.01).start()

    assert until(lambda: "it goes on" in caplog.text)
    time.sleep(0.1)
    (tmp_path / "aside.db").replace(path)

    assert until(lambda: len(receiver.received) == 1)
    deliver.close()
    assert caplog.text.count("it goes on") == 1


def test_forked_child_delivers_when_it_starts(tmp_path: Path, receiver: Receiver) -> None:
    """The thread is its process's own: a child has none until it calls start, then it has."""
    outbox = Outbox(tmp_path / "actions.db")
    deliver = delivery(outbox, receiver, poll_seconds=0.01).start()

    def deliver_too() -> bool:
        deliver.start()
        outbox.enqueue(action("child"))
        return until(lambda: not outbox.list("pending"))

    _, status = os.waitpid(in_child(deliver_too), 0)
    outbox.enqueue(action("parent"))

    assert status == 0
    assert until(lambda: outbox.counts()["sent"] == 2)
    deliver.close()


def test_unknown_destination_is_left_alone_and_named_once(
    outbox: Outbox, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Actions of another delivery wait for it, and the log says whose they are."""
    outbox.enqueue(dataclasses.replace(action(), destination="crm"))
    deliver = delivery(outbox, receiver)

    deliver.run_once()
    deliver.run_once()

    assert outbox.counts()["pending"] == 1
    assert caplog.text.count("'crm'") == 1


def test_sent_actions_are_deleted_in_time(outbox: Outbox, clock: Clock, receiver: Receiver) -> None:
    """The outbox does not keep personal data, or grow, for ever."""
    deliver = delivery(outbox, receiver, keep_sent_seconds=7200)
    outbox.enqueue(action())
    deliver.run_once()

    clock.now += 7199
    deliver.run_once()
    assert outbox.counts()["sent"] == 1
    clock.now += 3601
    deliver.run_once()

    assert outbox.counts()["sent"] == 0


def test_run_once_stops_between_actions(outbox: Outbox, receiver: Receiver) -> None:
    """A stop ends a run after the action that is being sent."""
    stop = threading.Event()
    receiver.answers.append(lambda handler: (stop.set(), answer(204)(handler)))  # type: ignore[arg-type, func-returns-value]  # two calls in one lambda
    for key in "ab":
        outbox.enqueue(action(key))

    assert delivery(outbox, receiver).run_once(stop) == Delivered(sent=1)


def test_run_once_raises_what_the_outbox_raises(tmp_path: Path, receiver: Receiver) -> None:
    """A single run that cannot read its outbox does not look like an empty one."""
    outbox = Outbox(tmp_path / "actions.db")
    outbox.close()
    (tmp_path / "actions.db").write_bytes(b"x" * 8192)

    with pytest.raises(OutboxError):
        delivery(outbox, receiver).run_once()


def test_delivery_refuses_settings_that_cannot_work(outbox: Outbox) -> None:
    """Nothing to deliver to, or no pause between looks, is a mistake."""
    hook = Webhook("https://example.com/", SECRET)

    with pytest.raises(SettingsError, match="destinations"):
        Delivery(outbox, {})
    with pytest.raises(SettingsError, match="poll_seconds"):
        Delivery(outbox, {DESTINATION: hook}, poll_seconds=0)
    with pytest.raises(SettingsError, match="lease_seconds"):
        Delivery(outbox, {DESTINATION: hook}, lease_seconds=601)
    with pytest.raises(SettingsError, match="Retries"):
        Retries(attempts=0)


def test_logs_name_no_entity(
    outbox: Outbox, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """A log line says which action, never whose."""
    caplog.set_level(logging.DEBUG)
    receiver.answers.append(answer(500))
    outbox.enqueue(action("jane@example.com"))

    delivery(outbox, receiver).run_once()

    assert "not taken" in caplog.text
    assert "jane" not in caplog.text
