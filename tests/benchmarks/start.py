"""A new process: import, load and first prediction, against the same by hand; and its memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlembed.bundle.golden import read_golden
from mlembed.bundle.manifest import MODEL
from mlembed.registry import open_registry

from . import scenes
from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLOCK = "import time; start = time.perf_counter()\n"
_TOLD = """
import json
seconds = time.perf_counter() - start
status = open("/proc/self/status").read()
resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
print(json.dumps([seconds, resident]))
"""
_MLEMBED = """
import mlembed
from mlembed.settings import Settings
model = mlembed.load(NAME, registry=REGISTRY, settings=Settings(log_dir=LOG))
model.predict(RECORD)
"""
_BY_HAND = """
import os
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
x = np.array([list(RECORD.values())], dtype=np.float64)
session.run(None, {session.get_inputs()[0].name: x})
"""


def start(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Start both kinds of process in turns."""
    bundle = scenes.bundle("trees")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        registry = open_registry(f"file://{root}/registry")
        registry.publish(bundle)
        registry.promote(bundle.manifest.name, "champion", bundle.manifest.version, reason="bench")
        (root / "model.onnx").write_bytes(bundle.files[MODEL])
        names = {
            "NAME": bundle.manifest.name,
            "REGISTRY": f"file://{root}/registry",
            "LOG": f"{root}/log",
            "MODEL": f"{root}/model.onnx",
            "RECORD": dict(read_golden(bundle).records[0]),
        }
        given = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        kinds = {"mlembed": _CLOCK + given + _MLEMBED + _TOLD}
        kinds["by hand"] = _CLOCK + given + _BY_HAND + _TOLD
        for script in kinds.values():
            _run(script)  # leaves compiled modules, as an installed package has them
        told: dict[str, list[Any]] = {kind: [] for kind in kinds}
        for _ in range(1 if short else 15):
            for kind, script in kinds.items():
                told[kind].append(_run(script))
    seconds, resident = (
        {kind: statistics.median(run[i] for run in runs) for kind, runs in told.items()}
        for i in range(2)
    )
    ratio = seconds["mlembed"] / seconds["by hand"]
    detail = f"{seconds['mlembed'] * 1000:.0f} / {seconds['by hand'] * 1000:.0f} ms"
    yield Finding("start: import, load, first prediction", ratio, 1.5, detail=detail)
    above = resident["mlembed"] - resident["by hand"]
    detail = f"{resident['mlembed']:.0f} - {resident['by hand']:.0f} MB"
    yield Finding("start: memory above that by hand", above, 25, "MB", detail)


def _run(script: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        },
    )
    return json.loads(done.stdout)
