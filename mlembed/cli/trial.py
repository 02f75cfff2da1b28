"""What `mlembed bench` asks a model: its first golden record, and a table of all of them."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlembed.bundle.calls import read_calls
from mlembed.bundle.golden import read_golden
from mlembed.bundle.manifest import MODEL
from mlembed.serving.encoder import Encoder
from mlembed.serving.feed import one_record
from mlembed.serving.session import Session, TensorSession
from mlembed.serving.tables import encode_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlembed.bundle.bundle import Bundle

_TABLE_BYTES = 256 * 1024 * 1024


class Trial(NamedTuple):
    """A question for `predict` or `predict_batch`, and for the bare runtime.

    Attributes:
        question: Records, or a table.
        bare: Runs the graph on the next of them, or on the table, ready as the runtime takes it.
        n_records: How many answers there are.
    """

    question: Any
    bare: Callable[[], object]
    n_records: int


def single(bundle: Bundle) -> Trial:
    """Return the golden records, to be asked one by one."""
    if bundle.manifest.inputs:
        feeds = [one_record(bundle.manifest.inputs, call) for call, _ in read_calls(bundle).calls]
        session = TensorSession(bundle.files[MODEL])
        return Trial(feeds, _in_turn([session.bare_run(feed) for feed in feeds]), len(feeds))
    records = [as_hosts_give_it(bundle, record) for record in read_golden(bundle).records]
    encoder = Encoder(bundle.manifest.title, bundle.manifest.columns)
    x, _ = encode_columns(encoder, {n: [record[n] for record in records] for n in encoder.names})
    plain = Session(bundle.files[MODEL])
    rows = [np.ascontiguousarray(x[i : i + 1]) for i in range(len(x))]
    return Trial(records, _in_turn([plain.bare_run(row) for row in rows]), len(records))


def _in_turn(runs: Sequence[Callable[[], object]]) -> Callable[[], object]:
    following = itertools.cycle(runs).__next__

    def run() -> object:
        return following()()

    return run


def table(bundle: Bundle, n_records: int) -> Trial | None:
    """Return golden records over and over; None where the graph takes one at a time.

    Tensors are as many as fit into 256 MiB.
    """
    return (_tensors if bundle.manifest.inputs else _columns)(bundle, n_records)


def _tensors(bundle: Bundle, n_records: int) -> Trial | None:
    inputs = bundle.manifest.inputs
    feed = one_record(inputs, read_calls(bundle).calls[0][0])
    size = sum(feed[tensor.name].nbytes for tensor in inputs if tensor.may_batch)
    if not size:
        return None
    n = max(1, min(n_records, _TABLE_BYTES // size))
    whole = {
        tensor.name: np.repeat(feed[tensor.name], n, axis=0)
        if tensor.may_batch
        else feed[tensor.name]
        for tensor in inputs
    }
    return Trial(whole, TensorSession(bundle.files[MODEL]).bare_run(whole), n)


def _columns(bundle: Bundle, n_records: int) -> Trial:
    encoder = Encoder(bundle.manifest.title, bundle.manifest.columns)
    golden = [as_hosts_give_it(bundle, record) for record in read_golden(bundle).records]
    repeated = [golden[row % len(golden)] for row in range(n_records)]
    x, _ = encode_columns(encoder, {n: [r[n] for r in repeated] for n in encoder.names})
    columns: dict[str, Any] = {
        column.name: np.array([record[column.name] for record in repeated], dtype=object)
        if column.kind == "category"
        else np.ascontiguousarray(x[:, i])
        for i, column in enumerate(bundle.manifest.columns)
    }
    return Trial(columns, Session(bundle.files[MODEL]).bare_run(x), n_records)


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
