"""A threshold does what was asked of it on the rows it was chosen on, or there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.errors import DataError, DeclarationError, GateError
from mlembed.training.threshold import ByCapacity, ByCost, ByPrecision, ByRecall, Chosen

RULES = [
    ByCost(false_positive=1, false_negative=5),
    ByCapacity(share=0.5),
    ByPrecision(0.5),
    ByRecall(0.5),
]


def rows(n: int, seed: int = 0, ties: int = 0) -> tuple[Any, Any]:
    """Return labels and scores that agree somewhat; the scores on *ties* levels, if any."""
    random = np.random.default_rng(seed)
    scores = random.random(n)
    y = (random.random(n) < scores) * 1.0
    y[:2] = [0.0, 1.0]
    return y, np.round(scores * ties) / ties if ties else scores


@given(
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 500),
    n=st.integers(4, 60),
    ties=st.sampled_from([0, 1, 3, 8]),
)
def test_threshold_is_never_a_score_that_was_seen(rule: Any, seed: int, n: int, ties: int) -> None:
    """No row lies on the threshold, so the last bit of a score decides no label."""
    y, scores = rows(n, seed, ties)
    try:
        chosen = rule.choose(y, scores, {})
    except GateError:
        return

    assert np.isfinite(chosen.value)
    assert chosen.value not in scores
    assert chosen.detail["labelled"] == np.sum(scores >= chosen.value)


def test_threshold_lies_midway() -> None:
    """The threshold has as much room below as above."""
    chosen = ByRecall(1.0).choose(np.array([0.0, 1.0]), np.array([0.25, 0.75]), {})

    assert chosen.value == 0.5


def test_threshold_tells_no_neighbouring_doubles_apart() -> None:
    """Two scores with no double between them stay on one side."""
    scores = np.array([0.5, np.nextafter(0.5, 1), 0.2])

    chosen = ByRecall(0.4).choose(np.array([0.0, 1.0, 0.0]), scores, {})

    assert chosen.detail["labelled"] == 2


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.2, 0.8), (-3.0, 7.0)])
def test_threshold_may_label_nobody_or_everybody(low: float, high: float) -> None:
    """Where missing costs next to nothing nobody is labelled, where it costs most everybody is."""
    y, scores = np.array([1.0, 0.0, 0.0]), np.array([low, high, high])

    none = ByCost(false_positive=10, false_negative=1).choose(y, scores, {})
    everybody = ByCost(false_positive=1, false_negative=10).choose(y, scores, {})

    assert none.value > high
    assert everybody.value < low


@given(
    seed=st.integers(0, 500), ties=st.sampled_from([0, 4]), wrong=st.floats(0.1, 9), n=st.just(40)
)
def test_cost_is_the_least_of_all_thresholds(seed: int, ties: int, wrong: float, n: int) -> None:
    """No other threshold has a lower cost by amounts that differ from row to row."""
    y, scores = rows(n, seed, ties)
    amounts = np.random.default_rng(seed).uniform(0, 10, n)
    rule = ByCost(false_positive=wrong, false_negative="amount", review=0.25)

    chosen = rule.choose(y, scores, {"amount": amounts})

    def cost(threshold: float) -> float:
        called = scores >= threshold
        return float(
            np.mean(called * (0.25 + wrong * (y == 0)) + ~called * amounts * (y == 1)),
        )

    everywhere = [cost(t) for t in [*np.unique(scores), 2.0]]
    assert cost(chosen.value) == pytest.approx(min(everywhere))
    assert chosen.detail["mean_cost"] == pytest.approx(min(everywhere))
    assert chosen.detail["mean_cost_of_none"] == pytest.approx(cost(2.0))
    assert chosen.detail["mean_cost_of_all"] == pytest.approx(cost(-1.0))


def test_cost_follows_the_amounts() -> None:
    """The same scores get another threshold where the rows to be missed are dear."""
    y, scores = np.array([1.0, 0.0, 0.0, 1.0]), np.array([0.2, 0.4, 0.6, 0.8])
    rule = ByCost(false_positive=10.0, false_negative="loss")

    cheap = rule.choose(y, scores, {"loss": np.array([1.0, 0, 0, 50])})
    dear = rule.choose(y, scores, {"loss": np.array([100.0, 0, 0, 50])})

    assert [cheap.value, dear.value] == pytest.approx([0.7, 0.1])
    assert rule.columns == ("loss",)


@pytest.mark.parametrize("amount", [np.nan, -1.0, np.inf])
def test_cost_refuses_amounts_that_are_none(amount: float) -> None:
    """A missing, negative or infinite amount is counted and named by its column."""
    y, scores = rows(10)
    amounts: Any = np.r_[np.ones(9), amount]

    with pytest.raises(DataError, match=r"'loss' must hold amounts.* 1 of 10 rows"):
        ByCost(false_positive=1, false_negative="loss").choose(y, scores, {"loss": amounts})


def test_cost_refuses_columns_it_cannot_use() -> None:
    """A column that is absent, of other rows, of words or 0 throughout is an error that names it."""
    rule, (y, scores) = ByCost(false_positive="loss", false_negative="loss"), rows(4)

    for column, message in (
        ({}, "which the table lacks"),
        ({"loss": np.ones(3)}, "3 values for 4 rows"),
        ({"loss": np.array(["a"] * 4)}, "as numbers"),
        ({"loss": np.zeros(4)}, "all costs of these rows are 0"),
    ):
        with pytest.raises(DataError, match=message):
            rule.choose(y, scores, column)


@given(seed=st.integers(0, 500), share=st.floats(0.05, 1), ties=st.sampled_from([0, 7]))
def test_capacity_is_used_and_never_exceeded(seed: int, share: float, ties: int) -> None:
    """As many rows as fit are labelled; one score more would be too many."""
    y, scores = rows(60, seed, ties)
    try:
        chosen = ByCapacity(share=share).choose(y, scores, {})
    except GateError:
        assert np.sum(scores == scores.max()) > int(share * 60)
        return

    most = chosen.detail["capacity"]
    left = scores[scores < chosen.value]
    assert chosen.detail["labelled"] <= most
    assert not left.size or np.sum(scores >= left.max()) > most


def test_capacity_takes_decimals_at_their_word() -> None:
    """29 % of 100 rows are 29, though the double nearest to 0.29 is less."""
    y, scores = rows(100)

    assert ByCapacity(share=0.29).choose(y, scores, {}).detail["labelled"] == 29


def test_capacity_counts_rows_per_period() -> None:
    """Rows per day, or per so many rows, are scaled to the rows at hand."""
    y, scores = rows(100)
    days = np.array([f"day {i % 4}" for i in range(100)])

    daily = ByCapacity(rows=5, per="day")
    chosen = daily.choose(y, scores, {"day": days})

    assert daily.columns == ("day",)
    assert (chosen.detail["labelled"], chosen.detail["periods"]) == (20, 4)
    assert 5 <= chosen.detail["busiest"] <= 20
    assert ByCapacity(rows=5, per=50).choose(y, scores, {}).detail["labelled"] == 10
    assert ByCapacity(rows=500).choose(y, scores, {}).detail["labelled"] == 100


def test_capacity_cannot_choose_among_equals() -> None:
    """Where more rows than fit share the highest score there is no threshold."""
    with pytest.raises(GateError, match="10 rows share the highest score, the capacity is 5"):
        ByCapacity(share=0.5).choose(*(rows(10)[0], np.ones(10)), {})


def test_capacity_of_less_than_a_row_is_refused() -> None:
    """One in a thousand of ten rows is nobody."""
    with pytest.raises(DataError, match="less than one row"):
        ByCapacity(share=0.001).choose(*rows(10), {})


@given(seed=st.integers(0, 500), target=st.floats(0.1, 1), ties=st.sampled_from([0, 6]))
def test_precision_is_reached_by_the_most_rows(seed: int, target: float, ties: int) -> None:
    """The precision is reached, and by no lower threshold."""
    y, scores = rows(50, seed, ties)

    def precision(threshold: float) -> float:
        return float(np.mean(y[scores >= threshold]))

    reaching = [t for t in np.unique(scores) if precision(t) >= target]
    if not reaching:
        with pytest.raises(GateError, match="no threshold has a precision of"):
            ByPrecision(target).choose(y, scores, {})
        return

    chosen = ByPrecision(target).choose(y, scores, {})

    assert chosen.detail["precision"] == precision(chosen.value) >= target
    assert np.sum(scores >= chosen.value) == np.sum(scores >= min(reaching))


def test_precision_out_of_reach_tells_the_best() -> None:
    """The error says what is within reach, in words a declaration can be changed by."""
    y, scores = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.9, 0.8, 0.3, 0.2])

    with pytest.raises(
        GateError, match=r"precision of 0.9 .* the best is 0.5000, with a recall of 0.5000"
    ):
        ByPrecision(0.9).choose(y, scores, {})


@given(seed=st.integers(0, 500), target=st.floats(0.1, 1), ties=st.sampled_from([0, 6]))
def test_recall_is_reached_by_the_fewest_rows(seed: int, target: float, ties: int) -> None:
    """The recall is reached, and by no higher threshold."""
    y, scores = rows(50, seed, ties)

    chosen = ByRecall(target).choose(y, scores, {})

    higher = scores[scores >= chosen.value].min() + 1e-12
    assert np.sum(y[scores >= chosen.value]) / y.sum() >= target
    assert np.sum(y[scores >= higher]) / y.sum() < target


@pytest.mark.parametrize("rule", [RULES[0], RULES[2], RULES[3]])
@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_threshold_needs_both_classes(rule: Any, truth: float) -> None:
    """Rows of one class cannot tell where the other begins."""
    with pytest.raises(DataError, match="both classes; all 5 are of one"):
        rule.choose(np.full(5, truth), np.linspace(0, 1, 5), {})


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("y", "scores", "message"),
    [
        ([], [], "no rows"),
        ([0.0, 1.0], [0.1, np.nan], "1 of 2 scores are missing or infinite"),
        ([0.0, np.nan], [0.1, 0.2], "1 of 2 labels are missing"),
        ([0.0, 2.0], [0.1, 0.2], "labels of 0 and 1"),
        ([0.0], [0.1, 0.2], "1 labels and 2 scores"),
    ],
)
def test_threshold_refuses_rows_it_cannot_judge(
    rule: Any, y: Any, scores: Any, message: str
) -> None:
    """No rows, missing scores and labels of another kind are errors that count them."""
    with pytest.raises(DataError, match=message):
        rule.choose(np.array(y, dtype=float), np.array(scores, dtype=float), {})


@pytest.mark.parametrize(
    "declare",
    [
        lambda: ByCost(false_positive=-1, false_negative=1),
        lambda: ByCost(false_positive=float("nan"), false_negative=1),
        lambda: ByCost(false_positive=1, false_negative=""),
        lambda: ByCost(false_positive=1, false_negative=0),
        lambda: ByCost(false_positive=0, false_negative=1),
        ByCapacity,
        lambda: ByCapacity(share=0.1, rows=3),
        lambda: ByCapacity(share=0.0),
        lambda: ByCapacity(share=1.5),
        lambda: ByCapacity(share="0.1"),  # type: ignore[arg-type]
        lambda: ByCapacity(rows=0),
        lambda: ByCapacity(share=0.1, per=10),
        lambda: ByCapacity(rows=10, per=5),
        lambda: ByPrecision(0),
        lambda: ByPrecision(True),  # noqa: FBT003
        lambda: ByPrecision(90),
        lambda: ByRecall(float("nan")),
    ],
)
def test_rules_refuse_what_means_nothing(declare: Any) -> None:
    """A declaration that no rows could satisfy is refused where it is written."""
    with pytest.raises(DeclarationError):
        declare()


def test_chosen_is_plain_json() -> None:
    """What was asked and what it brings can be written down as it is."""
    chosen = ByCost(false_positive=1, false_negative="loss").choose(
        *rows(20), {"loss": np.arange(20)}
    )

    assert chosen.to_json()["detail"]["asked"] == {
        "false_positive": 1,
        "false_negative": "loss",
        "review": 0.0,
    }
    assert Chosen("declared", 0.5).to_json() == {"rule": "declared", "value": 0.5, "detail": {}}
