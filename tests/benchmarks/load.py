"""The example shop under load, in gunicorn's workers, while its champion is replaced again and again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import Ref

from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

SITE = Path(__file__).parents[2] / "examples" / "shop"
SWAPS = 20
_POLL_SECONDS = 1.0
_START_SECONDS = 120.0


def load(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Ask for risks with wrk for a minute; every answer counts."""
    seconds, swaps, customers = (8, 3, 300) if short else (60, SWAPS, 2_000)
    if shutil.which("wrk") is None:
        raise SystemExit("the benchmark 'load' needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        token = secrets.token_hex(16)
        environment = {
            **os.environ,
            "BACKOFFICE_VAR": folder,
            "MLEMBED_POLL_SECONDS": str(_POLL_SECONDS),
            "RISK_TOKEN": token,
        }
        _prepare(environment, customers)
        versions = _two_versions(environment)
        with _served(environment) as port:
            url = f"http://127.0.0.1:{port}/customers/{_customer(environment)}/risk"
            told = _ask(url, token, seconds, swaps, versions, environment)
    yield Finding("load: requests that failed", told["failed"], 0, "requests", told["detail"])
    yield Finding("load: answers of another kind than a version's", told["fallbacks"], 0, "answers")
    yield Finding("load: versions that answered", told["versions"], unit="versions", least=2)
    yield Finding("load: requests a second", told["rate"], unit="a second")


def _run(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=SITE,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _prepare(environment: dict[str, str], customers: int) -> None:
    """Make the shop as its first start does."""
    code = (
        "import os, sys; sys.path.insert(0, '.'); "
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'backoffice.settings'; "
        "import django; django.setup(); import run; "
        f"run.prepare({customers}, fresh=False)"
    )
    _run(environment, "-c", code)


def _two_versions(environment: dict[str, str]) -> list[str]:
    """Publish another version beside the champion, of fewer rows; return both."""
    folder = Path(environment["BACKOFFICE_VAR"])
    head, *rows = (folder / "histories.csv").read_text(encoding="utf-8").splitlines()
    fewer = folder / "fewer.csv"
    fewer.write_text("\n".join([head, *rows[::2]]) + "\n", encoding="utf-8")
    registry = folder / "registry"
    command = ["-m", "mlembed", "train", "train.py", "--data", str(fewer)]
    _run(environment, *command, "--registry", str(registry), "--alias", "next")
    found = FileRegistry(registry)
    return [found.resolve(Ref("churn", alias)).version for alias in ("next", "champion")]


def _customer(environment: dict[str, str]) -> str:
    code = (
        "from backoffice.models import OpenCustomer; print('pk', OpenCustomer.objects.first().pk)"
    )
    said = _run(environment, "manage.py", "shell", "-c", code)
    return str(re.findall(r"pk (\d+)", said)[-1])


@contextlib.contextmanager
def _served(environment: dict[str, str]) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "backoffice.wsgi"]
    with subprocess.Popen(
        [sys.executable, *command], cwd=SITE, env=environment, stderr=subprocess.DEVNULL
    ) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/ml/health/live")
            yield port
        finally:
            server.send_signal(signal.SIGTERM)


def _wait(url: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  our own server
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def _ask(
    url: str, token: str, seconds: int, swaps: int, versions: list[str], environment: dict[str, str]
) -> dict[str, Any]:
    """Let wrk ask while the champion is moved to and fro; look at answers in between."""
    bearer = f"Authorization: Bearer {token}"
    command = ["wrk", "-t2", "-c8", f"-d{seconds}s", "--timeout", "20s", "-H", bearer, url]
    registry = FileRegistry(Path(environment["BACKOFFICE_VAR"]) / "registry")
    seen: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        begun = time.monotonic()
        for swap in range(swaps):
            time.sleep(max(0.0, begun + (swap + 1) * seconds / (swaps + 1) - time.monotonic()))
            registry.promote("churn", "champion", versions[swap % 2])
            time.sleep(2 * _POLL_SECONDS)
            seen.append(_answer(url, bearer))
        said = asking.communicate()[0]
    refused = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    broken = re.findall(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said
    )
    total = int(re.findall(r"(\d+) requests in", said)[0])
    return {
        "failed": refused + sum(map(int, broken[0] if broken else ())),
        "fallbacks": sum(answer["reason"] != "ok" for answer in seen),
        "versions": len({answer["version"] for answer in seen}),
        "rate": float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]),
        "detail": f"of {total:,} in {seconds} s, {swaps} times another champion",
    }


def _answer(url: str, bearer: str) -> dict[str, Any]:
    name, _, value = bearer.partition(": ")
    asked = urllib.request.Request(url, headers={name: value})  # noqa: S310  our own server
    with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310  idem
        found: dict[str, Any] = json.load(answer)
    return found
