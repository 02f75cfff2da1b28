"""However a process ends, what it logged is whole, and what is lost is bounded and known."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from processes import run_script, start_script
from serving.logs import wait_until
from telemetry.entries import keys

if TYPE_CHECKING:
    from pathlib import Path

START = """
    import os, sys, threading, time
    from pathlib import Path
    from mlembed.settings import Settings
    from mlembed.telemetry.recorder import recorder_for
    from telemetry.entries import make_entry

    def fill(name, count):
        for number in range(count):
            recorder.append(make_entry(key=f"{name}-{number}"))

    settings = Settings(log_dir=Path(sys.argv[1]), flush_seconds=float(sys.argv[2]))
    recorder = recorder_for(settings)
"""


def numbered(name: str, count: int) -> list[str]:
    """Return the keys that `fill` gives."""
    return [f"{name}-{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("end", "returncode"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("raise RuntimeError('the host failed')", 1),
        ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
        ("threading.Thread(target=fill, args=('late', 5)).start()", 0),
    ],
)
def test_exit_writes_all_that_waits(tmp_path: Path, end: str, returncode: int) -> None:
    """A process that ends in its own way loses nothing, and its files get their names."""
    run_script(
        f"{START}\n    import signal\n    fill('x', 1000)\n    {end}\n",
        tmp_path,
        "600",
        returncode=returncode,
    )

    found = keys(tmp_path)
    assert [key for key in found if key.startswith("x-")] == numbered("x", 1_000)
    assert len(found) == 1_000 + 5 * end.startswith("threading")
    assert not list(tmp_path.rglob("*.open"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signal_loses_at_most_the_last_moment(tmp_path: Path, number: signal.Signals) -> None:
    """A killed process loses what came within its last pause; every older line is whole."""
    script = f"""{START}
    fill("old", 100)
    sys.stdin.readline()
    fill("new", 50)
    print("filled", flush=True)
    time.sleep(60)
    """
    with start_script(script, tmp_path, "0.05", measured=False) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        wait_until(lambda: len(keys(tmp_path)) == 100, "the write of what is older")
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(number)

    assert process.returncode == -number
    assert keys(tmp_path)[:100] == numbered("old", 100)
    assert len(list(tmp_path.rglob("*.jsonl.open"))) == 1


def test_forked_children_write_their_own(tmp_path: Path) -> None:
    """What waits in the parent is written once, and a child's predictions go to its own file."""
    script = f"""{START}
    fill("before", 1)
    assert recorder.flush()
    (open_file,) = settings.log_dir.rglob("*.open")
    fill("parent", 20)
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            assert open_file.exists()
            assert not recorder.dropped and recorder._thread is None
            fill(f"child{{number}}", 10)
            assert recorder.flush()
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    fill("after", 5)
    """

    run_script(script, tmp_path, "600")

    expected = numbered("before", 1) + numbered("parent", 20) + numbered("after", 5)
    for number in range(3):
        expected += numbered(f"child{number}", 10)
    assert sorted(keys(tmp_path)) == sorted(expected)
    assert len(list(tmp_path.rglob("*.jsonl*"))) == 4


def test_fork_amid_a_write(tmp_path: Path) -> None:
    """Forked while the writer writes, over and over, no line is torn, doubled or lost."""
    script = f"""{START}
    over = threading.Event()
    written = 0

    def keep_writing():
        global written
        while not over.is_set() or written < 400:
            recorder.append(make_entry(key=f"parent-{{written}}"))
            recorder.flush()
            written += 1

    thread = threading.Thread(target=keep_writing)
    thread.start()
    for number in range(25):
        child = os.fork()
        if child == 0:
            fill(f"child{{number}}", 1)
            os._exit(0 if recorder.flush(20) else 1)
        assert os.waitpid(child, 0)[1] == 0
    over.set()
    thread.join()
    print(written)
    """

    written = int(run_script(script, tmp_path, "600"))

    expected = numbered("parent", written) + [f"child{number}-0" for number in range(25)]
    assert sorted(keys(tmp_path)) == sorted(expected)


def test_host_exporter_that_hangs_does_not_hold_the_exit(tmp_path: Path) -> None:
    """A host whose exporter never returns still ends, and its local log is written."""
    script = f"""{START}
    from opentelemetry import _logs
    from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor

    class Hanging(LogRecordProcessor):
        def on_emit(self, log_record):
            print("hangs", flush=True)
            threading.Event().wait()
        def shutdown(self): pass
        def force_flush(self, timeout_millis=1): return True

    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(Hanging())
    _logs.set_logger_provider(provider)
    fill("x", 10)
    assert not recorder.flush(0.2)
    fill("later", 5000)
    print(len(recorder.queue) > 0)
    """

    assert run_script(script, tmp_path, "600").splitlines() == ["hangs", "True"]
    assert keys(tmp_path) == numbered("x", 10)


def test_exit_hands_all_to_the_host_before_it_shuts_down(tmp_path: Path) -> None:
    """What waits at exit reaches the host's own exporters too, however late these were set up."""
    script = f"""{START}
    from opentelemetry import _logs
    from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    fill("early", 1)
    recorder.flush()
    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(FileLogExporter(sys.argv[3])))
    _logs.set_logger_provider(provider)
    while not recorder.bridge.found:
        time.sleep(0.001)
    fill("x", 1000)
    """

    run_script(script, tmp_path / "log", "0.1", tmp_path / "host.jsonl")

    host = (tmp_path / "host.jsonl").read_text().splitlines()
    exported = [
        record
        for line in host
        for record in json.loads(line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    ]
    assert len(exported) == 1_000
    assert keys(tmp_path / "log") == numbered("early", 1) + numbered("x", 1_000)
