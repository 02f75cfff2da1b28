"""A PostgreSQL server for tests, and a wire to it that can be cut."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = os.environ.get("MLEMBED_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
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


def url() -> str:
    """Return the URL of a server that answers; skip the test where there is none."""
    driver = pytest.importorskip("adbc_driver_postgresql.dbapi", reason="no ADBC for PostgreSQL")
    try:
        driver.connect(f"{URL}?connect_timeout=3").close()
    except driver.Error:
        pytest.skip("no PostgreSQL server answers: set MLEMBED_TEST_POSTGRES")
    return URL


def ask(statement: str, *parameters: Any) -> Any:
    """Return the first cell that *statement* gives, as the administrator."""
    driver = pytest.importorskip("adbc_driver_postgresql.dbapi")
    with contextlib.closing(driver.connect(URL)) as database, database.cursor() as cursor:
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
    host = URL.rpartition("@")[2].partition("/")[0]
    command = [sys.executable, "-c", _WIRE, *host.split(":"), str(n_bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()
