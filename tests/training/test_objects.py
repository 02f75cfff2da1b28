"""Objects come whole, to a private place, and leave nothing behind."""

from __future__ import annotations

import gzip
import http.server
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest

from mlembed.errors import DataError, MissingExtraError
from mlembed.training import sources
from mlembed.training.cleaning import Cleaning
from mlembed.training.tables import Table
from registry.buckets import ANYBODY, moto_server, use
from training.tables import AGE, FORMS, GOOD, read_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("obstore", reason="no obstore: pip install 'mlembed[s3]'")
CSV = b"age,paid\n1,yes\n2,no\n"
PAIR = [{**GOOD, "paid": "yes"}, {**GOOD, "paid": "no"}]


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where temporary files are made, and see that none is left."""
    folder = tmp_path / "room"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Return the URL of moto's server."""
    with moto_server() as url:
        yield url


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL at which an administrator reaches a new bucket."""
    use(monkeypatch, moto)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    url = f"{moto}/tables-{os.getpid()}"
    assert httpx.put(url, headers=ANYBODY).status_code == 200
    return url


def put(bucket: str, key: str, data: bytes) -> str:
    """Write an object and return its URL."""
    assert httpx.put(f"{bucket}/{key}", content=data, headers=ANYBODY).status_code == 200
    return f"s3://{bucket.rpartition('/')[2]}/{key}"


def test_table_reads_objects_of_every_kind(bucket: str, tmp_path: Path) -> None:
    """A key is read by what it holds, packed or not."""
    parquet = FORMS["parquet"](PAIR, tmp_path).read_bytes()
    lines = b'{"age": 1, "paid": "yes"}\n{"age": 2, "paid": "no"}\n'

    for key, data in {
        "a.csv": CSV,
        "a.csv.gz": gzip.compress(CSV),
        "a.parquet": parquet,
        "a.jsonl": lines,
        "odd name+1": CSV,
    }.items():
        assert len(read_table(put(bucket, key, data), AGE)) == 2


def test_table_reads_a_pattern_of_objects(bucket: str) -> None:
    """Parts come in the order of their names; a star stops at a slash."""
    for key in ("p/2.csv", "p/1.csv", "p/deep/3.csv", "q/p/4.csv", "p/5.txt"):
        url = put(bucket, key, CSV.replace(b"1", key[-5].encode()))
    url = url.replace("p/5.txt", "p/*.csv")

    assert read_table(Table(url), AGE).columns["age"].tolist() == [1.0, 2.0, 2.0, 2.0]
    with pytest.raises(DataError, match="no object fits s3://"):
        read_table(url.replace("*", "*x"), AGE)


def test_objects_lie_where_nobody_else_reads(bucket: str, room: Path) -> None:
    """The file is its owner's alone while the table is open, and then it is gone."""
    with sources.opened(put(bucket, "a.csv", CSV), Cleaning()):
        (path,) = (path for path in room.rglob("*") if path.is_file())
        modes = [item.stat().st_mode & 0o077 for item in (path, path.parent, path.parent.parent)]

    assert modes == [0, 0, 0]


def test_table_tells_that_an_object_is_not_there(bucket: str) -> None:
    """A key, a bucket and a URL without a key are told apart from a table."""
    url = put(bucket, "a.csv", CSV)
    for wrong in (url + "x", url.replace("tables", "nowhere")):
        with pytest.raises(DataError, match=r"s3://.* does not exist: check the name"):
            read_table(wrong, AGE)
    for owner in ("", "key:s3cret@"):
        with pytest.raises(DataError, match=r"^s3://bucket names no object"):
            read_table(f"s3://{owner}bucket", AGE)


class _Server(http.server.BaseHTTPRequestHandler):
    """A server of one object that it tells larger than it is, or never ends."""

    ends: ClassVar[bool] = True
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**9))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(CSV * 1_000_000)
        self.wfile.flush()
        time.sleep(0 if self.ends else 60)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of an object whose body ends early, or hangs."""
    handler = type("Server", (_Server,), {"ends": getattr(request, "param", True)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        use(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}")
        yield "s3://bucket/a.csv"
        server.shutdown()


def test_table_refuses_a_body_that_ends_early(short: str) -> None:
    """Half an object is no table."""
    with pytest.raises(DataError, match=r"s3://bucket/a\.csv cannot be read to its end"):
        read_table(short, AGE)


def test_table_tells_that_the_disk_is_full(bucket: str) -> None:
    """A disk without room is told with what came and what to do."""
    url = put(bucket, "large.csv", CSV * 1_000_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(DataError, match=r"on this disk \(.*\) after .* bytes: make room"):
            read_table(url, AGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("short", [False], indirect=True)
def test_table_leaves_no_file_when_it_is_interrupted(short: str, room: Path) -> None:
    """Ctrl-C while an object comes ends the run and leaves no file."""
    script = (
        "import sys\n"
        "from mlembed.training.cleaning import Cleaning\n"
        "from mlembed.training.sources import opened\n"
        "with opened(sys.argv[1], Cleaning()):\n"
        "    pass\n"
    )
    command = [sys.executable, "-c", script, short]

    with subprocess.Popen(
        command, env=os.environ | {"TMPDIR": str(room)}, stderr=subprocess.PIPE, text=True
    ) as process:
        end = time.monotonic() + 60
        while not any(path.stat().st_size for path in room.rglob("*.csv")):
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)

    assert told.splitlines()[-1].startswith("KeyboardInterrupt")


def test_table_hides_what_opens_an_url() -> None:
    """Neither the password of a URL nor its signature is shown."""
    url = "https://someone:s3cret@127.0.0.1:1/t.csv?signature=s3cret"

    with pytest.raises(DataError, match=r"https://127\.0\.0\.1:1/t\.csv cannot be read") as raised:
        read_table(Table(url), AGE)

    assert "s3cret" not in f"{raised.value} {raised.value.__cause__} {Table(url)!r}"


def test_table_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where obstore is not installed, the extra is named."""
    monkeypatch.setitem(sys.modules, "obstore.store", None)

    with pytest.raises(MissingExtraError, match=r"mlembed\[s3\]"):
        read_table("s3://bucket/key", AGE)
