"""A regression that promises an interval says with each score where the truth lies."""

from __future__ import annotations

import csv
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mlembed
from bundles import RECORD, toy_bundle, toy_rows, toy_table
from mlembed.bundle.manifest import Interval
from mlembed.cli.app import run
from mlembed.registry.file import FileRegistry
from mlembed.settings import default_settings
from mlembed.testing import override_model

if TYPE_CHECKING:
    from pathlib import Path

TOLD = Interval(level=0.9, below=1.25, above=3.5)


@pytest.fixture
def store(tmp_path: Path) -> FileRegistry:
    """Return a registry whose champion promises an interval, and whose next version does not."""
    source = FileRegistry(tmp_path / "registry")
    source.publish(toy_bundle(kind="regression", interval=TOLD))
    source.publish(toy_bundle("toy", "2.0.0", kind="regression"))
    source.promote("toy", "champion", "1.0.0")
    return source


@pytest.fixture
def model(store: FileRegistry, settings: mlembed.Settings) -> mlembed.Model:
    """Return a model that promises an interval, with a fallback."""
    return mlembed.load("toy", registry=store, settings=settings, fallback=7.0)


def test_interval_lies_around_the_score(model: mlembed.Model) -> None:
    """Its ends are the manifest's offsets from the score, to the last bit."""
    prediction = model.predict(RECORD)

    assert prediction.interval == (prediction.score - 1.25, prediction.score + 3.5)
    assert prediction.to_json()["interval"] == list(prediction.interval)
    assert f"interval={prediction.interval}" in repr(prediction)


def test_intervals_of_a_batch_are_those_of_its_rows(model: mlembed.Model) -> None:
    """A table gives one interval a record, lower end first."""
    alone = [model.predict(row).interval for row in toy_rows(20)]

    intervals = model.predict_batch(toy_table(20)).intervals

    assert intervals is not None
    assert intervals.shape == (20, 2)
    assert intervals.tolist() == pytest.approx(np.array(alone), rel=1e-12)


def test_interval_is_none_where_nothing_is_promised(
    model: mlembed.Model, store: FileRegistry
) -> None:
    """A fallback, an override and a version without an interval promise nothing."""
    failed, all_failed = model.predict({}), model.predict_batch({})
    with override_model("toy", returns=3.0):
        given = model.predict(RECORD)
    store.promote("toy", "champion", "2.0.0")
    model.refresh()
    later = model.predict(RECORD)

    assert (failed.reason, failed.score, later.version) == ("fallback", 7.0, "2.0.0")
    assert [p.interval for p in (failed, given, later)] == [None] * 3
    assert model.predict_batch(toy_table(3)).intervals is None
    assert all_failed.intervals is None
    assert "interval" not in later.to_json()
    assert "interval" not in repr(later)


def test_prediction_with_an_interval_travels(model: mlembed.Model) -> None:
    """In another process it promises the same."""
    prediction = model.predict(RECORD)

    again = pickle.loads(pickle.dumps(prediction))  # noqa: S301  ours

    assert again == prediction
    assert again.interval == prediction.interval


def test_commands_show_the_interval(
    store: FileRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`inspect` tells the promise, `predict` the ends of each row; without one neither does."""
    monkeypatch.setenv("MLEMBED_REGISTRY", str(store.root))
    default_settings.cache_clear()
    rows = toy_rows(5)
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(RECORD))
        writer.writeheader()
        writer.writerows([*rows, {**rows[0], "age": 500}])

    assert run(["inspect", "toy"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert run(["predict", "toy", "--data", str(tmp_path / "rows.csv")]) == 0
    told = [*csv.DictReader(capsys.readouterr().out.splitlines())]
    assert run(["predict", "toy@2.0.0", "--data", str(tmp_path / "rows.csv")]) == 0
    plain = [*csv.DictReader(capsys.readouterr().out.splitlines())]
    default_settings.cache_clear()

    assert "from 1.25 below the score to 3.5 above it for 0.9 of the truths" in shown
    assert list(told[0]) == ["row", "score", "low", "high", "label", "reason", "version"]
    for row in told[:5]:
        score = float(row["score"])
        assert (float(row["low"]), float(row["high"])) == (score - 1.25, score + 3.5)
    assert (told[5]["score"], told[5]["low"], told[5]["high"]) == ("", "", "")
    assert "age" in told[5]["reason"]
    assert list(plain[0]) == ["row", "score", "label", "reason", "version"]
    assert len(plain) == len(told) == 6
