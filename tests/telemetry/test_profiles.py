"""Bins come from the reference, hold every value once, and add up."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.columns import Column
from mlembed.telemetry.profiles import (
    MAX_VALUES,
    MIN_SHARE,
    N_BINS,
    Bins,
    category_bins,
    number_bins,
    reference_profile,
)

NUMBERS = st.lists(
    st.floats(allow_nan=True, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.0, 2.0]),
    max_size=200,
).map(np.array)
CODES = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 9.0, np.nan]), max_size=200).map(
    np.array
)
VOCABULARY = ("a", "b", "c")


def counted(bins: Bins, values: Any) -> list[int]:
    """Count *values* as any process does that has only the bundle's edges."""
    present = values[~np.isnan(values)]
    places = np.searchsorted(bins.edges, present, side="right")
    counts: list[int] = np.bincount(places, minlength=len(bins.edges) + 1).tolist()
    return counts


@given(values=NUMBERS)
def test_number_bins_hold_every_value_once(values: Any) -> None:
    """The counts are those of the edges they name, and with the missing they are all."""
    bins = number_bins(values.astype(float))

    assert list(bins.counts) == counted(bins, values)
    assert sum(bins.counts) + bins.missing == len(values)
    assert bins.missing == np.isnan(values).sum()


@given(values=NUMBERS)
def test_number_bins_have_at_most_nine_increasing_edges(values: Any) -> None:
    """Edges are values that occur or the next double, so no bin is an accident of rounding."""
    edges = number_bins(values.astype(float)).edges

    assert len(edges) < N_BINS
    assert all(a < b for a, b in itertools.pairwise(edges))
    assert all(np.isfinite(edges))
    assert len(edges) >= 1 or np.isnan(values).all()


@given(parts=st.lists(NUMBERS, max_size=5), reference=NUMBERS)
def test_number_counts_of_parts_add_up(parts: list[Any], reference: Any) -> None:
    """Counts of parts, in the bins of one reference, sum to the counts of the whole."""
    bins = number_bins(reference.astype(float))
    whole = np.concatenate([np.empty(0), *parts])

    summed = np.zeros(len(bins.counts), dtype=int)
    for part in parts:
        summed += counted(bins, part)

    assert summed.tolist() == counted(bins, whole)


def test_number_bins_are_deciles() -> None:
    """A thousand different values fall into ten bins of a hundred."""
    bins = number_bins(np.random.default_rng(0).permutation(1_000.0 * np.arange(1_000)))

    assert len(bins.counts) == N_BINS
    assert max(bins.counts) - min(bins.counts) <= 2


def test_number_bins_ignore_how_far_an_outlier_lies() -> None:
    """One absurd value moves no edge, so it cannot hide a shift of the others."""
    values = np.arange(1_000.0)
    absurd = np.append(values[:-1], 1e300)

    assert number_bins(absurd).edges == number_bins(values).edges


def test_number_bins_put_an_edge_into_the_bin_above() -> None:
    """A value that equals an edge belongs to the bin that begins there."""
    bins = number_bins(np.array([0.0] * 5 + [1.0] * 5))

    assert bins.edges == (1.0,)
    assert bins.counts == (5, 5)


@pytest.mark.parametrize("values", [[7.0] * 100, [7.0] * 95 + [8.0] * 5])
def test_number_bins_of_one_value_see_another(values: list[float]) -> None:
    """Where one value fills nearly all, what lies below, at and above it is told apart."""
    bins = number_bins(np.array(values))

    assert counted(bins, np.array([6.0])) != counted(bins, np.array([7.0]))
    assert counted(bins, np.array([7.0])) != counted(bins, np.array([8.0]))


@given(codes=CODES)
def test_category_bins_hold_every_code_once(codes: Any) -> None:
    """Named values, all others and the missing are every row once."""
    bins = category_bins(codes.astype(float), VOCABULARY)

    assert len(bins.counts) == len(bins.values) + 1
    assert sum(bins.counts) + bins.missing == len(codes)
    for value, count in zip(bins.values, bins.counts, strict=False):
        assert count == (codes == VOCABULARY.index(value)).sum()


@given(codes=CODES)
def test_category_bins_name_the_frequent(codes: Any) -> None:
    """A value is named if it has its share of the rows, the most frequent first."""
    bins = category_bins(codes.astype(float), VOCABULARY)
    n_present = (~np.isnan(codes.astype(float))).sum()
    share = {v: (codes == i).sum() for i, v in enumerate(VOCABULARY)}

    assert set(bins.values) == {v for v, n in share.items() if n >= MIN_SHARE * max(1, n_present)}
    named = bins.counts[:-1]
    assert list(named) == sorted(named, reverse=True)


def test_category_bins_name_fifty_at_most() -> None:
    """However many categories there are, the profile stays small."""
    vocabulary = [f"v{number}" for number in range(120)]
    codes = np.repeat(np.arange(120.0), 3)

    bins = category_bins(codes, vocabulary)

    assert bins.values == tuple(vocabulary[:MAX_VALUES])
    assert bins.counts[-1] == 3 * (120 - MAX_VALUES)


def test_reference_profile_describes_every_column() -> None:
    """Numbers, categories and booleans are profiled, timestamps are not, and it is all JSON."""
    columns = (
        Column(name="age", kind="number", nullable=True),
        Column(name="visits", kind="integer"),
        Column(name="member", kind="boolean"),
        Column(name="town", kind="category", vocabulary=("oslo", "lyon"), rare=True),
        Column(name="seen", kind="timestamp"),
    )
    matrix = np.array([[np.nan, 1, 1, 2, 1e9], [40, 2, 0, 0, 1e9], [50, 3, 1, 0, 1e9]])

    profile = json.loads(
        json.dumps(reference_profile(columns, matrix, np.array([0.1, 0.2, 0.3])), allow_nan=False)
    )

    assert profile["n"] == 3
    assert sorted(profile["columns"]) == ["age", "member", "town", "visits"]
    assert profile["columns"]["age"]["missing"] == 1
    assert profile["columns"]["member"] == {
        "kind": "category",
        "values": ["true", "false"],
        "counts": [2, 1, 0],
        "missing": 0,
    }
    assert profile["columns"]["town"]["values"] == ["oslo"]
    assert profile["columns"]["town"]["counts"] == [2, 1]
    assert sum(profile["score"]["counts"]) == 3
