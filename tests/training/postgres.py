"""A PostgreSQL server for tests, and a wire to it that can be cut.

Run `python -m tests.training.postgres COMMAND...` with the server's address in DATABASE_URL
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534  # PostgreSQL refuses to run as root
# Rows that take most of a minute, in more than a hundred batches.
SLOW = (
    "SELECT i AS age, repeat('x', 2000) AS paid, CASE WHEN i % 5000 = 0 THEN pg_sleep(0.2)::text END"
    " FROM generate_series(1, 1000000) AS i"
)
_WIRE = """
import os, socket, sys, threading
left = int(sys.argv[3])
def pass_on(source, target, counts):
    global left
    while data := source.recv(65536):
        left -= len(data) * counts
        if left < 0:
            os._exit(0)
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:  # the driver opens two connections, one after the other
    client, _ = listener.accept()
    server = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    for way in ((client, server, 0), (server, client, 1)):
        threading.Thread(target=pass_on, args=way, daemon=True).start()
"""


@functools.cache
def url() -> str:
    """Return the URL of the server that MLEMBED_TEST_POSTGRES names, or of one of our own.

    Tests are skipped where there is neither a server nor the program.
    """
    pytest.importorskip("adbc_driver_postgresql.dbapi", reason="no ADBC for PostgreSQL")
    return os.environ.get("MLEMBED_TEST_POSTGRES") or _start(_programs())


def _programs() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if not folders:
        pytest.skip("no PostgreSQL: install it, or set MLEMBED_TEST_POSTGRES")
    return folders[0]


def _start(programs: Path) -> str:
    """Start a server that ends with the tests; return its URL."""
    folder = Path(tempfile.mkdtemp(prefix="mlembed-postgres-"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir(0o700)
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        os.chown(data, NOBODY, NOBODY)
        identity = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
    setting_up = [
        str(programs / "initdb"),
        "-D",
        str(data),
        "-U",
        "postgres",
        "-A",
        "trust",
        "--no-sync",
    ]
    subprocess.run(setting_up, check=True, capture_output=True, **identity)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["-h", "127.0.0.1", "-p", str(port), "-c", f"unix_socket_directories={data}"]
    running = subprocess.Popen(
        [str(programs / "postgres"), "-D", str(data), "-F", *options],
        stderr=subprocess.DEVNULL,
        **identity,
    )
    atexit.register(_stop, running, folder)
    address = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    wait(lambda: _answers(address))
    return address


def _stop(running: subprocess.Popen[bytes], folder: Path) -> None:
    running.send_signal(signal.SIGINT)  # to the server: end every connection
    running.wait(timeout=30)
    shutil.rmtree(folder, ignore_errors=True)


def _answers(address: str) -> bool:
    driver = pytest.importorskip("adbc_driver_postgresql.dbapi")
    try:
        driver.connect(f"{address}?connect_timeout=3").close()
    except driver.Error:
        return False
    return True


def ask(statement: str, *parameters: Any) -> Any:
    """Return the first cell that *statement* gives, as the administrator."""
    driver = pytest.importorskip("adbc_driver_postgresql.dbapi")
    with contextlib.closing(driver.connect(url())) as database, database.cursor() as cursor:
        cursor.execute(statement, parameters=parameters or None)
        row = cursor.fetchone()
        database.commit()
    return row[0] if row else None


def wait_for_rows(application: str) -> None:
    """Wait until *application* has been reading rows for a second."""
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'active' "
        "AND query LIKE '%pg_sleep%' AND clock_timestamp() > query_start + interval '1 second'"
    )
    wait(lambda: ask(running, application) > 0)


def count_connections(application: str) -> int:
    """Return how many connections *application* has."""
    return int(
        ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", application)
    )


def wait(is_so: Any, seconds: float = 30) -> None:
    """Wait until *is_so* holds."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@contextlib.contextmanager
def cut_after(n_bytes: int) -> Iterator[str]:
    """Yield the address of a wire to the server that is cut after so many bytes of answers.

    It is a process of its own: while the driver connects, no thread of this one runs.
    """
    host = url().rpartition("@")[2].partition("/")[0]
    command = [sys.executable, "-c", _WIRE, *host.split(":"), str(n_bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


if __name__ == "__main__":
    environment = {**os.environ, "DATABASE_URL": url()}
    sys.exit(subprocess.run(sys.argv[1:], env=environment, check=False).returncode)
