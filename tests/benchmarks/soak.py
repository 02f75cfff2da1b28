"""Memory over two million predictions and a hundred swaps, the log rotated and capped meanwhile.

The process that is measured does nothing else, so no memory that it had before hides a growth.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from mlembed.bundle.bundle import pack
from mlembed.bundle.golden import read_golden
from mlembed.registry import open_registry

from . import scenes
from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOAK = """
import gc, json, pathlib, sys, time
import mlembed
from mlembed.settings import Settings

registry, name, record, folder, n_swaps, n_calls = json.loads(sys.argv[1])
settings = Settings(log_dir=pathlib.Path(folder), log_bytes=256 * 1024 * 1024, poll_seconds=0)
model = mlembed.load(name, registry=registry, settings=settings)
registry = mlembed.registry.open_registry(registry)

def resident():
    assert model.flush(60)
    gc.collect()
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024

warm_up = n_swaps // 5
start = time.monotonic()
for turn in range(warm_up + n_swaps):
    if turn == warm_up:
        before = resident()
    for _ in range(n_calls):
        model.predict(record)
    registry.promote(name, "champion", ("2.0.0", "1.0.0")[turn % 2], reason="soak")
    assert model.refresh()
print(json.dumps([before, resident(), time.monotonic() - start, model.lost]))
model.close()
"""


def soak(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Predict and swap; the growth counts from where a fifth of as much has been done before."""
    n_swaps, n_calls = (10, 1_000) if short else (100, 20_000)
    first = scenes.bundle("trees")
    name = first.manifest.name
    with tempfile.TemporaryDirectory() as folder:
        address = f"file://{folder}/registry"
        registry = open_registry(address)
        for version in ("1.0.0", "2.0.0"):
            manifest = dataclasses.replace(first.manifest, version=version)
            registry.publish(pack(manifest, first.files))
        registry.promote(name, "champion", "1.0.0", reason="soak")
        record = dict(read_golden(first).records[0])
        given = [address, name, record, f"{folder}/log", n_swaps, n_calls]
        done = subprocess.run(
            [sys.executable, "-c", _SOAK, json.dumps(given)],
            check=True,
            stdout=subprocess.PIPE,
            timeout=3600,
        )
    before, after, seconds, lost = json.loads(done.stdout)
    lost.pop("disk_cap", None)  # the oldest of the log, as it was told
    detail = f"{before:.0f} to {after:.0f} MB in {seconds:.0f} s; lost {lost}"
    what = f"soak: growth over {n_swaps * n_calls:,} predictions, {n_swaps} swaps"
    yield Finding(what, after - before, 5, "MB", detail)
