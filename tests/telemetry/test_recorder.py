"""The recorder takes what it can keep, counts what it cannot, and never makes anyone wait."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mlembed
from bundles import RECORD
from mlembed.monitoring.log import read_log
from mlembed.telemetry import store
from mlembed.telemetry.intake import Lot
from mlembed.telemetry.recorder import Recorder, recorder_for
from serving.logs import attributes_of, read_lines, records, wait_until
from telemetry.entries import SOURCE, keys, make_entry, make_outcome, source_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings

ROOM = 65_536 // SOURCE.entry_bytes  # what a recorder with the least memory has room for
SURE = int(0.8 * ROOM)  # and what it takes unsampled


@pytest.fixture
def recorder(settings: Settings) -> Recorder:
    """Return a recorder with room for 64 records that writes when it is told to."""
    return recorder_for(dataclasses.replace(settings, queue_bytes=65_536, flush_seconds=600))


def fill(recorder: Recorder, count: int) -> None:
    """Append *count* predictions with their number as key."""
    for number in range(count):
        recorder.append(make_entry(key=str(number)))


def test_recorder_writes_in_the_order_of_calls(recorder: Recorder) -> None:
    """Predictions are written as they came, and outcomes beside them."""
    fill(recorder, 50)
    recorder.append_outcome(make_outcome())
    assert recorder.flush()

    assert keys(recorder.settings.log_dir)[:50] == [str(number) for number in range(50)]
    names = [record["eventName"] for record in records(recorder.settings.log_dir)]
    assert names == ["mlembed.prediction"] * 50 + ["mlembed.outcome"]
    assert not recorder.dropped


def test_recorder_starts_its_thread_with_the_first_record(recorder: Recorder) -> None:
    """A host that never predicts has no thread, and no file."""
    assert recorder._thread is None
    assert recorder.flush()
    assert not recorder.settings.log_dir.exists()

    recorder.append(make_entry())

    assert recorder._thread is not None
    assert recorder._thread.daemon


def test_recorder_writes_within_its_pause(settings: Settings) -> None:
    """What waits is written after `flush_seconds`, without being asked."""
    recorder = recorder_for(dataclasses.replace(settings, flush_seconds=0.05))
    fill(recorder, 3)

    wait_until(lambda: len(keys(settings.log_dir)) == 3, "the write")


def test_flush_waits_for_all_before_it(settings: Settings) -> None:
    """After a flush everything that was appended before it is in the log, from any thread."""
    recorder = recorder_for(dataclasses.replace(settings, flush_seconds=600))

    def append_and_flush(name: str) -> None:
        for number in range(200):
            recorder.append(make_entry(key=f"{name}-{number}"))
        assert recorder.flush(20)
        assert sum(key.startswith(f"{name}-") for key in keys(settings.log_dir)) == 200

    failures: list[Any] = []
    threads = [
        threading.Thread(target=_catch, args=(append_and_flush, name, failures)) for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    assert len(keys(settings.log_dir)) == 800


def _catch(function: Callable[[str], None], name: str, failures: list[Any]) -> None:
    try:
        function(name)
    except BaseException as error:  # noqa: BLE001  told by the test's own thread
        failures.append(error)


def test_flush_of_nothing_returns_at_once(recorder: Recorder) -> None:
    """Nothing to write is written."""
    assert recorder.flush(0.0)


def test_append_samples_and_counts_what_does_not_fit(recorder: Recorder) -> None:
    """From 80 % of its room a known share is kept, at the end nothing, and each loss is counted."""
    with recorder._writing:  # nothing is taken out meanwhile
        fill(recorder, 1_000)
        dropped = dict(recorder.dropped)
    assert recorder.flush()

    found = records(recorder.settings.log_dir)
    rates = [attributes_of(record).get("mlembed.sampling.rate", 1.0) for record in found]
    assert len(found) <= ROOM
    assert keys(recorder.settings.log_dir)[:SURE] == [str(number) for number in range(SURE)]
    assert rates[:SURE] == [1.0] * SURE
    assert set(rates[SURE + 1 :]) <= {0.5, 0.25, 0.125, 0.0625}
    assert dropped.keys() == {"sampled", "queue_full"}
    assert len(found) + sum(dropped.values()) == 1_000

    recorder.append(make_entry(key="later"))
    assert recorder.flush()
    assert keys(recorder.settings.log_dir)[-1] == "later"


def test_sampling_is_unbiased(settings: Settings) -> None:
    """Each kept prediction stands for 1 / rate, so counts and shares stay what they were."""
    recorder = recorder_for(
        dataclasses.replace(settings, queue_bytes=2**23, flush_seconds=600, log_features=False)
    )
    with recorder._writing:  # nothing is taken out meanwhile
        for number in range(30_000):
            recorder.append(make_entry(score=float(number % 2)))
    assert recorder.dropped.keys() == {"sampled"}
    assert recorder.flush(20)

    found = [attributes_of(record) for record in records(settings.log_dir)]
    weights = [1 / item.get("mlembed.sampling.rate", 1.0) for item in found]
    odd = [w * item["mlembed.prediction.score"] for w, item in zip(weights, found, strict=True)]
    assert len(found) < 20_000
    assert sum(weights) == pytest.approx(30_000, rel=0.05)
    assert sum(odd) == pytest.approx(15_000, rel=0.05)


def test_errors_are_kept_where_predictions_are_sampled(recorder: Recorder) -> None:
    """What failed is kept as long as there is room at all."""
    fill(recorder, SURE + 2)
    for number in range(5):
        recorder.append(make_entry(None, key=f"e{number}", reason="error", error="SchemaError"))
    assert recorder.flush()

    assert keys(recorder.settings.log_dir)[-5:] == [f"e{number}" for number in range(5)]


def test_append_counts_exactly_from_many_threads(recorder: Recorder) -> None:
    """However many threads drop at once, kept and dropped are all there were."""
    threads = [threading.Thread(target=fill, args=(recorder, 2_000)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.flush(20)

    kept = len(keys(recorder.settings.log_dir))
    assert kept + sum(recorder.dropped.values()) == 16_000
    assert kept >= SURE


def test_append_batch_counts_rows_with_their_size(recorder: Recorder) -> None:
    """Batches take no more memory than allowed, and room comes back when they are written."""
    entry = make_entry(np.zeros((256, 5)), score=np.zeros(256))
    fitting = 65_536 // (256 * 6 * 8 + SOURCE.entry_bytes)
    for _ in range(2):
        recorder.append_batch(Lot(iter([entry] * (fitting + 4)), 65_536))
        assert recorder.flush()

    kept = len(records(recorder.settings.log_dir))
    assert fitting * 0.8 * 2 <= kept <= fitting * 2
    assert kept + sum(recorder.dropped.values()) == 2 * (fitting + 4)


def test_append_never_waits_for_a_stuck_disk(
    recorder: Recorder, stuck: Callable[[], bytes]
) -> None:
    """A disk that takes no byte costs records, counted, but no caller's time."""
    recorder.append(make_entry(key="first"))
    assert not recorder.flush(0.01)
    wait_until(lambda: not recorder.queue, "the write that blocks")

    start = time.perf_counter()
    fill(recorder, 1_000)
    assert not recorder.flush(0.05)
    assert time.perf_counter() - start < 5

    dropped = sum(recorder.dropped.values())
    assert SURE <= 1_000 - dropped <= ROOM
    assert len(read_lines(stuck())) == 1_001 - dropped


def test_recorder_without_a_writable_directory(
    settings: Settings, registry: FileRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Predictions go on, every loss is counted, and the host is told once."""
    settings.log_dir.write_text("a file stands where the directory should")
    model = mlembed.load("toy", registry=registry, settings=settings)
    recorder = recorder_for(settings)
    with caplog.at_level(logging.WARNING, "mlembed"):
        for _ in range(3):
            assert model.predict(RECORD).reason == "ok"
            assert model.flush()

    assert recorder.dropped == {"store_FileExistsError": 3}
    (warning,) = caplog.records
    assert "cannot write its prediction log in" in warning.getMessage()
    assert str(settings.log_dir) in warning.getMessage()


def test_recorder_recovers_when_the_directory_does(recorder: Recorder) -> None:
    """The disk may come back; what comes after that is kept."""
    folder = recorder.settings.log_dir
    folder.write_text("")
    recorder.append(make_entry(key="lost"))
    assert recorder.flush()
    folder.unlink()

    recorder.append(make_entry(key="kept"))
    assert recorder.flush()

    assert keys(folder) == ["kept"]


def test_one_bad_record_spoils_no_other(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A record that cannot be written is lost alone, and no message shows what was in it."""

    class Hostile:
        """A key that cannot be written."""

        def __str__(self) -> str:
            raise RuntimeError("secret")

    recorder.append(make_entry(key="before"))
    recorder.append(make_entry(key=Hostile()))
    recorder.append(make_entry((1.0, 2.0)))
    recorder.append(make_entry(key="after"))
    assert recorder.flush()

    assert keys(recorder.settings.log_dir) == ["before", "after"]
    assert sum(recorder.dropped.values()) == 2
    assert "secret" not in caplog.text
    assert recorder._thread is not None
    assert recorder._thread.is_alive()


def test_close_gives_files_their_names_and_append_begins_anew(recorder: Recorder) -> None:
    """A closed recorder has no thread and no open file; another prediction starts both again."""
    for name in ("one", "two"):
        recorder.append(make_entry(key=name))
        recorder.close()

        assert recorder._thread is None
        assert not list(recorder.settings.log_dir.rglob("*.open"))
    assert sorted(keys(recorder.settings.log_dir)) == ["one", "two"]


def test_recorder_for_shares_and_parts(settings: Settings) -> None:
    """Models that log alike share a recorder; those that export otherwise do not."""
    poll = dataclasses.replace(settings, poll_seconds=5, registry="elsewhere")
    export = dataclasses.replace(settings, export_features=True)

    assert recorder_for(settings) is recorder_for(poll)
    assert recorder_for(settings) is not recorder_for(export)
    for alike in (settings, export):
        recorder_for(alike).append(make_entry(source=source_of(name="toy")))
        assert recorder_for(alike).flush()
    assert len(records(settings.log_dir)) == 2


def test_append_survives_a_process_out_of_threads(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can be had, a prediction is kept until the next flush."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        recorder.append(make_entry(key="kept"))
        assert recorder.flush()

    assert keys(recorder.settings.log_dir) == ["kept"]


def test_recorder_compresses_what_it_closed_and_keeps_the_cap(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that goes on predicting has one open file, compressed ones, and no more than allowed."""
    monkeypatch.setattr(store, "MAX_FILE_BYTES", 200_000)
    settings = dataclasses.replace(settings, flush_seconds=0.01, log_bytes=2**20)
    recorder = recorder_for(settings)
    written = 0
    while not recorder.dropped["disk_cap"]:
        fill(recorder, 400)
        assert recorder.flush(20)
        written += 400
        time.sleep(0.02)
        assert written < 100_000
    recorder.close()

    names = [path.name for path in settings.log_dir.rglob("*.jsonl*")]
    assert sum(name.endswith(".gz") for name in names) > len(names) / 2
    assert sum(path.stat().st_size for path in settings.log_dir.rglob("*.jsonl*")) < 2**20 + 500_000
    log = read_log(settings.log_dir, "toy")
    assert len(log) + sum(recorder.dropped.values()) == written
    assert log.torn == log.unreadable == 0


def test_writer_outlives_a_host_that_cannot_be_told(recorder: Recorder) -> None:
    """Logging raises where its stream is closed; the writer goes on, and the disk may come back."""

    class Closed(logging.Handler):
        """A handler of the host's that fails."""

        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError(record)

    folder, handler = recorder.settings.log_dir, Closed()
    logging.getLogger("mlembed").addHandler(handler)
    try:
        folder.write_text("")
        recorder.append(make_entry(key="lost"))
        assert recorder.flush()
        assert recorder._thread is not None
        assert recorder._thread.is_alive()
        folder.unlink()
        recorder.append(make_entry(key="kept"))
        assert recorder.flush()
    finally:
        logging.getLogger("mlembed").removeHandler(handler)

    assert recorder.dropped == {"store_FileExistsError": 1}
    assert keys(folder) == ["kept"]


def test_drain_ends_though_others_go_on(recorder: Recorder) -> None:
    """Who closes a recorder that threads keep filling does so within its time."""
    over = threading.Event()

    def append() -> None:
        while not over.is_set():
            recorder.queue.append(make_entry())

    threads = [threading.Thread(target=append) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(recorder.queue) > 10_000, "a long queue")

    drained = recorder._drain(0.0)

    over.set()
    for thread in threads:
        thread.join()
    assert not drained
    assert recorder.queue
