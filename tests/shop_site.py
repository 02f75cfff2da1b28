"""The example `examples/shop` in a process of its own, as a newcomer starts it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

SITE = Path(__file__).parents[1] / "examples" / "shop"
CUSTOMERS = 400
_END_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class Shop:
    """A shop that is served.

    Attributes:
        url: Where.
        told: What its start printed.
        passwords: Of its users.
        variables: What its environment has besides ours.
    """

    url: str
    told: str
    passwords: dict[str, str]
    variables: dict[str, str]

    @contextlib.contextmanager
    def client(self, user: str = "") -> Iterator[httpx.Client]:
        """Lend a browser, so to speak; logged in as *user*, where one is given."""
        with httpx.Client(base_url=self.url, timeout=_END_SECONDS) as client:
            if user:
                found = post(client, "/login/", username=user, password=self.passwords[user])
                assert found.headers["location"] == "/"
            yield client

    def manage(self, *command: str, **variables: str) -> str:
        """Run one of its commands and return what it said."""
        done = subprocess.run(
            [sys.executable, str(SITE / "manage.py"), *command],
            env=environment(self.variables | variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, code: str, **variables: str) -> str:
        """Run *code* in its Django and return what it printed."""
        return self.manage("shell", "-v", "0", "-c", code, **variables)

    def ask(self, code: str, **variables: str) -> Any:
        """Run *code* in its Django and return the last line it printed, from JSON."""
        return json.loads(self.run(code, **variables).splitlines()[-1])


def environment(variables: dict[str, str]) -> dict[str, str]:
    """Return the environment of a process of the shop; warnings are errors there."""
    paths = os.pathsep.join([*sys.path, str(SITE)])
    return {
        **os.environ,
        "PYTHONPATH": paths,
        "PYTHONWARNINGS": "error",
        "DJANGO_SETTINGS_MODULE": "backoffice.settings",
        "RISK_TOKEN": "token of the till",
        **variables,
    }


def post(client: httpx.Client, path: str, **data: str) -> httpx.Response:
    """Post a form as a page of the site does."""
    if "csrftoken" not in client.cookies:
        client.get("/login/")
    return client.post(path, data={**data, "csrfmiddlewaretoken": client.cookies["csrftoken"]})


@contextlib.contextmanager
def running(variables: dict[str, str], *options: str) -> Iterator[Shop]:
    """Run `run.py` for the length of the block; by SIGTERM it must end cleanly."""
    process = subprocess.Popen(
        [sys.executable, str(SITE / "run.py"), "--port", "0", *options],
        env=environment(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        told = _until_served(process)
        yield Shop(
            url=re.findall(r"^(http://\S+)/$", told, re.MULTILINE)[0],
            told=told,
            passwords=dict(re.findall(r"log in as (\S+) with (\S+)", told)),
            variables=variables,
        )
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=_END_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, error
    assert "Traceback" not in error, error


@contextlib.contextmanager
def database() -> Iterator[dict[str, str]]:
    """Lend an empty database on the server of `DATABASE_URL`; nothing where SQLite is used."""
    url = urllib.parse.urlsplit(os.environ.get("DATABASE_URL", ""))
    if not url.scheme:
        yield {}
        return
    import psycopg

    name = f"shop_{os.getpid()}"
    with psycopg.connect(url.geturl(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield {"DATABASE_URL": url._replace(path=f"/{name}").geturl()}
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def wait_for(condition: Any, seconds: float = 15.0) -> Any:
    """Wait until *condition* gives something, and return it; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)
    return found


def _until_served(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if line.startswith("Ctrl-C"):
            return told
    assert process.stderr is not None
    raise AssertionError(told + process.stderr.read())
