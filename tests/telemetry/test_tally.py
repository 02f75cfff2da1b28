"""Counts in the reference's bins add up, wherever they were counted."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import mlembed
from bundles import COLUMNS, RECORD, toy_bundle, toy_rows, toy_table
from mlembed.monitoring.counting import count, read_reference
from mlembed.serving.encoder import Encoder
from mlembed.serving.tables import encode_columns
from mlembed.telemetry.tally import SCORE, Tally
from processes import run_script

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings
    from telemetry.conftest import Host

BUNDLE = toy_bundle()
REFERENCE = json.loads(BUNDLE.files["reference.json"])
MATRIX, _ = encode_columns(Encoder("toy", COLUMNS), toy_table(500, seed=9))
SCORES = np.linspace(0, 1, 500)


def tally() -> Tally:
    """Return an empty tally of the toy bundle."""
    return Tally(REFERENCE, COLUMNS)


def cleared(model: mlembed.Model) -> Tally:
    """Return the tally of *model*, which the whole process shares, at nothing."""
    counted = model._handle.ready().source.tally
    assert counted is not None
    counted.clear()
    return counted


def test_tally_counts_what_the_monitor_counts() -> None:
    """In the process or from the log, a value falls into the same bin."""
    counted = tally()
    counted.add(MATRIX, SCORES)
    reference, table = read_reference(BUNDLE), toy_table(500, seed=9)

    for column in COLUMNS:
        if column.name not in reference.columns:
            continue
        values = np.array(table[column.name], dtype=object)
        expected = count(reference.columns[column.name], column, values, np.ones(500))
        found = counted.counts()[column.name]
        assert found[:-1].tolist() == expected.bins.round().tolist()
        assert found[-1] == round(expected.missing)
    score = count(reference.score, None, SCORES, np.ones(500))
    assert counted.counts()[SCORE][:-1].tolist() == score.bins.round().tolist()


@given(cut=st.integers(0, 500), weight=st.integers(1, 16))
def test_tallies_add_up(cut: int, weight: int) -> None:
    """Two parts counted apart are the whole, and a weight is so many times the row."""
    whole, parts = tally(), tally()
    for _ in range(weight):
        whole.add(MATRIX, SCORES)
    parts.add(MATRIX[:cut], SCORES[:cut], weight)
    parts.add(MATRIX[cut:], SCORES[cut:], weight)

    assert parts.n == whole.n == 500 * weight
    for name, counts in whole.counts().items():
        assert counts.dtype == np.int64
        assert counts.tolist() == parts.counts()[name].tolist()
        assert counts.sum() == 500 * weight


@given(cells=st.lists(st.floats(), min_size=1, max_size=20))
def test_any_cell_falls_into_one_bin(cells: list[float]) -> None:
    """Whatever a cell holds, and whatever its kind, it is counted once; NaN is missing."""
    matrix = np.array([[cell] * len(COLUMNS) for cell in cells])
    counted = tally()
    counted.add(matrix, np.array(cells))

    missing = sum(math.isnan(cell) for cell in cells)
    for counts in counted.counts().values():
        assert counts.sum() == len(cells)
        assert counts[-1] == missing
        assert (counts >= 0).all()


def test_threads_lose_no_count(registry: FileRegistry, settings: Settings) -> None:
    """Eight threads of predictions, single and in batches, are all counted."""
    model = mlembed.load("toy", registry=registry, settings=settings)
    counted = cleared(model)
    table = toy_table(300)

    def predict() -> None:
        for row in toy_rows(50):
            model.predict(row)
        model.predict_batch(table)

    threads = [threading.Thread(target=predict) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert model.flush(20)

    assert counted.n == 8 * 350
    assert {int(counts.sum()) for counts in counted.counts().values()} == {8 * 350}


def test_forked_child_counts_its_own(registry: FileRegistry, settings: Settings) -> None:
    """What the parent counted is told by the parent; a child's counters begin at nothing."""
    script = """
    import os, sys
    import mlembed
    from bundles import RECORD
    from mlembed.settings import Settings

    model = mlembed.load("toy", registry=sys.argv[1], settings=Settings(log_dir=sys.argv[2]))
    def counted():
        assert model.flush()
        return model._handle.ready().source.tally.n
    for _ in range(5):
        model.predict(RECORD)
    assert counted() == 5
    child = os.fork()
    if child == 0:
        model.predict(RECORD)
        print(counted(), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    model.predict(RECORD)
    print(counted())
    """

    output = run_script(script, registry.root, settings.log_dir)

    assert output.split() == ["1", "6"]


def test_host_meter_observes_counts_and_reference(
    host: Host, registry: FileRegistry, settings: Settings
) -> None:
    """Bins are counted by their name, and the reference's shares stand beside them."""
    settings = dataclasses.replace(settings, log_features=False)
    model = mlembed.load("toy", registry=registry, settings=settings)
    cleared(model)
    for row in toy_rows(40):
        model.predict(row)
    model.predict(RECORD | {"income": None})
    assert model.flush()

    metrics = host.metrics()
    observed = {
        (p.attributes["mlembed.feature"], p.attributes["mlembed.bin"]): p.value
        for p in metrics["mlembed.feature.observations"]
    }
    features = {feature for feature, _ in observed}
    assert features == set(REFERENCE["columns"])
    for feature in features:
        assert sum(n for (name, _), n in observed.items() if name == feature) == 41
    assert observed["income", "missing"] >= 1
    shares = [
        p.value
        for p in metrics["mlembed.feature.reference"]
        if p.attributes["mlembed.feature"] == "age"
    ]
    assert sum(shares) == 1 or math.isclose(sum(shares), 1)
    assert sum(p.value for p in metrics["mlembed.score.observations"]) == 41
    assert all(
        p.attributes["mlembed.model.version"] == "1.0.0"
        for points in (metrics["mlembed.score.observations"], metrics["mlembed.score.reference"])
        for p in points
    )
