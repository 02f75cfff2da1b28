"""`predict` while its log is in trouble, against `predict` while all is well.

Each scene is a process of its own; they take turns in short blocks, a few thousand calls a second.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any

from mlembed.bundle.golden import read_golden
from mlembed.registry import open_registry

from . import scenes
from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCENE = """
import json, pathlib, resource, sys, time, threading
import mlembed
from mlembed.settings import Settings

scene, registry, name, record, folder, address = json.loads(sys.argv[1])
root = pathlib.Path(folder)
root.mkdir()
queue_bytes = 32 * 1024 * 1024
if scene == "full disk":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
if scene == "unwritable":
    (root / "log").write_text("a file where the directory should be")
if scene == "stuck exporter":
    queue_bytes = 1024 * 1024
if "collector" in scene or scene == "stuck exporter":
    import httpx
    from opentelemetry import _logs
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import (
        BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult, SimpleLogRecordProcessor,
    )

    class Exporter(LogRecordExporter):
        def export(self, batch):
            httpx.post(address, content=b"x" * 500 * len(batch), timeout=None)
            return LogRecordExportResult.SUCCESS

        def shutdown(self):
            pass

        def force_flush(self, timeout_millis=0):
            return True

    provider = LoggerProvider(shutdown_on_exit=False)
    kind = SimpleLogRecordProcessor if scene == "stuck exporter" else BatchLogRecordProcessor
    provider.add_log_record_processor(kind(Exporter()))
    _logs.set_logger_provider(provider)

settings = Settings(log_dir=root / "log", queue_bytes=queue_bytes)
model = mlembed.load(name, registry=registry, settings=settings)
for _ in range(20_000 if scene == "stuck exporter" else 2_000):
    model.predict(record)
clock = time.perf_counter_ns
for line in sys.stdin:
    times = []
    for _ in range(int(line)):
        start = clock()
        model.predict(record)
        times.append(clock() - start)
    print(json.dumps([times, model.lost]), flush=True)
import os
os._exit(0)
"""


def trouble(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Let a disk fill up, a directory be unwritable, a collector and an exporter hang."""
    bundle = scenes.bundle("trees")
    with tempfile.TemporaryDirectory() as folder, _collectors() as (good, hanging):
        registry = open_registry(f"file://{folder}/registry")
        registry.publish(bundle)
        registry.promote(bundle.manifest.name, "champion", bundle.manifest.version, reason="bench")
        record = dict(read_golden(bundle).records[0])
        given = (f"file://{folder}/registry", bundle.manifest.name, record)
        addresses = {
            "normal": "",
            "full disk": "",
            "unwritable": "",
            "stuck exporter": hanging,
            "good collector": good,
            "hanging collector": hanging,
        }
        with contextlib.ExitStack() as stack:
            hosts = {
                scene: stack.enter_context(_host((scene, *given, f"{folder}/{n}", address)))
                for n, (scene, address) in enumerate(addresses.items())
            }
            times, lost = _in_turns(hosts, 2 if short else 150)
    medians = {scene: statistics.median(values) / 1000 for scene, values in times.items()}
    for scene in addresses:
        usual = "good collector" if "collector" in scene else "normal"
        if scene != usual:
            ratio = medians[scene] / medians[usual]
            detail = f"{medians[scene]:.1f} / {medians[usual]:.1f} us; lost {lost[scene]}"
            yield Finding(f"trouble: {scene} / {usual}", ratio, 1.1, detail=detail)


def _in_turns(
    hosts: dict[str, subprocess.Popen[str]], rounds: int
) -> tuple[dict[str, list[int]], dict[str, Any]]:
    times: dict[str, list[int]] = {scene: [] for scene in hosts}
    lost: dict[str, Any] = {}
    for _ in range(rounds):
        for scene, host in hosts.items():
            if host.stdin is None or host.stdout is None:
                raise RuntimeError(scene)
            host.stdin.write("100\n")
            host.stdin.flush()
            some, lost[scene] = json.loads(host.stdout.readline())
            times[scene] += some
    return times, lost


@contextlib.contextmanager
def _host(given: tuple[Any, ...]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _SCENE, json.dumps(given)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as host:
        try:
            yield host
        finally:
            host.kill()


@contextlib.contextmanager
def _collectors() -> Iterator[tuple[str, str]]:
    """Yield the addresses of a server that answers and of one that never does."""
    over = threading.Event()

    class Good(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Hanging(Good):
        def do_POST(self) -> None:
            over.wait()

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (Good, Hanging)]
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        first, second = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
        yield first, second
    finally:
        over.set()
        for server in servers:
            server.shutdown()
            server.server_close()
