"""From ten million rows of Parquet to the matrix that an estimator is fitted on: memory and time."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_N_NUMBERS, _N_TEXTS = 14, 4
_CHUNK = 250_000
_MOST_GB = 8.0
_READ = f"""
import json, sys, time
from mlembed.columns import Category, Column
from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.cleaning import Cleaning
from mlembed.training.dataset import read
from mlembed.training.labels import Binary
from mlembed.training.matrix import encode_dataset, run_features
from mlembed.training.vocabulary import learn

def peak():
    status = open("/proc/self/status").read()  # a child of a large process inherits its ru_maxrss
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20

columns = tuple(
    [Column(name=f"x{{i:02d}}", kind="number", nullable=True) for i in range({_N_NUMBERS})]
    + [Column(name=f"c{{i}}", kind="category", rule=Category()) for i in range({_N_TEXTS})]
    + [Column(name="at", kind="timestamp")]
)
told = {{"start": peak()}}
start = time.perf_counter()
table = read(sys.argv[1], columns, Binary("y", positive=1), Cleaning(), extra=("at",))
told |= {{"read": peak(), "read_seconds": time.perf_counter() - start}}
columns = learn(columns, table)
x = encode_dataset("bench", columns, table)
graph = lowering.lower_features(columns, {{}}, tuple(column.name for column in columns))
features = run_features(Session(lowering.serialize(graph)), x)
told |= {{"matrix": peak(), "seconds": time.perf_counter() - start, "shape": features.shape}}
"""
_FIT = """
from sklearn.ensemble import HistGradientBoostingClassifier
HistGradientBoostingClassifier(max_iter=10, early_stopping=False).fit(features, table.y)
told |= {"fit": peak(), "fit_seconds": time.perf_counter() - start - told["seconds"]}
"""
_TELL = "print(json.dumps(told))\n"


def data(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Read, clean and encode a table in a process of its own, then fit on it."""
    n_rows = 1_000_000 if short else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        _write(path, n_rows)
        told = _run(_READ + _TELL, path)
        detail = (
            f"{told['shape'][0]:,} rows, {told['shape'][1]} features of 20 columns in "
            f"{told['seconds']:.0f} s; {told['read']:.2f} GB after {told['read_seconds']:.0f} s of "
            f"reading; {told['start']:.2f} GB before; file {path.stat().st_size / 2**30:.2f} GB"
        )
        what = f"data: {n_rows // 1_000_000} million rows to a matrix, peak memory"
        yield Finding(what, told["matrix"], _MOST_GB, "GB", detail)
        told = _run(_READ + _FIT + _TELL, path)
        detail = (
            f"10 rounds of boosting in {told['fit_seconds']:.0f} s; {told['matrix']:.2f} GB before"
        )
        yield Finding("data: the same, and a fit on it", told["fit"], unit="GB", detail=detail)


def _write(path: Path, n_rows: int) -> None:
    """Write made-up rows: numbers with gaps, texts of few and of many kinds, times and a label."""
    kinds = [pa.array([f"kind {i:05d}" for i in range(5 * 10**place)]) for place in range(_N_TEXTS)]
    start = int(dt.datetime(2024, 1, 1, tzinfo=dt.UTC).timestamp() * 1e6)
    random = np.random.default_rng(0)
    writer = None
    for first in range(0, n_rows, _CHUNK):
        numbers = random.normal(size=(_N_NUMBERS, _CHUNK))
        cells: dict[str, pa.Array] = {
            f"x{i:02d}": pa.array(values, mask=random.random(_CHUNK) < 0.01 * (i % 3))
            for i, values in enumerate(numbers)
        }
        for i, texts in enumerate(kinds):
            drawn = pa.array(random.integers(0, len(texts), _CHUNK).astype(np.int32))
            cells[f"c{i}"] = pa.DictionaryArray.from_arrays(drawn, texts).dictionary_decode()
        times = start + (np.arange(first, first + _CHUNK) * 1_000_000)
        cells["at"] = pa.array(times, pa.timestamp("us", "UTC"))
        cells["y"] = pa.array((numbers[0] + random.normal(size=_CHUNK) > 0).astype(np.int8))
        batch = pa.table(cells)
        writer = writer or pq.ParquetWriter(path, batch.schema)
        writer.write_table(batch)
    if writer is not None:
        writer.close()


def _run(script: str, path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))
