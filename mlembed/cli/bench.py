"""`mlembed bench`: what a logged prediction costs on this machine, against the bare runtime."""

from __future__ import annotations

import dataclasses
import datetime as dt
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from mlembed.bundle.golden import read_golden
from mlembed.bundle.manifest import MODEL
from mlembed.cli import timing
from mlembed.cli.inspect import find_bundle
from mlembed.cli.options import JsonOption, RegistryOption, quiet_settings
from mlembed.cli.output import say, show_json, show_table
from mlembed.serving.encoder import Encoder
from mlembed.serving.model import load
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns
from mlembed.testing import InMemoryRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlembed.bundle.bundle import Bundle
    from mlembed.serving.model import Model

THREADS = 4
_FLUSH_SECONDS = 30.0
_RUN, _UNLOGGED, _LOGGED = "session.run", "predict, log off", "predict, log on"


def bench(
    ref: Annotated[str, typer.Argument(help="name@alias, name@version or a bundle directory.")],
    calls: Annotated[int, typer.Option(help="Calls of each kind.", min=100)] = 20_000,
    rows: Annotated[int, typer.Option(help="Rows of the batch; 0 for none.", min=0)] = 100_000,
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Time `predict` and a bare `InferenceSession.run` in turns, on the same graph.

    The bare run gets a ready array, its answer is thrown away, and its session has the options of
    the served one. Every prediction is logged, into a directory that is removed afterwards.
    """
    bundle = find_bundle(ref, registry)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(bundle, Path(folder), calls, rows)
    if as_json:
        show_json(result)
    else:
        _show(result)


def measure(bundle: Bundle, log_dir: Path, calls: int, rows: int) -> dict[str, Any]:
    """Time calls on the bundle's first golden row; times are microseconds a prediction."""
    quiet, source = quiet_settings(""), InMemoryRegistry()
    source.publish(bundle)
    name = bundle.manifest.name
    logging = dataclasses.replace(quiet, log=True, log_dir=log_dir)
    logged = load(name, registry=source, settings=logging)
    unlogged = load(name, registry=source, settings=quiet)
    try:
        return {
            "model": bundle.manifest.title,
            "calls": calls,
            "threads": THREADS,
            **_calls(bundle, logged, unlogged, calls),
            **_log(logged, log_dir),
            **(_batch(bundle, logged, unlogged, rows) if rows else {}),
        }
    finally:
        logged.close()
        unlogged.close()


def _calls(bundle: Bundle, logged: Model, unlogged: Model, calls: int) -> dict[str, Any]:
    """Time single calls: by the clock, by the process's CPU, and of several threads at once."""
    record = as_hosts_give_it(bundle, read_golden(bundle).records[0])
    encoder = Encoder(bundle.manifest.title, bundle.manifest.columns)
    x, _ = encode_columns(encoder, {name: [value] for name, value in record.items()})
    kinds: dict[str, Callable[[], object]] = {
        "session_run": Session(bundle.files[MODEL]).bare_run(np.ascontiguousarray(x)),
        "unlogged": lambda: unlogged.predict(record),
        "predict": lambda: logged.predict(record),
    }

    def settle() -> bool:
        return logged.flush(_FLUSH_SECONDS)

    times = timing.single(kinds, calls)
    settle()
    of_cpu = timing.cpu(kinds, max(100, calls // 4), settle=settle)
    at_once = timing.threaded(kinds, max(100, calls // 8), THREADS, settle=settle)
    settle()
    result: dict[str, Any] = {}
    for suffix, share in (("", 0.5), ("_p99", 0.99)):
        found = {name: timing.quantile(values, share) for name, values in times.items()}
        result |= _told(found, f"{suffix}_us", f"ratio{suffix}")
    result |= _told(of_cpu, "_cpu_us", "ratio_cpu")
    return result | _told(at_once, "_threads_us", "ratio_threads")


def _told(found: Mapping[str, float], suffix: str, ratio: str) -> dict[str, float]:
    named = {f"{name}{suffix}": value for name, value in found.items()}
    return named | {ratio: found["predict"] / found["session_run"]}


def _log(logged: Model, log_dir: Path) -> dict[str, Any]:
    """Count the bytes of the log and what was lost of it."""
    logged.flush(_FLUSH_SECONDS)
    data = b"".join(path.read_bytes() for path in log_dir.rglob("*.jsonl.open"))
    n = max(1, data.count(b'"eventName":"mlembed.prediction"'))
    return {
        "log_bytes": len(data) / n,
        "log_bytes_gzip": len(zlib.compress(data, 1)) / n,
        "lost": logged.lost,
    }


def _batch(bundle: Bundle, logged: Model, unlogged: Model, rows: int) -> dict[str, Any]:
    """Time a table of the golden rows, over and over, against the graph on the ready matrix."""
    encoder = Encoder(bundle.manifest.title, bundle.manifest.columns)
    golden = [as_hosts_give_it(bundle, record) for record in read_golden(bundle).records]
    repeated = [golden[row % len(golden)] for row in range(rows)]
    x, _ = encode_columns(encoder, {n: [r[n] for r in repeated] for n in encoder.names})
    columns: dict[str, Any] = {
        column.name: np.array([record[column.name] for record in repeated], dtype=object)
        if column.kind == "category"
        else np.ascontiguousarray(x[:, i])
        for i, column in enumerate(bundle.manifest.columns)
    }
    session = Session(bundle.files[MODEL])
    seconds = timing.whole(
        {
            "session_run": session.bare_run(x),
            "unlogged": lambda: unlogged.predict_batch(columns),
            "predict": lambda: logged.predict_batch(columns),
        },
        5,
        settle=lambda: logged.flush(_FLUSH_SECONDS),
    )
    told = {f"{name}_rows_per_second": rows / value for name, value in seconds.items()}
    return {"rows": rows, **told, "ratio_batch": seconds["predict"] / seconds["session_run"]}


def as_hosts_give_it(bundle: Bundle, golden: Mapping[str, Any]) -> dict[str, Any]:
    """Return a golden row, which is JSON, with the types of Python code."""
    record = dict(golden)
    for column in bundle.manifest.columns:
        value = record[column.name]
        if value is not None and column.kind == "timestamp":
            record[column.name] = dt.datetime.fromtimestamp(value, dt.UTC)
        elif value is not None and column.kind == "integer":
            record[column.name] = int(value)
    return record


def _show(result: Mapping[str, Any]) -> None:
    say(f"{result['model']}: {result['calls']:,} calls of each kind, in turns, in one process")
    lines = []
    for title, suffix, ratio in (
        ("median, µs", "_us", "ratio"),
        ("99th percentile, µs", "_p99_us", "ratio_p99"),
        ("CPU of the process, µs", "_cpu_us", "ratio_cpu"),
        (f"{result['threads']} threads at once, µs", "_threads_us", "ratio_threads"),
        (f"batch of {result.get('rows', 0):,}, rows/s", "_rows_per_second", "ratio_batch"),
    ):
        if ratio in result:
            kinds = (result[f"{name}{suffix}"] for name in ("session_run", "unlogged", "predict"))
            lines.append((title, *map(_figures, kinds), f"{result[ratio]:.2f}"))
    show_table(("a prediction", _RUN, _UNLOGGED, _LOGGED, "on / run"), lines)
    lost = sum(result["lost"].values())
    say(
        f"log: {result['log_bytes']:.0f} bytes a prediction, {result['log_bytes_gzip']:.0f} "
        f"compressed; {lost or 'none'} lost"
    )


def _figures(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"  # noqa: PLR2004
