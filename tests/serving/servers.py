"""Run the tiny site of `site.py` behind a real server on loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EXIT_SECONDS = 15
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:0")
UVICORN = ("uvicorn", "--port", "0")
UWSGI = (
    *("serving.uwsgi", "--http-socket", "127.0.0.1:0", "--processes", "2", "--die-on-term"),
    *("--enable-threads", "--need-app", "--disable-logging"),
)


@contextlib.contextmanager
def server(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Start the module and its *arguments*; kill what is left of it at the end of the block.

    Args:
        folder: Holds the registry, the log, record.json and modules of a test's own.
        arguments: A server's module, its options and the application.
        environment: Variables for it, beside those of this process.
    """
    paths = os.pathsep.join(map(str, (folder, ROOT, ROOT / "tests")))
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": paths,
            "TOY_FOLDER": str(folder),
            "HOME": str(folder),
            **environment,
        },
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def port_of(process: subprocess.Popen[str]) -> int:
    """Return the port that the server says it listens at."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        found = re.search(r"(?:http://|TCP address )127\.0\.0\.1:(\d+)", line)
        if found:
            return int(found[1])
    raise AssertionError("".join(said))


def ask(port: int) -> dict[str, Any]:
    """Return one answer of the application."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/")
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def are_idle(stats: Path) -> bool:
    """Tell whether no worker of uWSGI has a request, by the socket where it tells its numbers."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(stats))
        told = b"".join(iter(lambda: asking.recv(65536), b""))
    return all(worker["status"] == "idle" for worker in json.loads(told)["workers"])


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    """Send a signal and return the exit code."""
    process.send_signal(number)
    return process.wait(EXIT_SECONDS)
