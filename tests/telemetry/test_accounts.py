"""What waits is bounded whoever predicts, and what is lost is counted whenever it is."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mlembed
from bundles import RECORD
from mlembed.errors import SchemaError
from mlembed.telemetry.recorder import recorder_for
from processes import run_script
from serving.logs import events, read_lines
from telemetry.entries import LEAST_ROOM
from tensorgraphs import pixels_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings


def test_bad_records_between_good_ones_take_no_room(
    small: mlembed.Model, stuck: Callable[[], bytes]
) -> None:
    """A record that does not fit costs neither the buffers of its thread nor a new block."""
    recorder = recorder_for(small.settings)
    small.predict(RECORD)
    assert not small.flush(0.05)
    for _ in range(1_000):
        small.predict(RECORD)
        with pytest.raises(SchemaError):
            small.predict({})

    assert len(recorder._sinks) <= 1
    assert sum(block.n_bytes for block in recorder.blocks) <= LEAST_ROOM
    written = len(read_lines(stuck()))
    assert written + sum(small.lost.values()) == 2_001


def test_a_thread_a_request_takes_no_more_than_the_room(
    small: mlembed.Model, stuck: Callable[[], bytes]
) -> None:
    """Blocks that their threads left wait as others do, and sinks they left are let go of."""
    recorder = recorder_for(small.settings)
    small.predict(RECORD)
    assert not small.flush(0.05)
    for _ in range(600):
        thread = threading.Thread(target=small.predict, args=(RECORD,))
        thread.start()
        thread.join()

    assert sum(block.n_bytes for block in recorder.blocks) <= LEAST_ROOM * 1.02
    assert len(recorder._sinks) < 200
    lost = sum(small.lost.values())
    assert lost > 300
    assert len(read_lines(stuck())) + lost == 601


def test_a_batch_that_waits_holds_no_outputs(settings: Settings) -> None:
    """What the graph gave is the caller's; the log needs shapes and scores alone."""
    registry = mlembed.testing.InMemoryRegistry()
    registry.publish(pixels_bundle())
    model = mlembed.load(
        "pixels", registry=registry, settings=dataclasses.replace(settings, flush_seconds=600)
    )
    recorder = recorder_for(model.settings)
    with recorder._writing:
        batch = model.predict_batch({"pixels": np.zeros((50, 2, 2), np.float32)})
        outputs = weakref.ref(next(iter(batch.outputs.values())))
        del batch
        gc.collect()
        assert outputs() is None
    assert model.flush()


def test_a_prediction_after_close_is_written(small: mlembed.Model) -> None:
    """Its thread's block had room, but nobody who would have looked at it."""
    small.predict(RECORD, key="before")
    small.close()
    small.predict(RECORD, key="after")
    recorder = recorder_for(small.settings)

    assert recorder._thread is not None
    small.close()
    keys = [event["mlembed.prediction.key"] for event in events(small.settings.log_dir)]
    assert sorted(keys) == ["after", "before"]


def test_a_prediction_at_the_very_end_is_written(registry: FileRegistry, tmp_path: Path) -> None:
    """By a handler of the host's that runs after the library's own."""
    run_script(
        """
        import atexit, pathlib, sys

        atexit.register(lambda: [model.predict(RECORD, key="last") for _ in range(3)])
        import mlembed
        from bundles import RECORD
        from mlembed.settings import Settings

        settings = Settings(log_dir=pathlib.Path(sys.argv[2]), flush_seconds=600)
        model = mlembed.load("toy", registry=sys.argv[1], settings=settings)
        model.predict(RECORD, key="first")
        """,
        registry.root,
        tmp_path / "log",
    )

    keys = [event["mlembed.prediction.key"] for event in events(tmp_path / "log")]
    assert sorted(keys) == ["first", "last", "last", "last"]


def test_a_signal_amid_the_first_prediction_may_predict(
    registry: FileRegistry, tmp_path: Path
) -> None:
    """While its thread starts the writer's; there is one writer, and nothing is lost."""
    run_script(
        """
        import pathlib, signal, sys, threading
        import mlembed
        from bundles import RECORD
        from mlembed.settings import Settings
        from mlembed.telemetry.recorder import recorder_for

        settings = Settings(log_dir=pathlib.Path(sys.argv[2]), flush_seconds=600)
        model = mlembed.load("toy", registry=sys.argv[1], settings=settings)
        model.version
        recorder = recorder_for(settings)
        look = recorder.bridge.look

        def interrupted():
            recorder.bridge.look = look
            signal.raise_signal(signal.SIGUSR1)
            look()

        signal.signal(signal.SIGUSR1, lambda *_: model.predict(RECORD))
        recorder.bridge.look = interrupted
        model.predict(RECORD)
        writers = [t for t in threading.enumerate() if t.name == "mlembed-writer"]
        assert len(writers) == 1, writers
        assert model.flush(20)
        assert model.lost == {}
        """,
        registry.root,
        tmp_path / "log",
    )

    assert len(events(tmp_path / "log")) == 2


def test_archive_gives_way_to_what_waits(model: mlembed.Model) -> None:
    """Files are compressed while little waits; whoever wants his records written is not held up."""
    model.predict(RECORD)
    assert model.flush(20)
    recorder = recorder_for(model.settings)
    worked: list[int] = []

    def tidy(_lose: object) -> bool:
        worked.append(0)
        time.sleep(0.001)
        return True

    recorder._store.tidy = tidy  # type: ignore[method-assign,assignment]  # much to compress
    for _ in range(3):
        model.predict(RECORD)
        assert model.flush(20)

    assert worked
    assert len(events(model.settings.log_dir)) == 4
