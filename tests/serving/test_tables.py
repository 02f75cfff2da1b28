"""Large tables are encoded ahead of the graph, and texts by the names their library gives them."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mlembed
from bundles import RECORD, toy_table
from mlembed.errors import SchemaError
from mlembed.serving import pool
from mlembed.serving.encoder import Encoder
from mlembed.serving.pool import MAX_WORKERS, ahead
from mlembed.serving.tables import encode_columns
from serving.logs import events
from serving.rows import one, towns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.registry.file import FileRegistry


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let large tables use a second thread, whatever this machine has."""
    monkeypatch.setattr(pool, "_CORES", 2)


FORMS: dict[str, Any] = {
    "arrow": lambda values: pa.array(values, pa.string()),
    "arrow large": lambda values: pa.array(values, pa.large_string()),
    "arrow view": lambda values: pa.array(values, pa.string_view()),
    "arrow in chunks": lambda values: pa.chunked_array([values[:2], values[2:]], pa.string()),
    "arrow dictionary": lambda values: pa.array(values, pa.string()).dictionary_encode(),
    "polars": lambda values: pl.Series(values, dtype=pl.String),
    "polars categories": lambda values: pl.Series(values, dtype=pl.Categorical),
    "polars enum": lambda values: pl.Series(
        values, dtype=pl.Enum(sorted({value for value in values if value is not None}))
    ),
    "pandas": lambda values: pd.Series(values, dtype=object),
    "pandas strings": lambda values: pd.Series(values, dtype="string"),
    "pandas categories": lambda values: pd.Series(values, dtype="category"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "values",
    [
        ["oslo", "lyon", "oslo", "berlin"],
        ["oslo", None, "lyon", None],
        ["atlantis", "oslo", "el dorado", "atlantis"],
        [None, None, None],
        ["", "oslo", "Oslo", "o" * 5_000],
        ["z\u00fcrich", "\u6771\u4eac", "a\x00b", "oslo "],
    ],
)
def test_texts_of_every_library_are_encoded_as_a_list_is(form: str, values: list[Any]) -> None:
    """Known, unknown and missing ones alike: the same cells, the same texts, the same error."""
    encoder = Encoder(
        "toy@1.0.0",
        [one("category", vocabulary=("berlin", "lyon", "oslo"), rare=True, nullable=True)],
    )

    matrix, unknown = encode_columns(encoder, {"x": FORMS[form](values)})
    expected, unlike = encode_columns(encoder, {"x": values})

    np.testing.assert_array_equal(matrix, expected)
    assert unknown == unlike


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", ["atlantis", None])
def test_bad_texts_of_every_library_are_refused_alike(form: str, bad: str | None) -> None:
    """The error names the first bad row of any."""
    values = ["oslo", "lyon", bad, "oslo", bad]
    encoder = Encoder(
        "toy@1.0.0", [dataclasses.replace(towns("error", rare=False), nullable=False)]
    )

    with pytest.raises(SchemaError) as expected:
        encode_columns(encoder, {"x": values})
    with pytest.raises(SchemaError) as caught:
        encode_columns(encoder, {"x": FORMS[form](values)})

    assert str(caught.value) == str(expected.value)
    assert "first in row 2" in str(caught.value)


def test_a_large_table_gives_what_its_parts_give(
    registry: FileRegistry, settings: mlembed.Settings
) -> None:
    """Encoded ahead, on another thread or not, each row is its own."""
    model = mlembed.load("toy", registry=registry, settings=settings)
    n = 60_001
    some = toy_table(601, seed=3)
    table = {name: [values[i % 601] for i in range(n)] for name, values in some.items()}
    expected = model.predict_batch(some).scores

    for cores in (1, 2):
        pool.close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pool, "_CORES", cores)
            scores = model.predict_batch(table).scores
        assert (pool._pool is not None) == (cores > 1)
        np.testing.assert_array_equal(scores, np.resize(expected, n))


def test_texts_outside_their_vocabulary_stand_beside_their_rows(
    registry: FileRegistry, settings: mlembed.Settings
) -> None:
    """However many events a batch becomes."""
    model = mlembed.load("toy", registry=registry, settings=settings)
    n = 1_000
    table = {name: [value] * n for name, value in RECORD.items()}
    table["town"] = [f"town {row}" if row % 3 == 0 else "oslo" for row in range(n)]

    model.predict_batch(table)
    assert model.flush()

    found = [event["body"]["f"]["town"] for event in events(settings.log_dir)]
    assert [len(towns) for towns in found] == [256, 256, 256, 232]
    assert [town for towns in found for town in towns] == table["town"]


def test_a_batch_that_finds_little_room_is_logged_in_parts(
    registry: FileRegistry, settings: mlembed.Settings
) -> None:
    """What is written and what is lost are all its events."""
    little = dataclasses.replace(settings, queue_bytes=65_536, flush_seconds=600)
    model = mlembed.load("toy", registry=registry, settings=little)
    n = 20_000
    model.predict_batch({name: [value] * n for name, value in RECORD.items()})
    assert model.flush()

    written = events(settings.log_dir)
    assert 0 < len(written) < 79
    assert len(written) + sum(model.lost.values()) == 79


def test_ahead_yields_in_order_what_is_prepared() -> None:
    """The next is prepared while the last is used, and none is used before."""
    prepared: list[int] = []
    for item in ahead(prepared.append, range(50)):
        assert item in prepared
        assert len(prepared) <= item + 2
    assert sorted(prepared) == list(range(50))


def test_ahead_never_waits_for_a_busy_pool() -> None:
    """The caller prepares by itself what no thread is free for."""
    free = threading.Event()
    try:
        for _ in range(MAX_WORKERS):
            pool._threads().submit(free.wait)
        own = threading.get_ident()
        names: list[int] = []
        start = time.monotonic()
        assert list(ahead(lambda _: names.append(threading.get_ident()), range(9))) == [*range(9)]
        assert time.monotonic() - start < 10
        assert names == [own] * 9
    finally:
        free.set()


def test_ahead_raises_what_preparing_raised() -> None:
    """On whichever thread; and what was begun is over when it does."""
    running: list[int] = []

    def prepare(item: int) -> None:
        running.append(item)
        if item == 3:
            raise ValueError(item)
        running.remove(item)

    used: list[int] = []
    with pytest.raises(ValueError, match="3"):
        used.extend(ahead(prepare, range(9)))

    assert used == [0, 1, 2] or not used
    assert running == [3]


def test_ahead_that_is_left_waits_for_what_it_began() -> None:
    """Nothing writes into a matrix that the caller has given up."""
    over: list[int] = []

    def prepare(item: int) -> None:
        time.sleep(0.05)
        over.append(item)

    parts: Iterator[int] = ahead(prepare, range(9))
    next(parts)
    parts.close()  # type: ignore[attr-defined]  # it is a generator
    n = len(over)
    time.sleep(0.2)

    assert len(over) == n
