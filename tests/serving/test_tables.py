"""Large tables are shared between two threads, and texts by the names their library gives them."""

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
from mlembed.serving.pool import MAX_WORKERS, shared
from mlembed.serving.tables import encode_columns
from serving.logs import events
from serving.rows import one, towns

if TYPE_CHECKING:
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
    """Encoded and scored on another thread or not, each row is its own."""
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


def test_shared_work_is_done_once_and_told_in_order() -> None:
    """Whichever thread did it; here both did."""
    both = threading.Barrier(2, timeout=20)
    done: list[int] = []

    def square(item: int) -> int:
        if item < 2:
            both.wait()
        done.append(item)
        return item * item

    assert shared(square, range(50)) == [item * item for item in range(50)]
    assert sorted(done) == list(range(50))
    assert shared(square, []) == []


def test_shared_work_never_waits_for_a_busy_pool() -> None:
    """The caller does by itself what no thread is free for."""
    free = threading.Event()
    try:
        for _ in range(MAX_WORKERS):
            pool._threads().submit(free.wait)
        own = threading.get_ident()
        start = time.monotonic()
        assert shared(lambda _: threading.get_ident(), range(9)) == [own] * 9
        assert time.monotonic() - start < 10
    finally:
        free.set()


@pytest.mark.parametrize("error", [ValueError, IndexError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["caller", "helper"])
def test_shared_work_raises_what_was_raised(error: type[BaseException], where: str) -> None:
    """On whichever thread; nothing is begun after it, and what was begun is over."""
    own, both = threading.get_ident(), threading.Barrier(2, timeout=20)
    begun: list[int] = []
    over: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        both.wait()
        if (threading.get_ident() == own) == (where == "caller"):
            raise error(item)
        time.sleep(0.1)
        over.append(item)

    with pytest.raises(error):
        shared(work, range(9))

    assert len(begun) == 2
    assert len(over) == 1
    time.sleep(0.2)
    assert len(begun) == 2
