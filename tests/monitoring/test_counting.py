"""Logged values fall into the bins where the model itself put them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from bundles import toy_bundle
from mlembed.bundle.bundle import pack
from mlembed.columns import Category, Column
from mlembed.errors import BundleError
from mlembed.monitoring.counting import Profile, count, read_reference
from mlembed.telemetry.profiles import category_bins, number_bins


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
        {
            "n": 1,
            "columns": {},
            "score": {"kind": "number", "edges": [10**400], "counts": [1, 1], "missing": 0},
        },
    ],
)
def test_read_reference_refuses_a_malformed_one(broken: Any) -> None:
    """A reference that is not what mlembed writes is an error, not a wrong judgement."""
    bundle = toy_bundle()

    # Not written by our own hand, which would refuse an endless number.
    files = {**bundle.files, "reference.json": json.dumps(broken).encode()}

    with pytest.raises(BundleError, match=r"reference\.json"):
        read_reference(pack(bundle.manifest, files))


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


@pytest.mark.parametrize(
    ("edges", "labels"),
    [
        ([], ("all values",)),
        ([0.5], ("less than 0.5", "0.5 or more")),
        ([35442.91, 1e6], ("less than 35440", "35440 to 1000000", "1000000 or more")),
        (
            [100_000.1, 100_000.2],
            ("less than 100000.1", "100000.1 to 100000.2", "100000.2 or more"),
        ),
        ([-1e-9, 1e20], ("less than -1e-09", "-1e-09 to 1e+20", "1e+20 or more")),
    ],
)
def test_profile_labels_keep_bins_apart(edges: list[float], labels: tuple[str, ...]) -> None:
    """Edges are rounded for people, but never so far that two of them look alike."""
    profile = Profile(
        kind="number", edges=np.array(edges), values=(), counts=np.ones(len(edges) + 1), missing=0.0
    )

    assert profile.labels == labels
