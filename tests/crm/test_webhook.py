"""The webhook against real receivers: what it sends, and what it makes of every answer."""

from __future__ import annotations

import email.utils
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import standardwebhooks

from crm.receiver import SECRET, action, answer, raw, receiving, webhook
from mlembed.errors import SettingsError
from mlembed_crm import Webhook, verify
from mlembed_crm.destinations.answers import retry_after
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm.receiver import Answer, Receiver

CERTIFICATE = Path(__file__).parent / "receiver.pem"
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a running receiver."""
    with receiving() as running:
        yield running


def failure(receiver: Receiver, script: Answer, **arguments: Any) -> DeliveryError:
    """Return the error that an answer leads to."""
    receiver.answers.append(script)
    with pytest.raises(DeliveryError) as caught:
        webhook(receiver, **arguments).send(action())
    return caught.value


def test_send_posts_a_signed_event(receiver: Receiver) -> None:
    """What arrives verifies here and in the independent library, under the action's id."""
    sent = action(key="Ünïcode 🦆")

    receipt = webhook(receiver).send(sent)

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

    assert webhook(receiver).send(action()).status == status


@pytest.mark.parametrize("status", [300, 302, 307, 408, 425, 429, 500, 502, 503, 504, 599])
def test_send_asks_for_another_try(receiver: Receiver, status: int) -> None:
    """What may pass, or may be put right, is not final; a redirect is not followed."""
    error = failure(receiver, answer(status, Location=receiver.url + "/other"))

    assert not error.permanent
    assert error.reached
    assert f"HTTP {status}" in str(error)
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422, 451, 499])
def test_send_gives_up_on_a_refusal(receiver: Receiver, status: int) -> None:
    """The receiver said no to this action: it is final, and says why."""
    error = failure(receiver, answer(status, Retry_After="5"))

    assert error.permanent
    assert str(status) in error.reason


@pytest.mark.parametrize("status", [429, 503])
def test_send_passes_retry_after_on(receiver: Receiver, status: int) -> None:
    """The receiver's wish to be left alone is kept."""
    assert failure(receiver, answer(status, Retry_After="17")).retry_after == 17


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

    assert webhook(receiver, timeout_seconds=0.5).send(action()).status == 200
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

    assert webhook(receiver).send(action()).status == 200


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
        Webhook(url, SECRET, allow_private=True).send(action())

    assert not caught.value.reached


def test_send_ignores_proxies_of_the_environment(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that the environment names would see, or swallow, every action."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert webhook(receiver).send(action()).status == 204


def lead(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Lead the name receiver.test to each of *answers* in turn; return the names looked up."""
    real, asked, waiting = socket.getaddrinfo, [], list(answers)

    def getaddrinfo(host: str, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "receiver.test" or kwargs.get("flags") == socket.AI_NUMERICHOST:
            return real(host, port, *args, **kwargs)
        asked.append(host)
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_send_connects_to_the_address_it_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up once an attempt, so it cannot lead elsewhere after the check."""
    asked = lead(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    with receiving() as checked, receiving(address=("127.0.0.2", checked.server_port)) as other:
        url = f"http://receiver.test:{checked.server_port}/hook"

        Webhook(url, SECRET, allow_private=True).send(action())

    assert asked == ["receiver.test"]
    assert [got.headers["host"] for got in checked.received] == [url[7:-5]]
    assert other.received == []


def test_send_refuses_a_name_that_leads_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public name with a private address reaches nobody."""
    lead(monkeypatch, ["127.0.0.1"])
    with receiving() as inside:
        hook = Webhook(f"https://receiver.test:{inside.server_port}/", SECRET)

        with pytest.raises(DeliveryError, match="private address"):
            hook.send(action())

    assert inside.received == []


def test_send_tries_every_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with one dead address is reached by its other."""
    lead(monkeypatch, ["127.0.0.3", "127.0.0.1"])
    with receiving() as receiver:
        hook = Webhook(f"http://receiver.test:{receiver.server_port}/", SECRET, allow_private=True)

        assert hook.send(action()).status == 204


def test_send_checks_the_certificate_against_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS is spoken with the name of the URL, though the connection is made to an address."""
    lead(monkeypatch, ["127.0.0.1"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE)
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    with receiving(tls=server) as receiver:
        urls = [
            f"https://{host}:{receiver.server_port}/" for host in ("receiver.test", "127.0.0.1")
        ]
        right, wrong = (Webhook(url, SECRET, allow_private=True, tls=trusting) for url in urls)
        stranger = Webhook(urls[0], SECRET, allow_private=True)

        assert right.send(action()).status == 204
        for hook in (wrong, stranger):
            with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
                hook.send(action())

    assert len(receiver.received) == 1


def test_send_gives_up_on_a_tls_handshake_that_stalls() -> None:
    """A receiver that accepts and says nothing holds a delivery no longer than the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        hook = Webhook(url, SECRET, allow_private=True, timeout_seconds=0.3)
        start = time.monotonic()

        with pytest.raises(DeliveryError, match="no answer within"):
            hook.send(action())

    assert time.monotonic() - start < 1.5


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.com/hook", "https"),
        ("ftp://example.com/hook", "https://"),
        ("https://", "host"),
        ("https://exa mple.com", "malformed"),
        ("https://example.com:99999999/", "malformed"),
        (7, "malformed"),
        ("https://user:hunter2@example.com/", "no user or password"),
        ("https://127.0.0.1/hook", "private"),
        ("https://[::1]/hook", "private"),
        ("https://[::ffff:10.0.0.1]/hook", "private"),
        ("https://169.254.169.254/latest/meta-data", "private"),
        ("https://10.0.0.1/", "private"),
        ("https://2130706433/", "private"),
        ("https://0x7f.1/", "private"),
    ],
)
def test_webhook_refuses_a_url_when_it_is_made(url: Any, says: str) -> None:
    """A URL that must not be posted to is refused at start, and not shown."""
    with pytest.raises(SettingsError, match=says) as caught:
        Webhook(url, SECRET)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_webhook_refuses_a_timeout_that_never_comes(seconds: float) -> None:
    """An attempt must end before its lease does."""
    with pytest.raises(SettingsError, match="timeout_seconds"):
        Webhook("https://example.com/", SECRET, timeout_seconds=seconds)


def test_webhook_shows_neither_secret_nor_path(caplog: pytest.LogCaptureFixture) -> None:
    """Paths and queries of webhooks hold tokens; neither repr, error nor log shows them."""
    caplog.set_level("DEBUG")
    with receiving() as receiver:
        receiver.answers.append(answer(500))
        hook = Webhook(f"{receiver.url}/t0ken?key=t0ken", SECRET, allow_private=True)
        with pytest.raises(DeliveryError) as caught:
            hook.send(action())

    shown = f"{hook!r} {hook} {hook.name} {caught.value} {caught.value!r} {caplog.text}"
    assert "t0ken" not in shown
    assert SECRET.removeprefix("whsec_") not in shown
