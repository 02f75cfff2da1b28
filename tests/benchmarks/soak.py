"""Memory over two million predictions and a hundred swaps, the log rotated and capped meanwhile."""

from __future__ import annotations

import dataclasses
import gc
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.bundle.bundle import pack
from mlembed.bundle.golden import read_golden
from mlembed.cli.options import quiet_settings
from mlembed.serving.model import load
from mlembed.testing import InMemoryRegistry

from . import scenes
from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG_BYTES = 256 * 1024 * 1024
_WARM_UP_SHARE = 5


def soak(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Predict and swap; the growth counts from where a fifth of as much has been done before."""
    n_swaps, n_calls = (10, 1_000) if short else (100, 20_000)
    first = scenes.bundle("trees")
    later = dataclasses.replace(first.manifest, version="2.0.0")
    versions = [first, pack(later, first.files)]
    record = read_golden(first).records[0]
    with tempfile.TemporaryDirectory() as folder:
        registry = InMemoryRegistry()
        registry.publish(first)
        settings = dataclasses.replace(
            quiet_settings(""), log=True, log_dir=Path(folder), log_bytes=_LOG_BYTES
        )
        model = load(first.manifest.name, registry=registry, settings=settings)
        before, begun = 0.0, time.monotonic()
        for turn in range(n_swaps // _WARM_UP_SHARE + n_swaps):
            if turn == n_swaps // _WARM_UP_SHARE:
                before = _resident(model.flush(60))
            for _ in range(n_calls):
                model.predict(record)
            registry.publish(versions[(turn + 1) % 2])
            if not model.refresh():
                raise RuntimeError("a swap failed")
        after = _resident(model.flush(60))
        lost = {reason: n for reason, n in model.lost.items() if reason != "disk_cap"}
        model.close()
    detail = f"{before:.0f} to {after:.0f} MB in {time.monotonic() - begun:.0f} s; lost {lost}"
    what = f"soak: growth over {n_swaps * n_calls:,} predictions, {n_swaps} swaps"
    yield Finding(what, after - before, 5, "MB", detail)


def _resident(_flushed: bool) -> float:  # noqa: FBT001  what waits takes memory, too
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
