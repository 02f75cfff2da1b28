"""Outcomes reach the prediction they are about, once, however late, doubled or revised."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import RECORD, toy_table
from mlembed.bundle.manifest import Task
from mlembed.monitoring.log import LoggedOutcome
from mlembed.monitoring.outcomes import join, labels_of
from monitoring.scenes import Scene, toy_log

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings

SECOND = 10**9
START = 1_790_000_000 * SECOND


def told(
    value: Any = True,  # noqa: FBT002  the label itself
    *,
    of: str = "",
    key: str = "",
    at: float = 100.0,
    seen: float | None = None,
    revision: int = 0,
) -> LoggedOutcome:
    """Return an outcome reported *at* seconds after the first prediction."""
    observed = None if seen is None else START + int(seen * SECOND)
    return LoggedOutcome(of, key, value, START + int(at * SECOND), observed, revision)


def keyed(*keys: str | None) -> Any:
    """Return the keys of a log's rows."""
    return np.array(keys, dtype=object)


def test_join_finds_real_predictions(registry: FileRegistry, settings: Settings) -> None:
    """Outcomes told by the id of a single prediction or of a batch's row are joined."""
    scene = Scene(registry, settings)
    single = scene.model.predict(RECORD)
    batch = scene.model.predict_batch(toy_table(300))
    scene.model.outcome(batch.ids[299], 3.5)
    scene.model.outcome(single.id, value=True)
    scene.model.outcome("0190-unknown", value=False)

    joined = join(scene.read())

    assert joined.rows.tolist() == [0, 300]
    assert joined.values.tolist() == [True, 3.5]
    assert (joined.matched, joined.unmatched, joined.superseded) == (2, 1, 0)


def test_join_finds_the_row_of_a_batch_of_one(registry: FileRegistry, settings: Settings) -> None:
    """A batch of one row is logged like a single prediction, and its row's id still finds it."""
    scene = Scene(registry, settings)
    batch = scene.model.predict_batch(toy_table(1))
    scene.model.outcome(batch.ids[0], value=True)

    assert join(scene.read()).rows.tolist() == [0]


def test_join_by_key_takes_the_latest_prediction_before(
    registry: FileRegistry, settings: Settings
) -> None:
    """An outcome that names a key is about the latest prediction of it at that time."""
    scene = Scene(registry, settings)
    first = scene.model.predict(RECORD, key="k")
    scene.model.predict(RECORD, key="k")
    scene.model.predict(RECORD, key="other")
    then = dt.datetime.fromtimestamp(first.time_ns / 1e9, dt.UTC) + dt.timedelta(microseconds=1)
    scene.model.outcome(key="k", value=True)
    scene.model.outcome(key="k", value=False, observed_at=then)

    joined = join(scene.read())

    assert dict(zip(joined.rows.tolist(), joined.values.tolist(), strict=True)) == {
        0: False,
        1: True,
    }


def test_join_by_key_ignores_what_came_later() -> None:
    """A prediction made after the outcome cannot have foretold it; one at that instant can."""
    log = toy_log(3, keys=keyed("k", None, "k"))

    assert join(_with(log, told(key="k", seen=1.5))).rows.tolist() == [0]
    assert join(_with(log, told(key="k", seen=2.0))).rows.tolist() == [2]
    assert join(_with(log, told(key="k", seen=-1.0))).unmatched == 1
    assert join(_with(log, told(key="z"))).unmatched == 1


def test_join_prefers_the_id() -> None:
    """An id that is not in this log is never replaced by a guess from the key."""
    log = toy_log(2, keys=keyed("k", "k"))

    joined = join(_with(log, told(of="id-0", key="k"), told(of="gone", key="k")))

    assert (joined.rows.tolist(), joined.unmatched) == ([0], 1)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_join_keeps_the_highest_revision(order: tuple[int, ...]) -> None:
    """A higher revision wins whenever it arrives; among equals the later report wins."""
    reports = [
        told("early", of="id-0", at=5, revision=1),
        told("late", of="id-0", at=9, revision=1),
        told("old", of="id-0", at=50),
    ]

    joined = join(_with(toy_log(1), *[reports[i] for i in order]))

    assert joined.values.tolist() == ["late"]
    assert joined.superseded == 2


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 2), st.integers(0, 20)),
        max_size=30,
    )
)
def test_join_accounts_for_every_outcome(reports: list[tuple[int, bool, int, int]]) -> None:
    """Each outcome is joined, unmatched or replaced, and reading it twice changes no answer."""
    log = toy_log(5, keys=keyed("k0", "k1", "k1", "k2", None))
    outcomes = [
        told(row, of="" if by_key else f"id-{row}", key=f"k{row}", at=at, revision=revision)
        for row, by_key, revision, at in reports
    ]

    once, twice = join(_with(log, *outcomes)), join(_with(log, *outcomes, *outcomes))

    assert once.matched + once.unmatched + once.superseded == len(outcomes)
    assert once.rows.tolist() == sorted(set(once.rows.tolist()))
    assert twice.rows.tolist() == once.rows.tolist()
    assert twice.values.tolist() == once.values.tolist()


def test_join_measures_the_label_delay() -> None:
    """The delay runs from the prediction to what happened, else to its report."""
    log = _with(
        toy_log(3),
        told(of="id-0", at=1_000, seen=10),
        told(of="id-1", at=31),
        told(of="id-2", at=22),
    )

    joined = join(log)

    assert joined.delays.tolist() == [10.0, 30.0, 20.0]
    assert joined.delay_median_seconds == 20.0
    assert joined.only(np.array([True, False, False])).delay_median_seconds == 10.0
    assert join(toy_log(0)).delay_median_seconds is None


@pytest.mark.parametrize(
    ("value", "binary", "regression"),
    [
        (True, 1.0, 1.0),
        (False, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        (0, 0.0, 0.0),
        ("yes", 1.0, None),
        ("no", 0.0, None),
        ("", None, None),
        (2.5, None, 2.5),
        ("2.5", 0.0, 2.5),
        (float("inf"), None, None),
        (10**400, None, None),
    ],
)
def test_labels_of_reads_every_form_of_a_label(
    value: Any, binary: float | None, regression: float | None
) -> None:
    """A label may be a bool, a number or a class; what is none of this task's is NaN."""
    tasks = {"binary": binary, "regression": regression}

    for kind, expected in tasks.items():
        task = Task(kind=kind, label="y", positive="yes")  # type: ignore[arg-type]  # both kinds
        label = labels_of(task, [value])[0]
        assert np.isnan(label) if expected is None else label == expected


def _with(log: Any, *outcomes: LoggedOutcome) -> Any:
    log.outcomes[:] = outcomes
    return log
