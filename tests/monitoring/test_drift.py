"""Drift is found where it is, and hardly ever where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bundles import COLUMNS, toy_bundle, toy_table
from mlembed.bundle.bundle import pack
from mlembed.bundle.strictjson import dumps
from mlembed.columns import Category, Column
from mlembed.errors import BundleError
from mlembed.monitoring.counting import Profile, Reference, count, read_reference
from mlembed.monitoring.drift import SCORE, Drift, drifts
from mlembed.monitoring.policy import Policy
from mlembed.serving.batch import encode_columns
from mlembed.serving.encoder import Encoder
from mlembed.telemetry.profiles import category_bins, number_bins, reference_profile
from monitoring.scenes import features, toy_log

if TYPE_CHECKING:
    from collections.abc import Sequence

POLICY = Policy()
WIDE = tuple(
    Column(name=f"c{i}", kind="category", vocabulary=tuple(f"v{j}" for j in range(60)))
    for i in range(12)
) + tuple(Column(name=f"x{i}", kind="number") for i in range(48))


def profiled(columns: Sequence[Column], matrix: Any, scores: Any) -> Reference:
    """Return the reference of encoded rows, as a bundle would carry it."""
    data = {**reference_profile(columns, matrix, scores), "metric": {}}
    bundle = toy_bundle()
    files = {**bundle.files, "reference.json": dumps(data)}
    return read_reference(pack(bundle.manifest, files))


def toy_reference(n: int, seed: int) -> Reference:
    """Return the reference of *n* rows of the toy's source, with scores of a normal law."""
    matrix, _ = encode_columns(Encoder("toy", COLUMNS), toy_table(n, seed))
    return profiled(COLUMNS, matrix, np.random.default_rng(seed).normal(size=n))


def window(n: int, seed: int, **changes: Any) -> Any:
    """Return the log of *n* rows of the toy's source, some columns replaced."""
    scores = changes.pop("score", np.random.default_rng(seed + 7_000).normal(size=n))
    table = {**toy_table(n, seed), **changes}
    return toy_log(n, features=features(table), score=scores)


def found(reference: Reference, log: Any, policy: Policy = POLICY) -> dict[str, Drift]:
    """Return what was found, by name."""
    return {drift.name: drift for drift in drifts(reference, COLUMNS, log, policy)}


def alerts(drift: dict[str, Drift]) -> set[str]:
    """Return the names that alert."""
    return {name for name, item in drift.items() if item.state == "alert"}


@pytest.mark.parametrize("n", [300, 1_000])
def test_drifts_keep_quiet_without_drift(n: int) -> None:
    """Of many windows of one source hardly any report holds an alert, small windows included."""
    false = sum(
        bool(alerts(found(toy_reference(500, 2 * seed), window(n, 2 * seed + 1))))
        for seed in range(150)
    )

    assert false <= 2


def test_drifts_keep_quiet_over_many_wide_columns() -> None:
    """Sixty columns, some with sixty values, do not flood a small window with alerts."""
    false = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        matrix, now = (
            np.hstack([random.integers(0, 60, (n, 12)), random.normal(size=(n, 48))])
            for n in (1_000, 300)
        )
        table: dict[str, Any] = {
            column.name: [column.vocabulary[int(code)] for code in now[:, i]]
            if i < 12
            else now[:, i]
            for i, column in enumerate(WIDE)
        }
        reference = profiled(WIDE, matrix, random.normal(size=1_000))
        log = toy_log(300, features=features(table), score=random.normal(size=300))
        false += any(d.state == "alert" for d in drifts(reference, WIDE, log, POLICY))

    assert false <= 1


@pytest.mark.parametrize("n", [300, 3_000])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("income", lambda n: np.random.default_rng(1).uniform(25_000, 85_000, n)),
        ("visits", lambda n: np.random.default_rng(1).integers(0, 60, n).tolist()),
        ("town", lambda n: ["oslo"] * (n // 2) + ["lyon"] * (n - n // 2)),
        ("town", lambda n: ["rome"] * (n // 2) + ["lyon"] * (n - n // 2)),
        ("member", lambda n: [True] * (n - n // 10) + [False] * (n // 10)),
        ("plan", lambda n: ["plus"] * n),
        ("score", lambda n: np.random.default_rng(1).normal(1, 1, n)),
    ],
)
def test_drifts_find_what_moved_and_nothing_else(name: str, values: Any, n: int) -> None:
    """A column of any kind, or the score, alerts when it moves; the others stay quiet."""
    drift = found(toy_reference(1_000, 0), window(n, 1, **{name: values(n)}))

    moved = SCORE if name == "score" else name
    assert alerts(drift) == {moved}
    assert drift[moved].effect >= 0.2
    q = drift[moved].q
    assert q is not None
    assert q < 0.05
    assert "large shift, most in" in drift[moved].note


def test_drifts_find_rows_that_lack_a_value() -> None:
    """A column whose missing rate jumps alerts, though its values look as ever."""
    table = toy_table(1_000, 1)
    income = [None if i % 2 else value for i, value in enumerate(table["income"])]

    drift = found(toy_reference(1_000, 0), window(1_000, 1, income=income))

    assert alerts(drift) == {"income"}
    assert drift["income"].effect < 0.1
    assert "missing, was" in drift["income"].note


def test_drifts_judge_a_column_that_went_missing() -> None:
    """A column without any value left alerts, although nothing of it can be compared."""
    drift = found(toy_reference(1_000, 0), window(400, 1, income=[None] * 400))

    assert drift["income"].state == "alert"
    assert drift["income"].psi is None
    assert drift["income"].observed == (0.0,) * 10


def test_drifts_tell_a_moderate_shift_without_alerting() -> None:
    """A change between half the limit and the limit is noted only."""
    town = ["oslo"] * 1_600 + ["lyon"] * 700 + ["berlin"] * 700

    drift = found(toy_reference(2_000, 0), window(3_000, 1, town=town))

    assert drift["town"].state == "ok"
    assert "moderate shift, most in 'oslo'" in drift["town"].note


def test_drifts_of_a_small_window_are_insufficient() -> None:
    """Below the least number of rows nothing is judged, however strange it looks."""
    drift = found(toy_reference(1_000, 0), window(299, 1, town=["oslo"] * 299))

    assert {item.state for item in drift.values()} == {"insufficient"}
    assert drift["town"].note == "299 rows, 300 are needed"
    assert drift["town"].q is None


def test_drifts_of_a_log_without_features_judge_the_score_alone() -> None:
    """Where features are not logged the score still is watched."""
    log = toy_log(400, has_features=np.zeros(400, dtype=np.bool_), score=np.full(400, 9.0))

    drift = found(toy_reference(1_000, 0), log)

    assert drift[SCORE].state == "alert"
    assert {item.state for name, item in drift.items() if name != SCORE} == {"insufficient"}


def test_drifts_count_sampled_rows_at_their_effective_number() -> None:
    """Rows that stand for many do not pass for many rows."""
    log = window(400, 1)
    weights = np.ones(400)
    weights[0] = 1e6

    drift = found(toy_reference(1_000, 0), log.__class__(**{**vars(log), "weights": weights}))

    assert {item.state for item in drift.values()} == {"insufficient"}


def test_drifts_leave_unprofiled_columns_out() -> None:
    """Timestamps have no profile, so they are not judged."""
    assert "seen" not in found(toy_reference(100, 0), window(300, 1))


@pytest.mark.parametrize("value", [0.0, 7.5])
@pytest.mark.parametrize("now", [-1.0, 30.0])
def test_number_bins_show_a_constant_that_changed(value: float, now: float) -> None:
    """A column that was constant has bins below, at and above its value."""
    profile = number_bins(np.full(1_000, value))
    reference = Profile(
        kind="number",
        edges=np.array(profile.edges),
        values=(),
        counts=np.array(profile.counts, dtype=float),
        missing=0.0,
    )

    counts = count(reference, None, np.full(400, now), np.ones(400))

    assert profile.counts == (0, 1_000, 0)
    assert reference.labels == (
        f"less than {value:.6g}",
        f"exactly {value:.6g}",
        f"more than {value:.6g}",
    )
    assert counts.bins.tolist() == ([400, 0, 0] if now < value else [0, 0, 400])


def test_number_bins_keep_a_rare_rest_apart() -> None:
    """Where one value fills nine tenths, the rest has a bin of its own."""
    assert number_bins(np.r_[np.zeros(950), np.arange(1, 51)]).counts == (0, 950, 50)


@pytest.mark.parametrize(
    ("rule", "rare", "missing"), [("missing", True, 3), ("rare", True, 1), ("rare", False, 3)]
)
def test_count_puts_unknown_categories_where_the_model_did(
    rule: Any,
    rare: bool,  # noqa: FBT001  a case
    missing: int,
) -> None:
    """An unknown value counts as rare or as missing, as the encoder took it; its share is told."""
    column = Column(
        name="town", kind="category", vocabulary=("a", "b"), rare=rare, rule=Category(unknown=rule)
    )
    profile = _profile(category_bins(np.array([0.0, 1.0, 0.0]), column.vocabulary))
    values = np.array(["a", "x", "y", None, "b"], dtype=object)

    counts = count(profile, column, values, np.ones(5))

    assert counts.missing == missing
    assert counts.bins.sum() == 5 - missing
    assert counts.unseen == 0.5


def test_count_names_rare_categories_together() -> None:
    """A value of the vocabulary that is too rare for a bin is known, and counts with the others."""
    column = Column(name="t", kind="category", vocabulary=("a", "b"))
    profile = _profile(category_bins(np.r_[np.zeros(999), 1.0], column.vocabulary))

    counts = count(profile, column, np.array(["b", "a"], dtype=object), np.ones(2))

    assert (profile.labels, counts.bins.tolist(), counts.unseen) == (("a", "(others)"), [1, 1], 0)


def test_count_reads_numbers_among_objects() -> None:
    """A column whose versions differ in kind is still counted as numbers by those it is one for."""
    profile = _profile(number_bins(np.arange(100.0)))
    values = np.array([5, 95.0, "old", None, 10**400, -(10**400)], dtype=object)

    counts = count(profile, Column(name="x", kind="number"), values, np.ones(6))

    assert (counts.bins[0], counts.bins[9], counts.missing) == (2, 2, 2)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        [],
        {"n": 1, "columns": {"a": {"kind": "number"}}, "score": {}},
        {
            "n": 1,
            "columns": {},
            "score": {"kind": "number", "edges": [2, 1], "counts": [1, 1, 1], "missing": 0},
        },
        {
            "n": 1,
            "columns": {},
            "score": {"kind": "number", "edges": [1], "counts": [1], "missing": 0},
        },
    ],
)
def test_read_reference_refuses_a_malformed_one(broken: Any) -> None:
    """A reference that is not what mlembed writes is an error, not a wrong judgement."""
    bundle = toy_bundle()

    with pytest.raises(BundleError, match=r"reference\.json"):
        read_reference(pack(bundle.manifest, {**bundle.files, "reference.json": dumps(broken)}))


def test_read_reference_misses_one_that_is_not_there() -> None:
    """A bundle packed without a reference cannot be monitored, and says so."""
    bundle = toy_bundle()
    files = {name: data for name, data in bundle.files.items() if name != "reference.json"}

    with pytest.raises(BundleError, match=r"no reference\.json"):
        read_reference(pack(bundle.manifest, files))


def _profile(bins: Any) -> Profile:
    return Profile(
        kind=bins.kind,
        edges=np.array(bins.edges),
        values=bins.values,
        counts=np.array(bins.counts, dtype=float),
        missing=float(bins.missing),
    )
