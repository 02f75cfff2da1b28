"""Run a contract of ours as a server: Prism answers by it, and refuses what does not keep to it.

Prism is installed once a machine, by whichever test process comes first. It ends with the block, and
with this process if that is killed: it watches the pipe of its standard input.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "5.14.2"

_ENTRY = Path("node_modules/@stoplight/prism-cli/dist/index.js")
_INSTALL_SECONDS = 600
_START_SECONDS = 60
_STARTS = 3
_END_WITH_US = "data:text/javascript,process.stdin.resume().on('end',()=>process.exit())"


@contextlib.contextmanager
def prism(contract: Path) -> Iterator[str]:
    """Run Prism over an OpenAPI document for the length of the block.

    Args:
        contract: The document.

    Yields:
        The base URL. A request that breaks the contract is answered with 4xx and a body that says
        where, and so is one that has no answer in it.
    """
    node = _program("node")
    entry = _installed()
    with tempfile.TemporaryFile() as log:
        for _ in range(_STARTS):
            port = _free_port()
            process = _start(node, entry, contract, port, log.fileno())
            try:
                if _is_up(process, port):
                    yield f"http://127.0.0.1:{port}"
                    return
            finally:
                process.kill()
                process.communicate()
        log.seek(0)
        raise AssertionError(f"Prism does not start: {log.read().decode(errors='replace')}")


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed; Prism needs Node.js 18.20 or newer, with npm")
    return path


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "mlembed-tests"


def _installed() -> Path:
    """Return the program's path, installed whole or not at all."""
    home = _cache() / f"prism-{VERSION}"
    if not (home / _ENTRY).exists():
        npm = _program("npm")
        home.parent.mkdir(parents=True, exist_ok=True)
        with (home.parent / f"prism-{VERSION}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (home / _ENTRY).exists():
                _install(npm, home)
    return home / _ENTRY


def _install(npm: str, home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as work:
        command = [npm, "install", "--prefix", work, "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(
            [*command, f"@stoplight/prism-cli@{VERSION}"],
            check=False,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
        )
        assert done.returncode == 0, f"Prism cannot be installed: {done.stderr}"
        new = home.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(work, new, symlinks=True)
    new.rename(home)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(node: str, entry: Path, contract: Path, port: int, log: int) -> subprocess.Popen[bytes]:
    # Started directly: a killed npx would leave its server behind.
    guarded = [node, "--import", _END_WITH_US, str(entry)]
    options = ["--errors", "--multiprocess", "false", "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.Popen(
        [*guarded, "mock", *options, str(contract)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
    )


def _is_up(process: subprocess.Popen[bytes], port: int) -> bool:
    ends = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < ends:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return process.poll() is None
        time.sleep(0.05)
    return False
