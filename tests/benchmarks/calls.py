"""`predict` against a bare `session.run`: the clock, the tail, the CPU, several threads, tables."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mlembed.bundle.manifest import MODEL
from mlembed.cli import bench, timing, trial
from mlembed.cli.options import quiet_settings
from mlembed.serving.encoder import Encoder
from mlembed.serving.model import load
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns
from mlembed.testing import InMemoryRegistry

from . import scenes
from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.bundle.bundle import Bundle

N_ROWS = 100_000
_FLUSH_SECONDS = 60.0


def calls(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Time single calls of three models."""
    n = 1_000 if short else 40_000
    for title, bundle, most in (
        ("logistic, 20 numbers", scenes.bundle("logistic"), 1.0),
        ("100 trees, 20 numbers", scenes.bundle("trees"), 1.0),
        ("100 trees, 6 numbers and 8 texts", scenes.census(), 1.1),
    ):
        with tempfile.TemporaryDirectory() as folder:
            told = bench.measure(bundle, Path(folder), n, 0)
        for name, ratio, suffix, asked in (
            ("median", "ratio", "_us", most),
            ("99th percentile", "ratio_p99", "_p99_us", 1.5 if "20 numbers" in title else None),
            ("CPU, writer included", "ratio_cpu", "_cpu_us", 1.6),
            ("4 threads", "ratio_threads", "_threads_us", 1.1),
        ):
            mine, bare = told[f"predict{suffix}"], told[f"session_run{suffix}"]
            detail = f"{mine:.1f} / {bare:.1f} us"
            yield Finding(f"predict: {title}: {name}", told[ratio], asked, detail=detail)
        lost = sum(told["lost"].values())
        yield Finding(f"predict: {title}: records lost", lost, 0, "records")
        packed = told["predict_cpu_us"] + told["log_gzip_cpu_us"]
        what = f"predict: {title}: CPU, with the gzip of closed files"
        yield Finding(what, packed / told["session_run_cpu_us"])
        yield _for_long(title, bundle, 1_000 if short else 60_000)


def _for_long(title: str, bundle: Bundle, n: int) -> Finding:
    """Let threads do nothing but predict for seconds, the writer beside them."""
    registry, quiet = InMemoryRegistry(), quiet_settings("")
    registry.publish(bundle)
    asked = trial.single(bundle)
    records = itertools.cycle(asked.question).__next__
    with tempfile.TemporaryDirectory() as folder:
        settings = dataclasses.replace(quiet, log=True, log_dir=Path(folder))
        model = load(bundle.manifest.name, registry=registry, settings=settings)
        kinds = {"run": asked.bare, "predict": lambda: model.predict(records())}
        times = timing.threaded(
            kinds, n, bench.THREADS, 3, settle=lambda: model.flush(_FLUSH_SECONDS)
        )
        lost = sum(model.lost.values()) / (3 * bench.THREADS * n)
        model.close()
    detail = f"{times['predict']:.1f} / {times['run']:.1f} us; {lost:.1%} of the records lost"
    what = f"predict: {title}: 4 threads, {bench.THREADS * n:,} calls on end"
    return Finding(what, times["predict"] / times["run"], detail=detail)


def batches(short: bool) -> Iterator[Finding]:  # noqa: FBT001  idem
    """Time tables of numbers, and tables with eight columns of texts."""
    n = 2_000 if short else N_ROWS
    for kind in ("logistic", "trees"):
        columns = scenes.table(n, seed=1)
        del columns["y"]
        yield _table(f"batch: {kind}, 20 numbers", scenes.bundle(kind), columns, 1.15)
        texts = scenes.table(n, scenes.N_CENSUS_NUMBERS, scenes.N_CENSUS_TEXTS, seed=1)
        del texts["y"]
        frame = pl.DataFrame(texts)
        bundle = scenes.bundle(kind, scenes.N_CENSUS_NUMBERS, scenes.N_CENSUS_TEXTS)
        yield _table(f"batch: {kind}, 8 texts, polars", bundle, frame, 2.0)
        yield _table(f"batch: {kind}, 8 texts, Arrow", bundle, frame.to_arrow(), 2.0)


def _table(title: str, bundle: Bundle, data: Any, most: float) -> Finding:
    registry, quiet = InMemoryRegistry(), quiet_settings("")
    registry.publish(bundle)
    x, _ = encode_columns(Encoder("", bundle.manifest.columns), data)
    with tempfile.TemporaryDirectory() as folder:
        settings = dataclasses.replace(quiet, log=True, log_dir=Path(folder))
        model = load(bundle.manifest.name, registry=registry, settings=settings)
        seconds = timing.whole(
            {
                "run": Session(bundle.files[MODEL]).bare_run(np.ascontiguousarray(x)),
                "predict": lambda: model.predict_batch(data),
            },
            9,
            settle=lambda: model.flush(_FLUSH_SECONDS),
        )
        model.close()
    detail = f"{seconds['predict'] * 1000:.1f} / {seconds['run'] * 1000:.1f} ms"
    return Finding(title, seconds["predict"] / seconds["run"], most, detail=detail)
