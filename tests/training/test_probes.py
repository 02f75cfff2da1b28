"""The rows of a proof are chosen by rule and seed, and hold what breaks conversions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.columns import Category, Column
from mlembed.training.probes import (
    EXTREMES,
    IDS,
    N_BASES,
    N_HELDOUT,
    N_RANDOM,
    N_RECOMBINED,
    N_SAMPLED,
    TIMES,
    may_be_missing,
    probes,
)

COLUMNS = (
    Column(name="age", kind="number", minimum=0.0, exclusive_minimum=True, maximum=120.0),
    Column(name="account", kind="integer", nullable=True),
    Column(name="member", kind="boolean", nullable=True),
    Column(name="town", kind="category", vocabulary=("oslo", "lyon"), rare=True, nullable=True),
    Column(name="seen", kind="timestamp", nullable=True),
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
    found = probes(
        options.get("x", heldout()),
        COLUMNS,
        options.get("splits", {}),
        seed=options.get("seed", 0),
    )
    return {name: np.vstack([*probe.blocks()]) for name, probe in found.items()}


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
    found = groups()
    missing = np.isnan(np.vstack([found["missing"], found["foreign_missing"]]))

    assert missing.sum(axis=1).tolist() == [1] * (N_BASES * len(COLUMNS))
    assert missing.any(axis=0).all()
    assert np.isnan(found["all_missing"]).tolist() == [[False, *[True] * (len(COLUMNS) - 1)]]
    assert np.isnan(found["foreign_all_missing"]).tolist() == [[True] * len(COLUMNS)]


def test_probes_tell_apart_what_no_host_can_send() -> None:
    """Missing values of columns that must be there, and codes beyond the vocabulary, are foreign."""
    found = probes(heldout(), COLUMNS, {}, seed=0)

    foreign = {name for name, probe in found.items() if probe.is_foreign}

    assert foreign == {name for name in found if name.startswith("foreign_")}
    for name in set(found) - foreign:
        x = np.vstack([*found[name].blocks()])
        assert not np.isnan(x[:, AGE]).any(), name
        assert not (x[:, TOWN] > 2.0).any(), name


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Column(name="c", kind="number"), False),
        (Column(name="c", kind="number", nullable=True), True),
        (Column(name="c", kind="category", vocabulary=("a",)), True),
        (Column(name="c", kind="category", vocabulary=("a",), rare=True), False),
        (
            Column(name="c", kind="category", vocabulary=("a",), rule=Category(unknown="error")),
            False,
        ),
        (Column(name="c", kind="category", rule=Category(unknown="missing")), True),
    ],
    ids=str,
)
def test_may_be_missing_counts_unknown_values(column: Column, expected: Any) -> None:
    """A value outside the vocabulary can be served as a missing one, though none is declared."""
    assert may_be_missing(column) is expected


def test_probes_stand_on_the_ends_of_ranges() -> None:
    """An end that is allowed is probed itself, one that is not right inside."""
    ends = varied(groups()["bounds"], AGE)

    assert ends == {float(np.nextafter(0.0, 1.0)), 120.0}


@given(
    thresholds=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200, unique=True),
)
def test_probes_stand_on_both_sides_of_every_split(thresholds: list[float]) -> None:
    """A threshold is probed itself, right below and right above."""
    found = groups(splits={"account": thresholds})

    around = {*thresholds, *np.nextafter(thresholds, -np.inf), *np.nextafter(thresholds, np.inf)}
    assert set(found["all_splits"][:, ACCOUNT].tolist()) == around
    assert len(found["all_splits"]) == 3 * len(thresholds)
    assert set(found["splits"][:, ACCOUNT].tolist()) <= around
    assert len(found["splits"]) == 3 * N_BASES * min(len(thresholds), N_SAMPLED)


def test_probes_sample_splits_evenly() -> None:
    """Of very many thresholds some, the ends among them, are tried on several rows."""
    thresholds = (np.arange(10_000.0) + 0.25).tolist()

    cells = groups(splits={"account": thresholds})["splits"][:, ACCOUNT]

    found, counts = np.unique(cells, return_counts=True)
    assert len(found) == 3 * N_SAMPLED
    assert {0.25, 9_999.25} <= set(found.tolist())
    assert set(counts.tolist()) == {N_BASES}


def test_probes_leave_no_split_out_however_many_there_are() -> None:
    """Of a forest's thresholds none is skipped: a row then holds one of each column."""
    ages = np.linspace(1.0, 119.0, 20_000)
    accounts = np.arange(50_000.0) + 0.5

    found = probes(heldout(), COLUMNS, {"age": ages.tolist(), "account": accounts.tolist()}, seed=0)

    probe = found["all_splits"]
    x = np.vstack([*probe.blocks()])
    assert len(x) == 3 * 50_000
    assert set(ages.tolist()) <= set(x[:, AGE].tolist())
    assert set(np.nextafter(accounts, 0.0).tolist()) <= set(x[:, ACCOUNT].tolist())
    assert abs(np.corrcoef(x[:60_000, AGE], x[:60_000, ACCOUNT])[0, 1]) < 0.05


def test_probes_are_made_block_by_block() -> None:
    """However many thresholds there are, no block outgrows a million cells."""
    splits = {"account": [*map(float, range(100_000))]}
    probe = probes(heldout(), COLUMNS, splits, seed=0)["all_splits"]

    sizes = [block.size for block in probe.blocks()]

    assert len(sizes) > 1
    assert max(sizes) <= 1_000_000
    assert sum(sizes) == len(probe) * len(COLUMNS)


def test_probes_try_nothing_between_codes() -> None:
    """A host sends whole codes, so no threshold between two of them is a row it can send."""
    thresholds = {"town": [0.5, 1.0], "member": [0.5], "account": [2.5]}

    found = groups(splits=thresholds)

    for name in ("splits", "all_splits"):
        assert varied(found[name], TOWN) == varied(found[name], MEMBER) == set()
        assert 2.5 in varied(found[name], ACCOUNT)


def test_probes_ignore_splits_of_transforms() -> None:
    """A threshold on what is no column cannot be put into a row."""
    assert not {"splits", "all_splits"} & set(groups(splits={"log_age": [1.0]}))


def test_probes_hold_every_code_and_some_that_do_not_exist() -> None:
    """Known values, the rare bucket, and codes beyond it are all probed."""
    known, foreign = groups()["codes"][:, TOWN], groups()["foreign_codes"][:, TOWN]

    assert set(known.tolist()) == {0.0, 1.0, 2.0}
    assert set(foreign.tolist()) == {3.0, 8.0}
    assert set(groups()["codes"][:, MEMBER].tolist()) == {0.0, 1.0}


def test_probes_hold_ids_that_smaller_numbers_lose() -> None:
    """Ids beyond float, int32 and double precision are probed where their range allows them."""
    x = groups()["ids"]

    assert varied(x, ACCOUNT) == set(IDS)
    assert varied(x, SEEN) == set(IDS)
    assert varied(x, AGE) == set()


def test_probes_hold_times_before_1970() -> None:
    """Instants with a negative number of seconds are probed, on timestamps alone."""
    x = groups()["times"]

    assert varied(x, SEEN) == set(TIMES)
    assert varied(x, ACCOUNT) == set()


def test_probes_hold_signed_zeros_subnormals_and_very_large_numbers() -> None:
    """Numbers at the ends of what a double holds are probed where the range allows them."""
    wide = (Column(name="n", kind="number"), *COLUMNS[1:])

    x = np.vstack([*probes(heldout(), wide, {}, seed=0)["extremes"].blocks()])

    assert varied(x, AGE) == set(EXTREMES)
    assert np.signbit(x[x[:, AGE] == 0.0, AGE]).any()
    assert varied(groups()["extremes"], AGE) == {5e-324, 2.0**-1022}


def test_probes_take_some_of_very_many_rows_given() -> None:
    """Of more held-out rows than are compared, evenly spaced ones are, both ends among them."""
    x = np.repeat(heldout(1), 3 * N_HELDOUT, axis=0)
    x[:, ACCOUNT] = np.arange(len(x))

    found = groups(x=x)["heldout"]

    assert len(found) == N_HELDOUT
    assert set(np.diff(found[:, ACCOUNT]).tolist()) <= {3.0, 4.0}
    assert found[[0, -1], ACCOUNT].tolist() == [0.0, len(x) - 1.0]


def test_probes_recombine_rows() -> None:
    """Each cell is one that its column was seen with, from a row of its own."""
    x = groups()["recombined"]
    rows = {row.tobytes() for row in heldout()}

    assert x.shape == (N_RECOMBINED, len(COLUMNS))
    assert all(varied(x, position) == set() for position in range(len(COLUMNS)))
    assert np.mean([row.tobytes() in rows for row in x]) < 0.05


@pytest.mark.parametrize("name", ["random", "foreign_random"])
def test_probes_draw_random_rows(name: str) -> None:
    """Random rows stay within what was seen, a tenth of each column missing, integers whole."""
    x = groups()[name]
    missing = np.isnan(x).mean(axis=0)

    assert x.shape == (N_RANDOM, len(COLUMNS))
    if name == "random":
        assert missing[AGE] == 0.0
        assert np.all((missing[1:] > 0.05) & (missing[1:] < 0.15))
    else:
        assert np.all((missing > 0.05) & (missing < 0.25))
    for position in (AGE, ACCOUNT, SEEN):
        seen = heldout()[:, position]
        assert np.nanmin(x[:, position]) >= np.floor(seen.min())
        assert np.nanmax(x[:, position]) <= np.ceil(seen.max())
    whole = x[:, [ACCOUNT, MEMBER, TOWN]]
    assert np.all(np.isnan(whole) | (whole == np.floor(whole)))
    codes = {0.0, 1.0, 2.0} if name == "random" else {0.0, 1.0, 2.0, 3.0, 4.0}
    assert set(x[~np.isnan(x[:, TOWN]), TOWN].tolist()) == codes


@pytest.mark.parametrize("n", [1, 2, 5])
def test_probes_of_few_rows(n: int) -> None:
    """One held-out row is enough to vary."""
    found = probes(heldout(n), COLUMNS, {"age": [40.0]}, seed=0)

    assert len(found["splits"]) == 3 * min(n, N_BASES)
    assert len(found["all_splits"]) == 3


def test_probes_of_a_column_missing_throughout() -> None:
    """A column nobody has seen is still probed."""
    x = heldout()
    x[:, AGE] = np.nan

    ages = groups(x=x)["random"][:, AGE]

    assert 0.0 <= np.nanmin(ages) <= np.nanmax(ages) <= 1.0


def test_probes_draw_between_numbers_further_apart_than_a_double_can_say() -> None:
    """Sentinels at both ends of doubles are seen, and what lies between them is drawn."""
    x = heldout()
    x[:2, AGE] = -1.7e308, 1.7e308

    ages = groups(x=x)["random"][:, AGE]

    assert -1.7e308 <= ages.min() < -1e308 < 1e308 < ages.max() <= 1.7e308


def test_probes_draw_the_one_number_that_was_seen() -> None:
    """Rounding does not lift a random row out of what was seen."""
    x = heldout()
    x[:, AGE] = 49.9

    assert set(groups(x=x)["random"][:, AGE].tolist()) == {49.9}


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
