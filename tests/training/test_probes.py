"""The rows of a proof are chosen by rule and seed, and hold what breaks conversions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.columns import Column
from mlembed.training.probes import IDS, MAX_SPLITS, N_BASES, N_RANDOM, probes

COLUMNS = (
    Column(name="age", kind="number", minimum=0.0, exclusive_minimum=True, maximum=120.0),
    Column(name="account", kind="integer"),
    Column(name="member", kind="boolean"),
    Column(name="town", kind="category", vocabulary=("oslo", "lyon"), rare=True),
    Column(name="seen", kind="timestamp"),
)
AGE, ACCOUNT, MEMBER, TOWN, SEEN = range(5)


def heldout(n: int = 50) -> Any:
    """Return rows the fit never saw."""
    random = np.random.default_rng(1)
    return np.column_stack(
        [
            random.uniform(18, 90, n),
            random.integers(1, 100, n),
            random.integers(0, 2, n),
            random.integers(0, 3, n),
            random.uniform(1e9, 2e9, n),
        ]
    )


def groups(**options: Any) -> dict[str, Any]:
    """Return the probes of the held-out rows."""
    return probes(heldout(), COLUMNS, options.get("splits", {}), seed=options.get("seed", 0))


def varied(x: Any, position: int) -> set[float]:
    """Return the values that *x* puts into one column of otherwise held-out rows."""
    known = set(heldout()[:, position].tolist())
    return {value for value in x[:, position].tolist() if value not in known}


def test_probes_hold_the_rows_given() -> None:
    """The held-out rows themselves come first, unchanged."""
    assert next(iter(groups())) == "heldout"
    assert (groups()["heldout"] == heldout()).all()


def test_probes_miss_each_column_and_all() -> None:
    """Every column is missing by itself in some row, and all of them in one."""
    missing = np.isnan(groups()["missing"])

    assert missing[:-1].sum(axis=1).tolist() == [1] * (N_BASES * len(COLUMNS))
    assert missing[:-1].any(axis=0).all()
    assert missing[-1].all()


def test_probes_stand_on_the_ends_of_ranges() -> None:
    """An end that is allowed is probed itself, one that is not right inside."""
    ends = varied(groups()["bounds"], AGE)

    assert ends == {float(np.nextafter(0.0, 1.0)), 120.0}


@given(
    thresholds=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=MAX_SPLITS, unique=True),
)
def test_probes_stand_on_both_sides_of_every_split(thresholds: list[float]) -> None:
    """A threshold is probed itself, right below and right above."""
    x = groups(splits={"account": thresholds})["splits"]

    around = {*thresholds, *np.nextafter(thresholds, -np.inf), *np.nextafter(thresholds, np.inf)}
    assert set(x[:, ACCOUNT].tolist()) == around
    assert len(x) == N_BASES * 3 * len(set(thresholds))


def test_probes_take_at_most_256_splits_a_column() -> None:
    """Of very many thresholds some are taken, evenly, the ends among them."""
    thresholds = np.arange(10_000.0)

    found = set(groups(splits={"account": thresholds})["splits"][:, ACCOUNT].tolist())

    assert len(found & set(thresholds.tolist())) == MAX_SPLITS
    assert {0.0, 9_999.0} <= found


def test_probes_ignore_splits_of_transforms() -> None:
    """A threshold on what is no column cannot be put into a row."""
    assert "splits" not in groups(splits={"log_age": [1.0]})


def test_probes_hold_every_code_and_some_that_do_not_exist() -> None:
    """Known values, the rare bucket, and codes beyond it are all probed."""
    towns = groups()["codes"][:, TOWN]

    assert set(towns.tolist()) >= {0.0, 1.0, 2.0, 3.0, 8.0}
    assert set(groups()["codes"][:, MEMBER].tolist()) == {0.0, 1.0}


def test_probes_hold_ids_that_smaller_numbers_lose() -> None:
    """Ids beyond float, int32 and double precision are probed where their range allows them."""
    x = groups()["ids"]

    assert varied(x, ACCOUNT) == set(IDS)
    assert varied(x, SEEN) == set(IDS)
    assert varied(x, AGE) == set()


def test_probes_draw_random_rows() -> None:
    """Random rows stay within what was seen, a tenth of each column missing, integers whole."""
    x = groups()["random"]
    missing = np.isnan(x).mean(axis=0)

    assert x.shape == (N_RANDOM, len(COLUMNS))
    assert np.all((missing > 0.05) & (missing < 0.15))
    for position in (AGE, ACCOUNT, SEEN):
        seen = heldout()[:, position]
        assert np.nanmin(x[:, position]) >= np.floor(seen.min())
        assert np.nanmax(x[:, position]) <= np.ceil(seen.max())
    whole = x[:, [ACCOUNT, MEMBER, TOWN]]
    assert np.all(np.isnan(whole) | (whole == np.floor(whole)))
    assert set(x[~np.isnan(x[:, TOWN]), TOWN].tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}


@pytest.mark.parametrize("n", [1, 2, 5])
def test_probes_of_few_rows(n: int) -> None:
    """One held-out row is enough to vary."""
    found = probes(heldout(n), COLUMNS, {"age": [40.0]}, seed=0)

    assert len(found["splits"]) == 3 * min(n, N_BASES)


def test_probes_of_a_column_missing_throughout() -> None:
    """A column nobody has seen is still probed."""
    x = heldout()
    x[:, AGE] = np.nan

    found = probes(x, COLUMNS, {}, seed=0)

    assert 0.0 <= np.nanmin(found["random"][:, AGE]) <= np.nanmax(found["random"][:, AGE]) <= 1.0


def test_probes_depend_on_the_seed_alone() -> None:
    """The same seed gives the same rows to the bit, another gives others."""
    first, again, other = groups(seed=1), groups(seed=1), groups(seed=2)

    assert {name: x.tobytes() for name, x in first.items()} == {
        name: x.tobytes() for name, x in again.items()
    }
    assert first["random"].tobytes() != other["random"].tobytes()
    assert first["codes"].tobytes() == other["codes"].tobytes()


def test_probes_leave_the_rows_given_alone() -> None:
    """What the caller handed over is not written to."""
    x = heldout()

    probes(x, COLUMNS, {"age": [40.0]}, seed=0)

    assert (x == heldout()).all()
