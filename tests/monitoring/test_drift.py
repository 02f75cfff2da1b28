"""Drift is found where it is, and hardly ever where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bundles import COLUMNS, toy_bundle, toy_table
from mlembed.bundle.bundle import pack
from mlembed.bundle.strictjson import dumps
from mlembed.columns import Column
from mlembed.monitoring.counting import Reference, read_reference
from mlembed.monitoring.drift import SCORE, Drift, drifts
from mlembed.monitoring.policy import Policy
from mlembed.serving.encoder import Encoder
from mlembed.serving.tables import encode_columns
from mlembed.telemetry.profiles import reference_profile
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


def test_drifts_do_not_take_what_is_not_logged_for_missing() -> None:
    """A column that the log hashes, buckets or drops is not judged, whatever was given for it."""
    log = window(1_000, 1)
    kept = {name: values for name, values in log.features.items() if name != "town"}

    drift = found(toy_reference(1_000, 0), log.__class__(**{**vars(log), "features": kept}))

    assert (drift["town"].state, drift["town"].note) == ("insufficient", "the log does not hold it")
    assert drift["income"].state == "ok"


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
