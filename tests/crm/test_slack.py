"""What Slack is told of actions, and what is made of its answers."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.receiver import NO_PAUSE, action, answer, raw
from mlembed.errors import SettingsError
from mlembed_crm import Delivery, Outbox
from mlembed_crm.destinations import Receipt
from mlembed_crm.destinations.slack import Slack
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm.receiver import Receiver
    from mlembed_crm import Action

URL = "https://hooks.slack.example/services/T000/B000/SECRET"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Hook:
    """An incoming webhook that answers as it is told and keeps what it was sent."""

    def __init__(self, status: int = 200, body: bytes = b"ok", **headers: str) -> None:
        self.posted: list[dict[str, Any]] = []
        self._answer = (status, body, headers)

    def slack(self, **arguments: Any) -> Slack:
        """Return the destination that posts here."""
        return Slack(URL, transport=httpx.MockTransport(self._take), **arguments)

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.posted.append(json.loads(request.content))
        status, body, headers = self._answer
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.Response(status, content=body, headers=named)


def about(key: str | None = "c-1", **changed: Any) -> Action:
    """Return an action on *key*."""
    return dataclasses.replace(action(key), **changed)


def sections(hook: Hook) -> list[str]:
    """Return the texts of the blocks of the one message."""
    (message,) = hook.posted
    return [block["text"]["text"] for block in message["blocks"]]


def failure(hook: Hook) -> DeliveryError:
    """Return the error that the answer of *hook* leads to."""
    with pytest.raises(DeliveryError) as caught:
        hook.slack().send([about()])
    return caught.value


def test_send_says_what_was_predicted_for_whom() -> None:
    """Rule, key, score, label, model and payload can be read, each action in a section."""
    hook = Hook()
    event = about("c-1", payload={"amount": 12.5, "team": "risk"}, label=True)
    upsert = about(None, record="contacts", id_field="ext_id", payload={"ml_score": None})

    receipts = hook.slack().send([event, upsert])

    assert receipts == [Receipt(200), Receipt(200)]
    assert sections(hook) == [
        "*hold-payment* for c-1: score 0.9, label True (payments@1.2.0)\namount: 12.5, team: risk",
        "*hold-payment*: score 0.9 (payments@1.2.0)\ncontacts: ml_score: null",
    ]
    assert hook.posted[0]["text"] == "\n".join(sections(hook))
    assert {block["text"]["verbatim"] for block in hook.posted[0]["blocks"]} == {True}


def test_send_calls_for_nobodys_attention() -> None:
    """A record's values can neither mention anyone nor make a link, whoever wrote them."""
    hook = Hook()

    hook.slack().send([about("<!channel> & <https://evil|x>", payload={})])

    assert "&lt;!channel&gt; &amp; &lt;https://evil|x&gt;" in sections(hook)[0]
    assert "<" not in hook.posted[0]["text"]


def test_send_takes_the_hosts_own_text() -> None:
    """What the host says of an action is said, escaped, and its URLs become links."""
    hook = Hook()

    hook.slack(text=lambda one: f"*Look* at https://crm.example/{one.key} <now>").send([about()])

    (message,) = hook.posted
    assert sections(hook) == ["*Look* at https://crm.example/c-1 &lt;now&gt;"]
    assert message["blocks"][0]["text"]["verbatim"] is False


@pytest.mark.parametrize("text", [lambda one: one.payload["secret"], lambda _: " ", lambda _: 7])
def test_send_gives_up_an_action_without_a_text(text: Callable[[Action], Any]) -> None:
    """Where the host's function fails there is nothing to say, and its error is not shown."""
    hook = Hook()

    (error,) = hook.slack(text=text).send([about()])

    assert isinstance(error, DeliveryError)
    assert error.permanent
    assert "text function" in str(error)
    assert "secret" not in str(error)
    assert not hook.posted


def test_send_posts_the_others_all_the_same() -> None:
    """An action without a text takes nothing from the others of its batch."""
    hook = Hook()
    texts = {"a": "one", "b": "", "c": "three"}

    told = hook.slack(text=lambda one: texts[one.key or ""]).send([about(key) for key in texts])

    assert [isinstance(one, Receipt) for one in told] == [True, False, True]
    assert sections(hook) == ["one", "three"]


@pytest.mark.parametrize("n_actions", [1, 3, 20])
def test_send_keeps_a_message_within_slacks_limits(n_actions: int) -> None:
    """However long the texts, each is cut to its share, and never within an entity."""
    hook = Hook()
    long = [about(f"c-{i}", payload={"note": "&" * 30_000}) for i in range(n_actions)]

    hook.slack().send(long)

    assert len(sections(hook)) == n_actions <= 50
    assert sum(map(len, sections(hook))) <= 12_000
    assert len(hook.posted[0]["text"]) <= 40_000
    for section in sections(hook):
        assert len(section) <= 3000
        assert section.endswith("&amp;…")


def test_send_says_half_a_surrogate_pair() -> None:
    """A key that is no valid text does not keep the others of its batch from being told."""
    hook = Hook()

    assert hook.slack().send([about("c-\ud800")]) == [Receipt(200)]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b""),
        (403, b"action_prohibited"),
        (403, b""),
        (404, b"channel_not_found"),
        (404, b"<h1>nothing</h1>"),
        (410, b"channel_is_archived"),
        (400, b"no_service"),
        (400, b"invalid_token"),
        (200, b"no_team"),
    ],
)
def test_send_stops_where_the_webhook_is_gone(status: int, body: bytes) -> None:
    """A webhook that was removed takes nothing from anyone until somebody acts."""
    error = failure(Hook(status, body))

    assert error.stops
    assert not error.permanent


@pytest.mark.parametrize("body", [b"invalid_payload", b"invalid_blocks", b"<html>c-1</html>"])
def test_send_gives_up_what_slack_cannot_read(body: bytes) -> None:
    """A message that is refused as it stands is final; only words of Slack's are shown."""
    error = failure(Hook(400, body))

    assert error.permanent
    assert ("invalid" in str(error)) == (b"invalid" in body)
    assert "c-1" not in str(error)


@pytest.mark.parametrize(
    ("hook", "seconds"),
    [(Hook(429, Retry_After="17"), 17), (Hook(429, b"rate_limited"), 30)],
)
def test_send_waits_as_long_as_slack_asks(hook: Hook, seconds: float) -> None:
    """Of a message too many, the whole destination rests; none was posted."""
    error = failure(hook)

    assert error.retry_after == seconds
    assert not error.unknown


@pytest.mark.parametrize(
    ("status", "body", "unknown"),
    [
        (200, b"<html>welcome to the hotel</html>", True),
        (200, b"", True),
        (204, b"", True),
        (500, b"rollup_error", True),
        (502, b"<html>", True),
        (503, b"", False),
        (302, b"", False),
    ],
)
def test_send_believes_nothing_but_ok(status: int, body: bytes, *, unknown: bool) -> None:
    """Only Slack's own 'ok' says that it was posted; of the rest it is told what is not known."""
    error = failure(Hook(status, body))

    assert error.unknown is unknown
    assert not error.permanent
    assert not error.stops


def test_a_message_that_may_be_posted_is_left_to_people(outbox: Outbox, receiver: Receiver) -> None:
    """Slack cannot tell a message that it has seen, so one without an answer is not sent again."""
    outbox.enqueue(action())
    slack = Slack(receiver.url, allow_private=True, timeout_seconds=0.3)
    receiver.answers.extend([raw(b"", pause_seconds=1.0), raw(OK)])

    done = Delivery(outbox, {"risk-desk": slack}, retries=NO_PAUSE).run_once()

    assert done.dead == 1
    assert len(receiver.received) == 1


def test_a_message_that_was_not_posted_is_sent_again(outbox: Outbox, receiver: Receiver) -> None:
    """Where Slack says that it did not take it, it is sent until it does."""
    outbox.enqueue(action())
    slack = Slack(receiver.url, allow_private=True)
    receiver.answers.extend([answer(503), raw(OK)])
    delivery = Delivery(outbox, {"risk-desk": slack}, retries=NO_PAUSE)

    first, second = delivery.run_once(), delivery.run_once()

    assert first.failed + second.failed == 1
    assert first.sent + second.sent == 1


@pytest.mark.parametrize("hook", [Hook(404), Hook(500), Hook(200, b"SECRET"), Hook(302)])
def test_the_url_is_shown_nowhere(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever knows the URL can post, so no name, error or log has it."""
    with caplog.at_level("DEBUG"):
        error = failure(hook)

    shown = [repr(hook.slack()), hook.slack().name, str(error), repr(error.args), caplog.text]
    assert hook.slack().name == "https://hooks.slack.example"
    assert "SECRET" not in "".join(shown)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://hooks.slack.example/x"},
        {"url": "hooks.slack.example"},
        {"text": "a text"},
        {"timeout_seconds": 0},
    ],
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    """What cannot work is said when the destination is made."""
    with pytest.raises(SettingsError, match="Slack"):
        Slack(**{"url": URL, **wrong})
