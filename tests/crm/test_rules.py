"""Rules: when a score acts, and what is refused when they are declared."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.receiver import prediction
from mlembed.errors import SettingsError
from mlembed_crm import Rule, falls_below, rises_above, score_at_least
from mlembed_crm.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT: Any = "0.8"
YES: Any = True
SCORES = st.floats(allow_nan=True)


@given(score=SCORES, threshold=st.floats(-1, 1), gap=st.floats(0, 1))
def test_crossing_never_acts_and_rearms_on_one_score(
    score: float, threshold: float, gap: float
) -> None:
    """No score is both past the threshold and back past reset, in either direction."""
    up, down = rises_above(threshold, threshold - gap), falls_below(threshold, threshold + gap)

    assert not (up.acts(score) and up.rearms(score))
    assert not (down.acts(score) and down.rearms(score))


@given(score=SCORES, threshold=st.floats(-1, 1), gap=st.floats(0, 1))
def test_falls_below_mirrors_rises_above(score: float, threshold: float, gap: float) -> None:
    """Falling is rising with every sign turned."""
    up, down = rises_above(threshold, threshold - gap), falls_below(-threshold, -threshold + gap)

    assert (up.acts(score), up.rearms(score)) == (down.acts(-score), down.rearms(-score))


def test_conditions_are_strict_where_they_cross_and_inclusive_where_they_reach() -> None:
    """A score on the threshold has reached it and has crossed nothing."""
    assert not rises_above(0.8).acts(0.8)
    assert not rises_above(0.8).rearms(0.8)
    assert score_at_least(0.8).acts(0.8)
    assert not score_at_least(0.8).acts(math.nan)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: rises_above(math.nan), "finite"),
        (lambda: rises_above(0.8, 0.9), "reset"),
        (lambda: falls_below(0.2, 0.1), "reset"),
        (lambda: score_at_least(math.inf), "finite"),
        (lambda: rises_above(TEXT), "numbers"),
        (lambda: rises_above(YES), "numbers"),
        (lambda: Rule("", "m", rises_above(0.8)), "name"),
        (lambda: Rule("r", "m@champion", rises_above(0.8)), "without '@'"),
        (lambda: Rule("r", "m", TEXT), "rises_above"),
    ],
)
def test_rule_refuses_what_cannot_be_meant(make: Callable[[], Any], says: str) -> None:
    """A rule that could never act as meant is refused where it is declared."""
    with pytest.raises(SettingsError, match=says):
        make()


def test_rule_checks_a_fixed_payload_when_declared() -> None:
    """A payload without JSON form fails at import, not at the first action."""
    with pytest.raises(PayloadError, match=r"payload\.when: object"):
        Rule("r", "m", rises_above(0.8), payload={"when": object()})


def test_action_has_one_id_for_one_rule_destination_and_prediction() -> None:
    """Queuing the same decision twice gives the same id; another rule or destination another."""
    seen = prediction()
    rules = [
        Rule("a", "payments", score_at_least(0), "x"),
        Rule("b", "payments", score_at_least(0), "x"),
        Rule("a", "payments", score_at_least(0), "y"),
    ]

    ids = [rule.action(seen).id for rule in rules]

    assert ids == [rule.action(seen).id for rule in rules]
    assert len(set(ids)) == 3


def test_payload_may_be_computed_from_the_prediction() -> None:
    """A function as payload sees the prediction that acts."""
    rule = Rule("r", "payments", score_at_least(0), payload=lambda seen: {"half": seen.score / 2})

    assert rule.action(prediction(0.5)).payload == {"half": 0.25}


@pytest.mark.parametrize(("key", "kept"), [(None, None), ("", None), ("a", "a"), (7, "7")])
def test_action_key_is_text_or_none(key: Any, kept: str | None) -> None:
    """An empty key is no key, and a number is its digits."""
    rule = Rule("r", "payments", score_at_least(0))

    assert rule.action(prediction(key=key)).key == kept
