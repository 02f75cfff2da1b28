"""A fit is made again by its seed alone."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.model_selection import ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import (  # type: ignore[import-untyped]
    threadpool_info,
    threadpool_limits,
)

from mlembed.training import threads
from mlembed.training.calibrating import fit_and_settle
from mlembed.training.competitors import Competitor
from mlembed.training.fitting import add_in_order, fit, prepare_table, scores_of, set_seed
from mlembed.training.vocabulary import learn
from training.orders import declare, orders

FOLDS = StratifiedKFold(3, shuffle=True)
TREE = DecisionTreeClassifier(max_depth=3)


@pytest.mark.parametrize(
    "estimator",
    [
        CalibratedClassifierCV(TREE, cv=FOLDS),
        make_pipeline(StandardScaler(), CalibratedClassifierCV(TREE, cv=FOLDS)),
        CalibratedClassifierCV(TREE, cv=ShuffleSplit(3)),
    ],
)
def test_set_seed_reaches_the_folds_inside_of_an_estimator(estimator: Any) -> None:
    """The same seed gives the same fit, whatever others draw from NumPy's own generator."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(300, 2)), random.integers(0, 2, 300)
    set_seed(estimator, 1)

    first, second = (estimator.fit(x, y).predict_proba(x) for _ in range(2))

    assert np.array_equal(first, second)


def test_set_seed_leaves_a_seed_and_the_declared_folds_alone() -> None:
    """What the declaration says is neither replaced nor changed in place."""
    own = CalibratedClassifierCV(TREE, cv=StratifiedKFold(3, shuffle=True, random_state=7))
    open_one = CalibratedClassifierCV(TREE, cv=FOLDS)
    for estimator in (own, open_one):
        set_seed(estimator, 1)

    assert own.cv.random_state == 7
    assert FOLDS.random_state is None


def test_train_calibrates_a_forest_of_several_threads_the_same_each_time() -> None:
    """Threads that add up trees in any order leave no trace in the scores."""
    forest = RandomForestClassifier(30, max_depth=6, n_jobs=2)
    declared = declare(candidates=[forest], calibration="isotonic")
    table = declared.read(orders(800))
    prepared = prepare_table(declared, learn(declared.columns, table), table)
    competitor = Competitor("forest", forest)

    found = {
        scores_of(
            fit_and_settle(declared, competitor, prepared).estimator, prepared.features
        ).tobytes()
        for _ in range(5)
    }

    assert len(found) == 1
    assert forest.n_jobs == 2


def test_add_in_order_leaves_a_fit_its_threads() -> None:
    """Only a forest that predicts during the fit of another gives them up before it is fitted."""
    last, inner = (RandomForestClassifier(5, n_jobs=2) for _ in range(2))
    declared = make_pipeline(StandardScaler(), last)
    committee = VotingClassifier([("a", inner)], voting="soft", n_jobs=2)

    for estimator in (declared, committee):
        add_in_order(estimator, fitted=False)
    assert (last.n_jobs, inner.n_jobs, committee.n_jobs) == (2, 1, 2)

    add_in_order(declared, fitted=True)
    assert last.n_jobs == 1


def openmp() -> set[int]:
    """Return how many threads each OpenMP library would work with."""
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"}


def test_fit_grows_on_one_thread_what_more_would_only_wait_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where threads sleep, few rows are fitted on one, many on all, and these stay as they were."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    declared = declare(candidates=[DecisionTreeClassifier(max_depth=2)])
    table = declared.read(orders(400))
    prepared = prepare_table(declared, learn(declared.columns, table), table)
    competitor = Competitor("tree", declared.candidates[0])
    cells = prepared.features.size
    seen: list[set[int]] = []
    grow = DecisionTreeClassifier.fit

    def watched(tree: DecisionTreeClassifier, *given: Any, **named: Any) -> DecisionTreeClassifier:
        seen.append(openmp())
        return grow(tree, *given, **named)

    monkeypatch.setattr(DecisionTreeClassifier, "fit", watched)
    with threadpool_limits(limits=3, user_api="openmp"), monkeypatch.context() as patched:
        for fewest in (cells + 1, cells):
            patched.setattr(threads, "_FEWEST_FOR_SLEEPERS", fewest)
            fit(declared, competitor, prepared, slice(None))
            seen.append(openmp())

    assert seen == [{1}, {3}, {3}, {3}]


def test_fit_leaves_the_cores_to_those_who_are_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that spin are as many as have a core: none beside a full machine, or for few rows."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    looked: list[int] = []
    look = threads.free_cores

    def watched(most: int) -> int:
        looked.append(look(most))
        return looked[-1]

    monkeypatch.setattr(threads, "free_cores", watched)
    neighbours = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    try:
        with threadpool_limits(limits=2, user_api="openmp"):
            with threads.for_cells(99_999):
                assert openmp() == {1}
            assert looked == []
            with threads.for_cells(100_000):
                assert openmp() == {1}
            assert openmp() == {2}
        with threadpool_limits(limits=1, user_api="openmp"), threads.for_cells(100_000):
            assert openmp() == {1}
    finally:
        for process in neighbours:
            process.kill()
            process.wait()
    assert looked == [1]


def test_fit_uses_every_core_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as the look has found free, and no more than OpenMP had."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with threadpool_limits(limits=3, user_api="openmp"):
        for free, expected in ((2, 2), (3, 3)):
            monkeypatch.setattr(threads, "free_cores", lambda _, free=free: free)
            with threads.for_cells(100_000):
                assert openmp() == {expected}
