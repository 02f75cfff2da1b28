"""`mlembed bench`: what a logged prediction costs on this machine, against the bare runtime."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlembed.cli import timing, trial
from mlembed.cli.inspect import find_bundle
from mlembed.cli.options import JsonOption, RegistryOption, quiet_settings
from mlembed.cli.output import say, show_json, show_table
from mlembed.serving.model import load
from mlembed.testing import InMemoryRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlembed.bundle.bundle import Bundle
    from mlembed.serving.model import Model

THREADS = 4
_FLUSH_SECONDS = 30.0
_LEAST_CALLS = 100
_CALLS_SECONDS, _ROWS_SECONDS = 2.0, 10.0
_RUN, _UNLOGGED, _LOGGED = "session.run", "predict, log off", "predict, log on"


def bench(
    ref: Annotated[str, typer.Argument(help="name@alias, name@version or a bundle directory.")],
    calls: Annotated[int, typer.Option(help="Calls of each kind.", min=_LEAST_CALLS)] = 20_000,
    rows: Annotated[int, typer.Option(help="Rows of the batch; 0 for none.", min=0)] = 100_000,
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Time `predict` and a bare `InferenceSession.run` in turns, on the same graph.

    The bare run gets a ready array, or ready tensors; its answer is thrown away, and its session
    has the options of the served one. Every prediction is logged, into a directory that is removed
    afterwards. A slow model gets fewer calls and rows, so that it takes a minute or two at most.
    """
    bundle = find_bundle(ref, registry)
    calls, rows = _affordable(bundle, calls, rows)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(bundle, Path(folder), calls, rows)
    if as_json:
        show_json(result)
    else:
        _show(result)


def _affordable(bundle: Bundle, calls: int, rows: int) -> tuple[int, int]:
    """Return as many calls and rows as take seconds."""
    bare = trial.single(bundle).bare
    seconds = timing.whole({"": bare}, 5)[""]
    return (
        max(_LEAST_CALLS, min(calls, int(_CALLS_SECONDS / seconds))),
        min(rows, max(1, int(_ROWS_SECONDS / seconds))),
    )


def measure(bundle: Bundle, log_dir: Path, calls: int, rows: int) -> dict[str, Any]:
    """Time calls on the bundle's golden records; times are microseconds a prediction."""
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
    records, bare, _ = trial.single(bundle)
    some, others = itertools.cycle(records).__next__, itertools.cycle(records).__next__
    kinds: dict[str, Callable[[], object]] = {
        "session_run": bare,
        "unlogged": lambda: unlogged.predict(some()),
        "predict": lambda: logged.predict(others()),
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
    start = time.process_time()
    packed = zlib.compress(data, 1)  # as the log's closed files are
    return {
        "log_bytes": len(data) / n,
        "log_bytes_gzip": len(packed) / n,
        "log_gzip_cpu_us": (time.process_time() - start) / n * 1e6,
        "lost": logged.lost,
    }


def _batch(bundle: Bundle, logged: Model, unlogged: Model, rows: int) -> dict[str, Any]:
    """Time a table of golden records, over and over, against the graph on it ready-made."""
    asked = trial.table(bundle, rows)
    if asked is None:
        return {}
    seconds = timing.whole(
        {
            "session_run": asked.bare,
            "unlogged": lambda: unlogged.predict_batch(asked.question),
            "predict": lambda: logged.predict_batch(asked.question),
        },
        5,
        settle=lambda: logged.flush(_FLUSH_SECONDS),
    )
    n = asked.n_records
    told = {f"{name}_rows_per_second": n / value for name, value in seconds.items()}
    return {"rows": n, **told, "ratio_batch": seconds["predict"] / seconds["session_run"]}


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
        f"compressed, which takes "
        f"{result['log_gzip_cpu_us']:.1f} µs of CPU once a file is closed; {lost or 'none'} lost"
    )


def _figures(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"  # noqa: PLR2004
