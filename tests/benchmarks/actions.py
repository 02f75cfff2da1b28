"""How fast four workers empty an outbox in PostgreSQL, and whether they lose or double anything."""

from __future__ import annotations

import contextlib
import http.server
import importlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlembed_crm import Action, Receipt

_ROOT = Path(__file__).parents[2]
_BATCH = 100
_WORKERS = 4
_LEAST = 2_000.0
_NAME = f"mlembed_actions_{os.getpid()}"


def actions(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Queue actions, let the workers deliver them into a local receiver, and look at both ends."""
    postgres = importlib.import_module("tests.training.postgres")
    n_actions = 2_000 if short else 100_000
    with _database(postgres.url()) as database, _receiving() as receiver:
        _run(f"queue({n_actions})", database)
        start = time.monotonic()
        workers = [_start(f"work({receiver.url!r})", database) for _ in range(_WORKERS)]
        for worker in workers:
            if worker.wait():
                raise RuntimeError("a worker failed")
        seconds = time.monotonic() - start
        told = json.loads(_run("tell()", database))
    rate = n_actions / seconds
    detail = f"{_WORKERS} workers, {seconds:.1f} s with their start, batches of {_BATCH}"
    what = f"actions: {n_actions:,} from PostgreSQL to a local receiver"
    yield Finding(what, rate, unit="a second", least=_LEAST, detail=detail)
    lost = n_actions - len(set(receiver.ids))
    yield Finding("actions: lost", lost, most=0, unit="records")
    twice = len(receiver.ids) - len(set(receiver.ids))
    yield Finding("actions: sent twice", twice, most=0, unit="records")
    yield Finding("actions: claimed twice", told["tried"] - n_actions, most=0, unit="records")
    yield Finding("actions: not told as sent", n_actions - told["sent"], most=0, unit="records")


def queue(n_actions: int) -> None:
    """Make the tables, and queue actions by a rule, as a night's scoring does."""
    import numpy as np
    from django.core.management import call_command

    from mlembed.serving.batch import Batch
    from mlembed_crm import Rule, every_score
    from mlembed_django.acting import SiteActions
    from mlembed_django.batches import BatchRows
    from mlembed_django.outbox import DjangoOutbox

    call_command("migrate", verbosity=0)
    rule = Rule("r", "toy", every_score(), "desk", {"list": "calls"})
    batch = Batch(
        np.linspace(0, 1, n_actions),
        lambda score: (score > 0.5, "ok"),
        *("toy", "1.0.0", time.time_ns(), ""),
    )
    outbox = DjangoOutbox()
    SiteActions(outbox, [rule]).apply_batch(BatchRows(batch, range(n_actions)))
    if outbox.counts()["pending"] != n_actions:
        raise RuntimeError("not every action was queued")


def work(url: str) -> None:
    """Deliver all that is due."""
    from mlembed_crm import Delivery
    from mlembed_django.outbox import DjangoOutbox

    Delivery(DjangoOutbox(), {"desk": Bulk(url)}, keep_sent_seconds=None).run_once()


def tell() -> None:
    """Print what the outbox says became of its actions."""
    from mlembed_django.models import Attempt
    from mlembed_django.outbox import DjangoOutbox

    told = {"sent": DjangoOutbox().counts()["sent"], "tried": Attempt.objects.count()}
    sys.stdout.write(json.dumps(told) + "\n")


class Bulk:
    """A receiver of many events a call."""

    def __init__(self, url: str) -> None:
        from mlembed_crm import Limits
        from mlembed_crm.destinations.endpoint import Endpoint

        self._endpoint = Endpoint(url, allow_private=True)
        self.name = self._endpoint.name
        self.limits = Limits(batch=_BATCH)

    def send(self, actions: Sequence[Action], /) -> list[Receipt]:
        """Post them as one JSON array."""
        from mlembed_crm import Receipt
        from mlembed_crm.destinations.answers import require_accepted

        body = b"[%s]" % b",".join(action.event() for action in actions)
        answer = self._endpoint.call(
            "POST", headers={"Content-Type": "application/json"}, content=body
        )
        require_accepted(answer.status, answer.headers)
        return [Receipt(answer.status)] * len(actions)


class _Receiver(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ids: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}/events"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.ids += [event["id"] for event in json.loads(body)]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _receiving() -> Iterator[_Receiver]:
    receiver = _Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.server_close()


@contextlib.contextmanager
def _database(server: str) -> Iterator[dict[str, Any]]:
    """Make a database on *server*, for as long as the block runs."""
    import psycopg

    with contextlib.closing(psycopg.connect(server, autocommit=True)) as admin:
        admin.execute(f'CREATE DATABASE "{_NAME}"')
        try:
            address = urlsplit(server)
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": _NAME,
                "USER": address.username,
                "PASSWORD": address.password or "",
                "HOST": address.hostname,
                "PORT": address.port,
            }
        finally:
            admin.execute(f'DROP DATABASE "{_NAME}" WITH (FORCE)')


def _start(call: str, database: dict[str, Any]) -> subprocess.Popen[str]:
    script = f"""
import json, sys
import django
from django.conf import settings
settings.configure(
    DATABASES={{"default": json.loads(sys.argv[1])}}, INSTALLED_APPS=["mlembed_django"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True,
)
django.setup()
from tests.benchmarks.actions import queue, tell, work
{call}
"""
    return subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(database)],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def _run(call: str, database: dict[str, Any]) -> str:
    process = _start(call, database)
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{call} failed")
    return said
