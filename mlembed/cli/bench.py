"""`mlembed bench`: what a logged prediction costs, against the bare runtime."""

from __future__ import annotations

import dataclasses
import datetime as dt
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from mlembed.bundle.golden import read_golden
from mlembed.cli.inspect import find_bundle
from mlembed.cli.options import JsonOption, RegistryOption, quiet_settings
from mlembed.cli.output import say, show_json, show_table
from mlembed.serving.batch import encode_columns
from mlembed.serving.encoder import Encoder
from mlembed.serving.model import load
from mlembed.serving.session import Session
from mlembed.testing import InMemoryRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlembed.bundle.bundle import Bundle

_BLOCK = 100
_WARM_UP = 200


def bench(
    ref: Annotated[str, typer.Argument(help="name@alias, name@version or a bundle directory.")],
    calls: Annotated[int, typer.Option(help="Calls of each kind.")] = 20_000,
    registry: RegistryOption = "",
    as_json: JsonOption = False,
) -> None:
    """Time a logged `predict` and a bare `InferenceSession.run` in turns, on the same graph.

    The bare run gets a ready array and its answer is thrown away. The log goes to a directory
    that is removed afterwards.
    """
    bundle = find_bundle(ref, registry)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(bundle, Path(folder), calls)
    if as_json:
        show_json(result)
        return
    say(f"{result['model']}, {result['calls']:,} calls of each kind, in turns; medians")
    rows = [
        ("predict, logged", result["predict_us"]),
        ("predict, not logged", result["unlogged_us"]),
        ("session.run", result["session_run_us"]),
    ]
    show_table(("call", "microseconds"), rows)
    say(f"a logged predict takes {result['ratio']:.2f} times a bare session.run")


def measure(bundle: Bundle, log_dir: Path, calls: int) -> dict[str, Any]:
    """Return median times, in microseconds, of calls on the bundle's first golden row."""
    record = _as_hosts_give_it(bundle, read_golden(bundle).records[0])
    source = InMemoryRegistry()
    title = str(source.publish(bundle).name)
    quiet = quiet_settings("")
    logged = load(
        title, registry=source, settings=dataclasses.replace(quiet, log=True, log_dir=log_dir)
    )
    unlogged = load(title, registry=source, settings=quiet)
    encoder = Encoder(title, bundle.manifest.columns)
    x, _ = encode_columns(encoder, {name: [value] for name, value in record.items()})
    run = Session(bundle.files["model.onnx"]).bare_run(np.ascontiguousarray(x))
    try:
        times = _in_turns(
            {
                "predict_us": lambda: logged.predict(record),
                "unlogged_us": lambda: unlogged.predict(record),
                "session_run_us": run,
            },
            calls,
        )
    finally:
        logged.close()
        unlogged.close()
    return {
        "model": bundle.manifest.title,
        "calls": calls,
        **times,
        "ratio": times["predict_us"] / times["session_run_us"],
    }


def _as_hosts_give_it(bundle: Bundle, golden: Mapping[str, Any]) -> dict[str, Any]:
    """Return a golden row, which is JSON, with the types of Python code."""
    record = dict(golden)
    for column in bundle.manifest.columns:
        value = record[column.name]
        if value is not None and column.kind == "timestamp":
            record[column.name] = dt.datetime.fromtimestamp(value, dt.UTC)
        elif value is not None and column.kind == "integer":
            record[column.name] = int(value)
    return record


def _in_turns(kinds: dict[str, Callable[[], object]], calls: int) -> dict[str, float]:
    """Time each kind in blocks of a hundred calls, one kind after the other."""
    for call in kinds.values():
        for _ in range(_WARM_UP):
            call()
    clock = time.perf_counter_ns
    times: dict[str, list[int]] = {name: [] for name in kinds}
    for _ in range(0, calls, _BLOCK):
        for name, call in kinds.items():
            note = times[name].append
            for _ in range(_BLOCK):
                start = clock()
                call()
                note(clock() - start)
    return {name: statistics.median(values) / 1000 for name, values in times.items()}
