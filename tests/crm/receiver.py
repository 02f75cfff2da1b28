"""A real webhook receiver on a thread, and what the tests of actions share."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any

from crm.fakes.running import running
from mlembed.serving.prediction import Prediction
from mlembed.telemetry.ids import SEQUENCE
from mlembed.telemetry.source import Source
from mlembed_crm import Action, Delivery, Outbox, Retries, Rule, Webhook, score_at_least
from mlembed_crm.memory import Memory
from mlembed_crm.outboxes import Attempt

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlembed.serving.prediction import Reason

    Answer = Callable[["Handler"], None]

SECRET = "whsec_" + "c2VjcmV0LW9mLXRlc3RzLW9mLW1sZW1iZWQtMDE="
DESTINATION = "risk-desk"
RULE = Rule("hold-payment", model="payments", when=score_at_least(0.5), destination=DESTINATION)
NO_PAUSE = Retries(first_seconds=0, most_seconds=0)


class Clock:
    """A clock that tests set; it starts at the time there is."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass(frozen=True)
class Received:
    """One request, as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The webhook's id."""
        return self.headers["webhook-id"]


class Handler(http.server.BaseHTTPRequestHandler):
    """Records a request and answers as the next script says."""

    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            self.server.received.append(Received(self.path, headers, body))
            script = self.server.answers.popleft() if self.server.answers else answer(204)
        with contextlib.suppress(OSError):
            script(self)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Receiver(http.server.ThreadingHTTPServer):
    """Answers by `answers`, one a request, then 204.

    Attributes:
        answers: What to do with the next requests.
        received: All requests so far.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        super().__init__(address, Handler)
        self.lock = threading.Lock()
        self.answers: deque[Answer] = deque()
        self.received: list[Received] = []

    def handle_error(self, *_: Any) -> None:
        """Say nothing: clients of these tests hang up."""

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self.server_port}/hook"


@contextlib.contextmanager
def receiving(
    tls: ssl.SSLContext | None = None, address: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[Receiver]:
    """Run a receiver for the length of the block."""
    receiver = Receiver(address)
    if tls is not None:
        receiver.socket = tls.wrap_socket(receiver.socket, server_side=True)
    with running(receiver):
        yield receiver


def answer(status: int, **headers: str) -> Answer:
    """Answer *status* with *headers*; an underscore stands for a dash."""

    def script(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return script


def raw(*parts: bytes, pause_seconds: float = 0.0, reset: bool = False) -> Answer:
    """Answer with bytes, slowly if asked, and end with a reset if asked."""

    def script(handler: Handler) -> None:
        for part in parts:
            handler.wfile.write(part)
            time.sleep(pause_seconds)
        if reset:
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.connection.close()

    return script


def webhook(receiver: Receiver, **arguments: Any) -> Webhook:
    """Return the destination that posts to *receiver*."""
    return Webhook(receiver.url, SECRET, allow_private=True, **arguments)


def delivery(outbox: Outbox, receiver: Receiver, **arguments: Any) -> Delivery:
    """Return a delivery to *receiver* that tries again at once."""
    hook = webhook(receiver, timeout_seconds=arguments.pop("timeout_seconds", 5.0))
    return Delivery(outbox, {DESTINATION: hook}, **{"retries": NO_PAUSE, **arguments})


def prediction(
    score: float = 0.9,
    key: str | None = "c-1",
    model: str = "payments",
    reason: Reason = "ok",
) -> Prediction:
    """Return a prediction as a model gives it."""
    source = Source(model, "1.2.0", "", (), log_features=False)
    return Prediction((source, time.time_ns(), SEQUENCE.next(), 0, score, reason, "", key))


def action(key: str | None = "c-1", score: float = 0.9, rule: Rule = RULE) -> Action:
    """Return a new action that no outbox holds yet."""
    return rule.action(prediction(score, key))


def once(outbox: Any, queued: Action, **where: Any) -> bool:
    """Queue an action as a rule does that acts once for its entity until it is armed again."""
    before = outbox.recall(queued.rule, queued.key or "", **where)
    if before is not None and not before.armed:
        return False
    memory = Memory(queued.id, armed=False)
    queued_now: bool = outbox.enqueue(queued, memory=memory, before=before, **where)
    return queued_now


def acted(outbox: Any, rule: str, key: str) -> bool:
    """Return whether *rule* has acted for *key* and is not armed again."""
    memory = outbox.recall(rule, key)
    return memory is not None and not memory.armed


def rearm(outbox: Any, rule: str, key: str) -> None:
    """Let the next crossing of *rule* for *key* act again."""
    outbox.renew(dataclasses.replace(outbox.recall(rule, key), armed=True))


def sent(outbox: Any, action: Action) -> None:
    """Record that the destination took *action*."""
    outbox.settle([Attempt(action=action, result="sent", started=outbox.now())])


def failed(outbox: Any, action: Action, why: str, retry_at: float) -> None:
    """Give *action* back."""
    attempt = Attempt(action=action, result="failed", detail=why, retry_at=retry_at)
    outbox.settle([dataclasses.replace(attempt, started=outbox.now())])


def dead(outbox: Any, action: Action, why: str) -> None:
    """Give *action* up."""
    outbox.settle([Attempt(action=action, result="dead", detail=why, started=outbox.now())])


def counted(outbox: Any) -> dict[str, int]:
    """Return how many actions are in each state that any is in."""
    return {state: count for state, count in outbox.counts().items() if count}


def in_child(work: Callable[[], bool]) -> int:
    """Run *work* in a fork of this process, threads and all; return the child's pid.

    The child exits 0 if *work* returns true, and never comes back into the test run.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 2
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return pid


def child(script: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Run *script* in another interpreter, which dies with the test run at the latest."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def finish(process: subprocess.Popen[str], timeout_seconds: float = 60.0) -> tuple[str, str]:
    """Wait for *process*; return what it wrote."""
    try:
        return process.communicate(timeout=timeout_seconds)
    finally:
        process.kill()
