"""The webhook against real receivers: what it sends, and what it makes of every answer."""

from __future__ import annotations

import email.utils
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import standardwebhooks

from crm.receiver import SECRET, action, answer, raw, receiving, webhook
from mlembed_crm import Webhook, verify
from mlembed_crm.destinations.answers import RATE_LIMIT_SECONDS, retry_after
from mlembed_crm.destinations.deadline import Deadline
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from crm.receiver import Answer, Receiver

OK = b"HTTP/1.1 200 OK\r\n"


def failure(receiver: Receiver, script: Answer, **arguments: Any) -> DeliveryError:
    """Return the error that an answer leads to."""
    receiver.answers.append(script)
    with pytest.raises(DeliveryError) as caught:
        webhook(receiver, **arguments).send([action()])
    return caught.value


def test_send_posts_a_signed_event(receiver: Receiver) -> None:
    """What arrives verifies here and in the independent library, under the action's id."""
    sent = action(key="Ünïcode 🦆")

    (receipt,) = webhook(receiver).send([sent])

    (got,) = receiver.received
    assert receipt.status == 204
    assert got.body == sent.event()
    assert got.id == sent.id == verify(SECRET, got.headers, got.body)["id"]
    assert standardwebhooks.Webhook(SECRET).verify(got.body, got.headers)["id"] == sent.id
    assert got.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert got.headers["host"] == f"127.0.0.1:{receiver.server_port}"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_send_takes_every_2xx_as_taken(receiver: Receiver, status: int) -> None:
    """Any success is a success."""
    receiver.answers.append(raw(b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % status))

    assert webhook(receiver).send([action()])[0].status == status


@pytest.mark.parametrize("status", [300, 302, 307, 408, 425, 429, 500, 502, 503, 504, 599])
def test_send_asks_for_another_try(receiver: Receiver, status: int) -> None:
    """What may pass, or may be put right, is not final; a redirect is not followed."""
    error = failure(receiver, answer(status, Location=receiver.url + "/other"))

    assert not error.permanent
    assert error.reached
    assert f"HTTP {status}" in str(error)
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [400, 409, 413, 422, 451, 499])
def test_send_gives_up_on_a_refusal(receiver: Receiver, status: int) -> None:
    """The receiver said no to this action: it is final, and says why."""
    error = failure(receiver, answer(status, Retry_After="5"))

    assert error.permanent
    assert str(status) in error.reason


@pytest.mark.parametrize("status", [401, 403, 404, 405, 410])
def test_send_stops_where_nothing_more_is_wanted(receiver: Receiver, status: int) -> None:
    """The receiver said no to everything: no action is at fault, and none is given up."""
    error = failure(receiver, answer(status))

    assert error.stops
    assert not error.permanent
    assert str(status) in error.reason


@pytest.mark.parametrize("status", [429, 503])
def test_send_passes_retry_after_on(receiver: Receiver, status: int) -> None:
    """The receiver's wish to be left alone is kept."""
    assert failure(receiver, answer(status, Retry_After="17")).retry_after == 17


@pytest.mark.parametrize("said", [{}, {"Retry_After": "soon"}])
def test_limit_without_a_time_is_a_pause_for_everyone(
    receiver: Receiver, said: dict[str, str]
) -> None:
    """Who is told that it is too much does not go on with the next action."""
    assert failure(receiver, answer(429, **said)).retry_after == RATE_LIMIT_SECONDS
    assert failure(receiver, answer(503, **said)).retry_after is None


NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 120 ", 120),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90),
        (email.utils.formatdate(NOW + 90, localtime=False), 90),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0),
        ("9" * 400, 86_400),
        ("999999", 86_400),
        ("1.5", None),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
    ],
)
def test_retry_after_reads_seconds_and_dates(value: str | None, seconds: float | None) -> None:
    """Both forms are read, at most a day; nonsense is as if it were not there."""
    assert retry_after(value, NOW) == seconds


def test_send_gives_up_waiting_for_a_slow_receiver(receiver: Receiver) -> None:
    """A receiver that does not answer holds a delivery no longer than the timeout."""
    start = time.monotonic()

    error = failure(receiver, raw(b"", pause_seconds=2.0), timeout_seconds=0.3)

    assert time.monotonic() - start < 1.5
    assert error.reason == "no answer within 0.3 s"
    assert not error.reached


@pytest.mark.parametrize("start", [b"", OK])
def test_send_is_not_held_by_a_trickle(receiver: Receiver, start: bytes) -> None:
    """A byte now and then does not stretch the deadline, though each read is in time."""
    begun = time.monotonic()

    error = failure(
        receiver, raw(start, *[b"X-A: b\r\n"] * 40, pause_seconds=0.1), timeout_seconds=0.5
    )

    assert time.monotonic() - begun < 2.0
    assert error.reason == "no answer within 0.5 s"


def test_send_is_not_held_by_a_body_that_never_ends(receiver: Receiver) -> None:
    """The status has decided; a trickling body is left at the deadline."""
    begun = time.monotonic()
    receiver.answers.append(
        raw(OK + b"Content-Length: 1000\r\n\r\n", *[b"x"] * 40, pause_seconds=0.1)
    )

    assert webhook(receiver, timeout_seconds=0.5).send([action()])[0].status == 200
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize(
    "script",
    [
        raw(OK + b"Content-Length: 100000000\r\n\r\n", *[b"x" * 65_536] * 200),
        raw(OK + b"Content-Length: 1000\r\n\r\n", b"half", reset=True),
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"nonsense"),
        raw(OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n", b"\0\0\0\0"),
    ],
    ids=["huge", "reset", "broken", "bomb"],
)
def test_send_takes_the_status_whatever_the_body(receiver: Receiver, script: Answer) -> None:
    """An action that was taken is not sent again because the answer's body is odd or endless."""
    receiver.answers.append(script)

    assert webhook(receiver).send([action()])[0].status == 200


@pytest.mark.parametrize(
    "script",
    [
        raw(b"", reset=True),
        raw(b"HTTP/1.1 2"),
        raw(b"SMTP what\r\n\r\n"),
        raw(OK + b"X: " + b"y" * 300_000 + b"\r\n\r\n"),
    ],
    ids=["reset", "cut", "no-http", "endless-header"],
)
def test_send_tries_again_after_a_broken_answer(receiver: Receiver, script: Answer) -> None:
    """Without a status nobody knows whether it was taken; the id makes another try safe."""
    error = failure(receiver, script)

    assert not error.permanent
    assert not error.reached
    assert "what" not in error.reason


def test_send_says_that_nobody_listens() -> None:
    """A closed port is a failure to connect, to be tried again."""
    with receiving() as gone:
        url = gone.url

    with pytest.raises(DeliveryError, match="cannot connect") as caught:
        Webhook(url, SECRET, allow_private=True).send([action()])

    assert not caught.value.reached


def test_send_gives_up_on_a_tls_handshake_that_stalls() -> None:
    """A receiver that accepts and says nothing holds a delivery no longer than the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        hook = Webhook(url, SECRET, allow_private=True, timeout_seconds=0.3)
        start = time.monotonic()

        with pytest.raises(DeliveryError, match="no answer within"):
            hook.send([action()])

    assert time.monotonic() - start < 1.5


class Stream:
    """A connection as the HTTP library hands it to a trace."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def get_extra_info(self, _name: str) -> socket.socket:
        """Return the socket, the only thing asked for."""
        return self.connection


def test_deadline_cuts_a_connection_made_after_it_passed() -> None:
    """A connection that succeeds too late is not waited on."""
    near, far = socket.socketpair()
    with near, far, Deadline(0.01) as deadline:
        while not deadline.passed:
            time.sleep(0.005)

        deadline.trace("connection.connect_tcp.complete", {"return_value": Stream(near)})

        assert far.recv(1) == b""
        assert deadline.remaining() > 0


def test_call_fails_where_no_thread_can_start(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent, so even what must not arrive twice is tried again."""
    there = webhook(receiver)

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(DeliveryError, match="can start no thread") as caught:
        there.send([action()])

    assert (caught.value.reached, caught.value.unknown) == (False, False)
