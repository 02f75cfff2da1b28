"""The servers that Django sites run under: prefork workers and an async one."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx

from payments_site import PAYMENT, SITE, environment, payments_bundle, promote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The parent predicts before it forks, as a site does that warms its models up under --preload.
PRELOADED = """
from shop.wsgi import application
from record import Payment

from mlembed_django.conf import get_model

warm = get_model("payments").predict(Payment.model_validate_json('''%s'''))
assert warm.reason == "ok"
"""


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(folder: Path, *arguments: str, status: int = 0) -> Iterator[httpx.Client]:
    """Run a server of the site for the length of the block; SIGTERM must end it with *status*."""
    port = free_port()
    variables = environment(folder, PYTHONWARNINGS="default")
    subprocess.run([sys.executable, "manage.py", "migrate"], cwd=SITE, env=variables, check=True)
    with (folder / "server.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *(a.format(port=port) for a in arguments)],
            cwd=SITE,
            env=variables,
            stdout=output,
            stderr=output,
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                _wait(client)
                yield client
            process.terminate()
            ended = process.wait(20)
        finally:
            process.kill()
            process.wait()
    said = (folder / "server.txt").read_text()
    assert ended == status, said
    assert "Traceback" not in said, said


def _wait(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            client.get("/health")
        except httpx.TransportError:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        else:
            return


def healths(client: httpx.Client) -> list[dict[str, Any]]:
    """Ask for the health over many connections at once."""
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: client.get("/health"), range(40))
        return [answer.json() for answer in answers]


def test_gunicorn_with_preload_serves_and_swaps_in_every_worker(tmp_path: Path) -> None:
    """Two forked workers answer after a prediction in their parent, and both take a promotion."""
    promote(tmp_path / "registry", payments_bundle("1.0.0"))
    record = {name: value for name, value in PAYMENT.items() if name != "id"}
    text = str(httpx.Request("POST", "http://x", json=record).content, "utf-8")
    (tmp_path / "preloaded.py").write_text(PRELOADED % text)
    arguments = ("--pythonpath", str(tmp_path), "--preload", "--workers", "2", "preloaded")

    with server(tmp_path, "gunicorn", "--bind", "127.0.0.1:{port}", *arguments) as client:
        decision = client.post("/payments/", json=PAYMENT).json()
        before = healths(client)
        promote(tmp_path / "registry", payments_bundle("2.0.0", 60.0))
        deadline = time.monotonic() + 60
        after = before
        while {health["model"]["version"] for health in after} != {"2.0.0"}:
            assert time.monotonic() < deadline, "a worker kept the old version"
            after = healths(client)

    assert (decision["reason"], decision["version"]) == ("ok", "1.0.0")
    assert {health["model"]["version"] for health in before} == {"1.0.0"}
    assert {health["status"] for health in after} == {"ok"}
    assert len({health["process"] for health in (*before, *after)}) == 2


def test_uvicorn_serves_the_same_site(tmp_path: Path) -> None:
    """The site's plain views, its database and its model work behind an ASGI server."""
    promote(tmp_path / "registry", payments_bundle("1.0.0", 60.0))
    arguments = ("shop.asgi:application", "--port", "{port}", "--lifespan", "off")

    # Uvicorn ends by the signal that it was sent, once it has served what was open.
    run = server(tmp_path, "uvicorn", *arguments, status=-signal.SIGTERM)
    with run as client, ThreadPoolExecutor(8) as pool:
        payments = [{**PAYMENT, "id": f"p-{i}"} for i in range(24)]
        answers = [*pool.map(lambda payment: client.post("/payments/", json=payment), payments)]
        page = client.get("/")

    assert {answer.status_code for answer in answers} == {201}
    assert {answer.json()["decision"] for answer in answers} == {"block"}
    assert page.status_code == 200
