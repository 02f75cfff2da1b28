"""A preloaded application serves from every worker of a real gunicorn."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundles import RECORD, toy_bundle
from serving.logs import events, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.registry.file import FileRegistry

ROOT = Path(__file__).parents[2]
EXIT_SECONDS = 15


@pytest.fixture
def server(registry: FileRegistry, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start gunicorn with two workers that share a preloaded application."""
    registry.publish(toy_bundle(version="1.1.0", shift=1.0))
    (tmp_path / "record.json").write_text(json.dumps(RECORD, default=str))
    command = ["-m", "gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:0"]
    paths = f"{ROOT}:{ROOT / 'tests'}"
    process = subprocess.Popen(
        [sys.executable, *command, "serving.site:application"],
        env={**os.environ, "PYTHONPATH": paths, "TOY_FOLDER": str(tmp_path), "HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def port_of(process: subprocess.Popen[str]) -> int:
    """Return the port that the server says it listens at."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line)
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


def test_preloaded_workers_serve_follow_and_exit(
    server: subprocess.Popen[str], registry: FileRegistry, tmp_path: Path
) -> None:
    """Both workers answer, both follow a promotion, and the server ends when it is told to."""
    port = port_of(server)
    answers: list[dict[str, Any]] = []

    def seen(version: str) -> set[int]:
        answers.append(ask(port))
        return {answer["pid"] for answer in answers if answer["version"] == version}

    wait_until(lambda: len(seen("1.0.0")) == 2, "an answer of each worker")
    registry.promote("toy", "champion", "1.1.0")
    wait_until(lambda: len(seen("1.1.0")) == 2, "the new version in each worker")
    server.send_signal(signal.SIGTERM)
    code = server.wait(EXIT_SECONDS)

    logged = {event["mlembed.prediction.id"] for event in events(tmp_path / "log")}
    ids = [answer["id"] for answer in answers]
    assert code == 0
    assert len(set(ids)) == len(ids)
    assert set(ids) <= logged
    assert {answer["reason"] for answer in answers} == {"ok"}
