"""What actions brought: groups, intervals and what is concluded from them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
from typing import TYPE_CHECKING, Any

import pytest
import scipy.stats

from crm.receiver import action
from mlembed_crm.effect import effects
from mlembed_crm.effect.outcomes import Observed, lookup
from mlembed_crm.effect.page import axes

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed_crm import Action
    from mlembed_crm.action import State


def group(state: State, n: int, first: int = 0) -> list[Action]:
    """Return actions of *n* entities."""
    return [dataclasses.replace(action(f"{state}-{k}"), state=state) for k in range(first, n)]


def of(one: Action, *, value: bool, after: float = 60, rank: int = 0, **named: str) -> Observed:
    """Return an outcome of the entity of an action, seconds after it."""
    names = {"model": one.model, "key": one.key or "", "prediction_id": "", **named}
    return Observed(**names, value=value, moment=one.created + after, rank=(rank, 0))


def told(treated: list[Any], control: list[Any]) -> Any:
    """Return the one effect of two groups with these outcomes."""
    actions = group("sent", len(treated)) + group("held", len(control))
    values = {f"sent-{k}": value for k, value in enumerate(treated)}
    values |= {f"held-{k}": value for k, value in enumerate(control)}
    (effect,) = effects(actions, lambda one: values[one.key or ""])
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


def test_entity_belongs_to_the_group_of_its_first_action() -> None:
    """Where the share that is held back was changed, nobody is in both groups, or counted twice."""
    cases: dict[str, list[State]] = {
        "a": ["sent", "held", "sent"],
        "b": ["held", "sent", "sent"],
    }
    actions = [
        dataclasses.replace(action(key), created=float(place), state=state)
        for key, states in cases.items()
        for place, state in enumerate(states)
    ]

    (effect,) = effects(actions[::-1], lambda _: True)

    for group, n_actions, n_sent in ((effect.treated, 2, 2), (effect.control, 1, 0)):
        assert (group.n_actions, group.n_sent) == (n_actions, n_sent)
        assert (group.n_entities, group.n_outcomes) == (1, 1)


def test_outcome_of_the_prediction_goes_before_that_of_the_key() -> None:
    """What is said of this very prediction is nearer than what is said of its entity."""
    one, other = action("a"), action("b")
    find = lookup(
        [
            of(one, value=True, prediction_id=one.prediction_id),
            of(one, value=False, rank=9),
            of(other, value=False),
        ]
    )

    assert (find(one), find(other), find(action("c"))) == (True, False, None)


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        (lambda one: [of(one, value=True, prediction_id="of a later one")], True),
        (lambda one: [of(one, value=True, model="another")], None),
        (lambda one: [of(one, value=True, key="another")], None),
        (lambda one: [of(one, value=True, after=-1)], None),
        (lambda one: [of(one, value=True, after=0)], True),
        (lambda one: [of(one, value=True, after=-1, prediction_id=one.prediction_id)], True),
        (lambda one: [of(one, value=True, rank=2), of(one, value=False, rank=1)], True),
        (lambda one: [of(one, value=True), of(one, value=False)], False),
        (lambda one: [of(one, value=True, rank=1), of(one, value=False, after=-1, rank=2)], True),
    ],
    ids=["later", "model", "key", "before", "then", "own", "rank", "last", "last-but-before"],
)
def test_outcome_is_of_the_model_and_the_entity_and_not_from_before(
    reports: Callable[[Action], list[Observed]], expected: Any
) -> None:
    """Whichever prediction it names; of several the last that can have come of the action."""
    one = action("a")

    assert lookup(reports(one))(one) is expected


def test_outcome_without_a_key_is_of_no_other_action_without_one() -> None:
    """Who is not known is not the same."""
    one = action(None)

    assert lookup([of(one, value=True, prediction_id="another")])(one) is None


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


@pytest.mark.parametrize("large", [5e-324, 1e16, 1e202, 1.7e308])
def test_outcomes_however_large_have_a_mean(large: float) -> None:
    """A sum or a square beyond doubles is no error; an end beyond them is not told."""
    same = told([large] * 40, [large] * 40)
    apart = told([large, -large] * 20, [-large, large] * 20)
    far = told([large] * 40, [-large] * 40)

    assert (same.uplift, same.treated.mean, apart.treated.mean) == (0.0, large, 0.0)
    assert far.uplift == (2 * large if large < 1e308 else None)
    assert "Infinity" not in json.dumps([dataclasses.asdict(one) for one in (same, apart, far)])
    for effect in (same, apart, far):
        assert "nan" not in str(axes(effect))
