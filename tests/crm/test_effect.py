"""What actions brought: groups, intervals and what is concluded from them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from typing import TYPE_CHECKING, Any

import pytest
import scipy.stats

from crm.receiver import action
from mlembed_crm.effect import effects, lookup, wilson

if TYPE_CHECKING:
    from mlembed_crm import Action
    from mlembed_crm.action import State


def group(state: State, n: int, first: int = 0) -> list[Action]:
    """Return actions of *n* entities."""
    return [dataclasses.replace(action(f"{state}-{k}"), state=state) for k in range(first, n)]


def outcome_by(values: dict[str, Any]) -> Any:
    """Return what finds outcomes by the entity's key."""
    return lookup({}, values)


def told(treated: list[Any], control: list[Any]) -> Any:
    """Return the one effect of two groups with these outcomes."""
    actions = group("sent", len(treated)) + group("held", len(control))
    values = {f"sent-{k}": value for k, value in enumerate(treated)}
    values |= {f"held-{k}": value for k, value in enumerate(control)}
    (effect,) = effects(actions, outcome_by(values))
    return effect


@pytest.mark.parametrize(
    ("treated", "control", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table II, method 10.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0),
        ((5, 56), (0, 29), -0.0381, 0.1926),
    ],
)
def test_interval_of_two_shares_is_newcombes(
    treated: tuple[int, int], control: tuple[int, int], low: float, high: float
) -> None:
    """The published figures come out."""
    outcomes = [[place < hits for place in range(n)] for hits, n in (treated, control)]

    effect = told(*outcomes)

    assert effect.kind == "share"
    assert effect.low == pytest.approx(low, abs=5e-5)
    assert effect.high == pytest.approx(high, abs=5e-5)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (81, 263)])
def test_interval_of_a_share_is_wilsons(hits: int, n: int) -> None:
    """As an independent implementation has it."""
    expected = scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")

    assert wilson(hits, n) == pytest.approx((expected.low, expected.high))


def test_interval_of_two_means_is_the_normal_one() -> None:
    """With variances of their own, as Welch's for many outcomes."""
    draw = random.Random(1)  # noqa: S311  it guards nothing
    treated = [draw.gauss(12, 3) for _ in range(400)]
    control = [draw.gauss(10, 5) for _ in range(300)]
    welch = scipy.stats.ttest_ind(treated, control, equal_var=False).confidence_interval()

    effect = told(treated, control)

    assert effect.kind == "mean"
    assert effect.verdict == "higher"
    assert (effect.low, effect.high) == pytest.approx((welch.low, welch.high), abs=5e-3)


def test_few_numbers_have_a_mean_and_no_interval() -> None:
    """An interval that could not be trusted is not shown."""
    effect = told([1.0] * 29, [0.5] * 300)

    assert effect.uplift == pytest.approx(0.5)
    assert (effect.low, effect.verdict) == (None, "insufficient")


@pytest.mark.parametrize(
    ("treated", "control", "verdict"),
    [
        ([True] * 80 + [False] * 20, [True] * 50 + [False] * 50, "higher"),
        ([True] * 50 + [False] * 50, [True] * 80 + [False] * 20, "lower"),
        ([True] * 52 + [False] * 48, [True] * 50 + [False] * 50, "open"),
        ([True] * 52, [None] * 50, "insufficient"),
        ([True] * 52, [], "insufficient"),
    ],
)
def test_verdict_follows_the_interval(treated: list[Any], control: list[Any], verdict: str) -> None:
    """Only an interval without 0 is a difference."""
    assert told(treated, control).verdict == verdict


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 600 trials with a true uplift of 0.1, about 95 % have it in their interval."""
    draw = random.Random(7)  # noqa: S311  idem
    held = 0
    for _ in range(600):
        treated = [draw.random() < 0.4 for _ in range(120)]
        control = [draw.random() < 0.3 for _ in range(60)]
        effect = told(treated, control)
        held += effect.low <= 0.1 <= effect.high

    assert 0.93 <= held / 600 <= 0.98


def test_what_did_not_arrive_counts_for_its_group() -> None:
    """A delivery that fails is no reason to leave an entity out: it would spoil the comparison."""
    states: list[State] = ["sent", "dead", "superseded", "pending", "held", "remembered"]
    actions = [one for state in states for one in group(state, 5)]

    (effect,) = effects(actions, lambda _: True)

    assert (effect.treated.n_actions, effect.treated.n_sent) == (20, 5)
    assert effect.control.n_actions == 5


def test_entity_counts_once() -> None:
    """However often an action was for it."""
    actions = [dataclasses.replace(action("a"), state="sent") for _ in range(5)]
    actions += [dataclasses.replace(action("b"), state="sent")]

    (effect,) = effects(actions, lambda one: one.key == "a")

    assert (effect.treated.n_actions, effect.treated.n_entities) == (6, 2)
    assert effect.treated.mean == pytest.approx(0.5)


def test_outcome_of_the_prediction_goes_before_that_of_the_key() -> None:
    """What is said of this very prediction is nearer than what is said of its entity."""
    one = action("a")
    find = lookup({one.prediction_id: True}, {"a": False, "b": False})

    assert (find(one), find(action("b")), find(action("c"))) == (True, False, None)


def test_rules_are_told_apart_and_in_order() -> None:
    """Each has its own groups."""
    actions = [
        dataclasses.replace(one, rule=name)
        for name, one in itertools.product("ba", group("sent", 3) + group("held", 2))
    ]

    found = effects(actions, lambda _: None)

    assert [effect.rule for effect in found] == ["a", "b"]
    assert all(effect.uplift is None for effect in found)
    assert not any(math.isnan(effect.treated.n_actions) for effect in found)
