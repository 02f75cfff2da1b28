"""Debian's docker-registry, run for a test, and a relay before it that counts and interferes.

with Depot(tmp_path) as depot, Relay(depot) as relay:
    registry = relay.open("team")  # relay.answered holds what passed
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from mlembed.registry import opening
from mlembed.registry.oci.oci import open_oci
from mlembed.registry.pointer import Ref
from mlembed.settings import Settings
from registry.hostile import Answer, Asked, Server
from registry.stock import bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlembed.registry.follow import Followed
    from mlembed.registry.oci.oci import OciRegistry
    from mlembed.registry.registry import Registry

BINARY = shutil.which("docker-registry")
MISSING = "no docker-registry: apt-get install it"
TOY = Ref("toy")
_START_SECONDS = 20.0
_HOP = {"connection", "content-length", "date", "server", "transfer-encoding"}


def host(registry: Registry, folder: Path) -> Followed:
    """Return *registry* as a host follows it whose cache lies in *folder*."""
    return opening.follow(registry, Settings(cache=folder, log=False))


def follow(followed: Followed) -> str:
    """Look, fetch and confirm, as a host does; return the version."""
    target = followed.resolve(TOY)
    assert followed.fetch(target) == bundle(target.version)
    followed.confirm(TOY, target)
    return target.version


class Depot:
    """A registry with its data below *folder*, set up as Debian does but for *auth*.

    Attributes:
        port: Where it listens on the loopback.
    """

    def __init__(self, folder: Path, auth: dict[str, Any] | None = None) -> None:
        self._data = folder / "depot"
        self._log = folder / "depot.log"
        self._file = folder / "depot.json"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        config = {
            "version": "0.1",
            "storage": {
                "cache": {"blobdescriptor": "inmemory"},
                "filesystem": {"rootdirectory": str(self._data)},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"127.0.0.1:{self.port}"},
            **({"auth": auth} if auth else {}),
        }
        self._file.write_text(json.dumps(config))
        self._process: subprocess.Popen[bytes] | None = None

    def location(self, prefix: str) -> str:
        """Return where models below *prefix* are."""
        return f"oci://127.0.0.1:{self.port}/{prefix}"

    def open(self, prefix: str = "team", **settings: Any) -> OciRegistry:
        """Return the registry of the models below *prefix*; each call is a new client."""
        return open_oci(urlsplit(self.location(prefix)), Settings(log=False, **settings))

    def stored(self, digest: str) -> Path:
        """Return the file that holds the blob *digest*."""
        return self._data / f"docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"

    def collect_garbage(self) -> str:
        """Remove what no tag needs, as an operator does: with the server stopped."""
        self._stop()
        command = [str(BINARY), "garbage-collect", "--delete-untagged", str(self._file)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        self._start()
        return done.stdout

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            command = [str(BINARY), "serve", str(self._file)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self._log.read_text()[-2000:])
            time.sleep(0.02)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)


@dataclasses.dataclass(frozen=True)
class Answered:
    """One exchange: what was asked, and the status and length of what came."""

    method: str
    path: str
    status: int
    size: int


class Relay(Server):
    """A server that passes every request on to *depot*.

    Attributes:
        before: Called with each request before it is passed on; what it returns is the answer.
        after: Called with each request after it was answered, before the client hears of it.
        answered: What passed so far.
    """

    def __init__(self, depot: Depot) -> None:
        super().__init__()
        self.depot = depot
        self.before: Callable[[Asked], Answer | None] = lambda _: None
        self.after: Callable[[Asked], object] = lambda _: None
        self.answered: list[Answered] = []
        self.routes = _Everything(self)

    def open(self, prefix: str = "team", **settings: Any) -> OciRegistry:
        """Return the registry of the models below *prefix*, by way of the relay."""
        location = f"oci://127.0.0.1:{self.port}/{prefix}"
        return open_oci(urlsplit(location), Settings(log=False, **settings))

    def passed(self) -> list[str]:
        """Return the methods, kinds and statuses of what passed, and forget it."""
        told = [f"{one.method} {_kind(one.path)} {one.status}" for one in self.answered]
        self.answered.clear()
        return told

    def relay(self, asked: Asked) -> Answer:
        """Pass *asked* on and return the answer."""
        answer = self.before(asked)
        if answer is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.depot.port, timeout=20)
            connection.request(asked.method, asked.path, asked.body, asked.headers)
            response = connection.getresponse()
            body = response.read()
            headers = {k: v for k, v in response.getheaders() if k.lower() not in _HOP}
            length = response.getheader("content-length")
            announced = int(length) if length and asked.method == "HEAD" else None
            answer = Answer(response.status, headers, body, announced)
            connection.close()
        self.after(asked)
        size = len(bytes(answer.body))  # type: ignore[arg-type]  # always bytes here
        self.answered.append(Answered(asked.method, asked.path, answer.status, size))
        return answer


class _Everything(dict[str, Any]):
    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self._relay = relay

    def get(self, _path: str, _default: Any = None) -> Any:
        return self._relay.relay


def _kind(path: str) -> str:
    parts = urlsplit(path).path.split("/")
    if "uploads" in parts:
        return "upload"
    return next((kind for kind in ("tags", "manifests", "blobs") if kind in parts), path)
