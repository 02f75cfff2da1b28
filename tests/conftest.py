"""What every test may ask for, and the promise that none leaves a thread behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from bundles import toy_bundle
from mlembed.registry.file import FileRegistry
from mlembed.serving import handle, pool
from mlembed.settings import Settings
from mlembed.telemetry import recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

_END_SECONDS = 20.0
_DATA = Path(os.environ.get("MLEMBED_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))

# A slow machine is no fault of the code: the time an example takes is never a failure. And a suite
# that was green is red for a change, not for an example drawn by chance; a search is for those.
_ANY_TIME = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("mlembed", _ANY_TIME, derandomize=True)
hypothesis.settings.register_profile("search", _ANY_TIME, max_examples=1000)
hypothesis.settings.load_profile("mlembed")

# Whoever begins a run with a shell's `&` has it ignore interrupts, and so every process it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The longest first, so that no process is left with one of them at the end.
_LONG = ("test_examples.py", "test_fuzz.py", "test_benchmarks.py", "test_train_crash.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: item.path.name not in _LONG)


@pytest.fixture(autouse=True)
def no_thread_leaks() -> Iterator[None]:
    """Close what a test left open, and fail it if a thread of mlembed outlives that."""
    yield
    for live in list(handle._handles):
        live.close()
    pool.close()
    writers = list(recorder._recorders.values())
    recorder._recorders.clear()
    for writer in writers:
        writer.close()
    deadline = time.monotonic() + _END_SECONDS
    for thread in _ours():
        thread.join(max(0.0, deadline - time.monotonic()))
    for writer in writers:  # the first close gives up after two seconds, its thread goes on
        writer.close()
    assert not _ours(), "a thread of mlembed outlives its close()"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings with a log of the test's own and no looks at the registry."""
    return Settings(log_dir=tmp_path / "log", poll_seconds=0)


@pytest.fixture
def registry(tmp_path: Path) -> FileRegistry:
    """Return a registry with the toy model as champion."""
    source = FileRegistry(tmp_path / "registry")
    source.publish(toy_bundle())
    source.promote("toy", "champion", "1.0.0")
    return source


@pytest.fixture
def data_folder() -> Path:
    """Return the folder that holds adult/adult.data; skip where this machine has none."""
    if not (_DATA / "adult" / "adult.data").is_file():
        pytest.skip(f"no adult/adult.data in {_DATA}: set MLEMBED_TEST_DATA to the folder above it")
    return _DATA


def _ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("mlembed-")]
