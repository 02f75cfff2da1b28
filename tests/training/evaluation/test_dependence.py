"""The mean score at each value is that of the mechanism, and says where rows are."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlembed.errors import DataError
from mlembed.training.evaluation.dependence import MAX_POINTS, dependence, worth_describing
from training.evaluation.scenes import amounts, cells, odds, trade


def test_dependence_of_a_number_follows_the_score() -> None:
    """The line of an additive score is that column's own part of it, up to a constant."""
    (found,) = dependence(amounts(3000), ["age"], odds)

    assert found["kind"] == "number"
    assert len(found["x"]) == len(found["y"]) == len(found["share"]) == MAX_POINTS
    assert np.diff(found["y"]) / np.diff(found["x"]) == pytest.approx(np.full(MAX_POINTS - 1, 0.08))
    assert sum(found["share"]) + found["missing"]["share"] == pytest.approx(1)
    assert found["missing"]["share"] == pytest.approx(0.1, abs=0.02)
    at_fifty = np.interp(50, found["x"], found["y"])
    assert found["missing"]["y"] == pytest.approx(at_fifty)


def test_dependence_of_a_category_names_its_values() -> None:
    """Every value has its label, mean score and share, the most frequent first."""
    job, member = dependence(amounts(3000), ["job", "member"], odds)

    assert job["labels"] == ["clerk", "cook", "nurse", "rare"]
    assert job["x"] == [0, 1, 2, 3]
    assert job["y"][1] - job["y"][0] == pytest.approx(1.0)
    assert job["share"] == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert set(member["labels"]) == {"yes", "no"}
    assert "missing" not in job


def test_dependence_of_missing_categories_is_a_value() -> None:
    """A missing category is a label of its own."""
    x = cells(400)
    x[:100, 1] = np.nan

    (found,) = dependence(amounts(400, x=x), ["job"], odds)

    assert found["labels"][-1] == "missing"
    assert found["share"][-1] == 0.25
    assert sum(found["share"]) == pytest.approx(1)


def test_dependence_of_constant_and_empty_columns_is_plain() -> None:
    """One value is one point, no value is none but the missing one, and all of it is JSON."""
    x = cells(50)
    x[:, 0], x[:, 5] = np.nan, 3.0
    x[0, 5], x[:, 3] = np.inf, np.inf

    age, noise, visits = dependence(trade(50, x=x), ["age", "noise", "visits"], odds)

    assert (age["x"], age["y"], age["missing"]["share"]) == ([], [], 1.0)
    assert (noise["x"], noise["share"]) == ([3.0], [0.98])
    assert (visits["x"], visits["y"], visits["share"]) == ([], [], [])
    json.dumps([age, noise, visits], allow_nan=False)


def test_dependence_of_few_values_has_one_point_each() -> None:
    """A count with a handful of values is described at each of them."""
    rows = amounts(1000)

    (found,) = dependence(rows, ["visits"], odds)

    assert found["x"] == sorted(set(rows.x[:, 3]))
    assert found["share"] == pytest.approx([np.mean(rows.x[:, 3] == x) for x in found["x"]])


def test_dependence_spends_its_points_where_values_differ() -> None:
    """Where nine rows in ten share a value the others still get points."""
    x = cells(2000)
    x[200:, 0] = 0.0

    (found,) = dependence(amounts(2000, x=x), ["age"], odds)

    assert found["x"][0] == 0.0
    assert found["share"][0] == pytest.approx(0.9, abs=0.02)
    assert 15 <= len(found["x"]) <= MAX_POINTS


def test_dependence_refuses_an_unknown_column() -> None:
    """A misspelt column is an error."""
    with pytest.raises(DataError, match="no column 'wage'"):
        dependence(trade(20), ["wage"], odds)


def test_only_what_matters_is_worth_describing() -> None:
    """At most six columns, and none that drops nothing."""
    found = [{"column": f"c{i}", "drop": 8.0 - i} for i in range(12)]

    assert worth_describing(found) == [f"c{i}" for i in range(6)]
    assert worth_describing(found[8:]) == []
