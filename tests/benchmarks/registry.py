"""From a registry into service: a warm cache against a bare session, and the memory of a pull."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from mlembed.bundle.bundle import sha256
from mlembed.bundle.keys import Signer, new_key
from mlembed.bundle.manifest import MODEL
from mlembed.registry import open_source
from mlembed.registry.file import FileRegistry
from mlembed.registry.issue import Issuer
from mlembed.registry.pointer import Ref
from mlembed.serving.loading import Serving, serve
from mlembed.settings import Settings
from mlembed.training.tensor_packing import pack

from . import scenes
from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.bundle.bundle import Bundle

_ALLOWED_SECONDS = 0.005
_HOST = """
import json, sys
import mlembed
from mlembed.settings import Settings
import numpy as np
model = mlembed.load("large", settings=Settings(
    registry=sys.argv[1], cache=sys.argv[2], keys=(sys.argv[3],), log=False, poll_seconds=0,
    start_seconds=60,
))
model.predict({"x": np.array([7])})
"""
_BY_HAND = """
import json, sys
import numpy as np
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[4], options, providers=["CPUExecutionProvider"])
session.run(None, {"x": np.array([7])})
"""
_TOLD = """
status = open("/proc/self/status").read()  # a child of a large process inherits its ru_maxrss
print(json.dumps(int(status.split("VmHWM:")[1].split()[0]) / 1024))
"""


def registry(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Load from a warm cache, then pull a large model in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("logistic", "trees"):
            yield _warm(kind, scenes.bundle(kind), Path(folder) / kind, 3 if short else 60)
        large = _large(2_000_000 if short else 50_000_000)
        yield _warm("large", large, Path(folder) / "large", 1 if short else 7)
        yield _pull(large, Path(folder) / "pull", 1 if short else 3)


def _warm(kind: str, bundle: Bundle, folder: Path, n_rounds: int) -> Finding:
    """Time, in turns, a verified and proved version and a session made of the same file."""
    with _site(bundle, folder) as settings:
        ref = Ref(bundle.manifest.name)
        followed = open_source(settings.registry, settings)
        target = followed.resolve(ref)
        followed.fetch(target)
        (folder / "model.onnx").write_bytes(bundle.files[MODEL])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        ours, bare, hashed = [], [], []
        for _ in range(n_rounds + 1):
            start = time.perf_counter()
            served = serve(followed.fetch(target), Serving(settings))
            middle = time.perf_counter()
            session = ort.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            ours.append(middle - start)
            end = time.perf_counter()
            sha256(bundle.files[MODEL])
            bare.append(end - middle)
            hashed.append(time.perf_counter() - end)
            del served, session
    warm, by_path = statistics.median(ours[1:]), statistics.median(bare[1:])
    # Whoever verifies what the runtime gets cannot be faster than a session and a hash.
    hashing = statistics.median(hashed[1:])
    detail = (
        f"{warm * 1000:.1f} / {by_path * 1000:.1f} ms, 5 ms of which are free; a session and "
        f"sha256 alone: {(by_path + hashing) / by_path:.2f}"
    )
    ratio = max(0.0, warm - _ALLOWED_SECONDS) / by_path
    return Finding(f"registry: warm cache, signed, proved: {kind}", ratio, 1.3, detail=detail)


def _pull(bundle: Bundle, folder: Path, n_rounds: int) -> Finding:
    """Measure the peak of a process that pulls, and of one that opens the file."""
    with _site(bundle, folder) as settings:
        (folder / "model.onnx").write_bytes(bundle.files[MODEL])
        peaks: dict[str, list[float]] = {_HOST: [], _BY_HAND: []}
        for number in range(n_rounds):
            given = (
                *(settings.registry, str(folder / f"cold-{number}")),
                *(settings.keys[0], str(folder / "model.onnx")),
            )
            for script, found in peaks.items():
                found.append(_run(script + _TOLD, *given))
    pulled, by_hand = (statistics.median(found) for found in peaks.values())
    size = len(bundle.files[MODEL]) / 2**20
    detail = f"{pulled:.0f} - {by_hand:.0f} MB for a model of {size:.0f} MB"
    return Finding(
        "registry: cold pull, peak memory", (pulled - by_hand) / size, 1.2, detail=detail
    )


@contextlib.contextmanager
def _site(bundle: Bundle, folder: Path) -> Iterator[Settings]:
    """Serve a signed registry with *bundle* over loopback; yield the settings of its host."""
    private, public = new_key()
    folder.mkdir()
    (folder / "key.pub").write_bytes(public)
    store = FileRegistry(folder / "models")
    store.issuer = Issuer(signer=Signer.from_pem(private))
    store.publish(bundle)
    store.promote(bundle.manifest.name, "champion", bundle.manifest.version, "bench")
    handler = functools.partial(_Quiet, directory=str(folder / "models"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Settings(
            registry=f"http://127.0.0.1:{server.server_address[1]}",
            cache=folder / "cache",
            keys=(str(folder / "key.pub"),),
            log=False,
            poll_seconds=0,
        )
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _large(n_weights: int) -> Bundle:
    """Return a bundle of a table with so many single-precision weights: one row is looked up."""
    weights = np.random.default_rng(0).standard_normal((n_weights // 8, 8), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["weights", "x"], ["row"]),
            helper.make_node("ReduceMean", ["row"], ["y"], keepdims=1),
        ],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    examples = [{"x": [7]}]
    return pack(
        model.SerializeToString(), name="large", version="1.0.0", score="y", examples=examples
    )


def _run(script: str, *arguments: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return float(json.loads(done.stdout))
