"""Crossing rules: however scores come, they act once a crossing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from crm.receiver import DESTINATION, child, finish, prediction
from mlembed_crm import Actions, Outbox, Rule, falls_below, rises_above

GRID = st.sampled_from([0.0, 0.49, 0.5, 0.51, 0.79, 0.8, 0.81, 1.0, float("nan")])


def crossings(scores: list[float], threshold: float, reset: float) -> int:
    """Count upward crossings the plain way: armed, past the threshold, back past reset."""
    count, armed = 0, True
    for score in scores:
        if armed and score > threshold:
            count, armed = count + 1, False
        elif not armed and score < reset:
            armed = True
    return count


@settings(max_examples=60)
@given(
    history=st.lists(st.tuples(st.sampled_from("ab"), GRID, st.booleans()), max_size=25),
    reset=st.sampled_from([0.8, 0.5]),
)
def test_rule_fires_once_a_crossing_of_each_entity(
    history: list[tuple[str, float, bool]], reset: float
) -> None:
    """Fires equal upward crossings with hysteresis, for each key alone, restarts included."""
    rules = [
        Rule("up", "payments", rises_above(0.8, reset), DESTINATION),
        Rule("down", "payments", falls_below(-0.8, -reset), DESTINATION),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "actions.db"
        outbox = Outbox(path)
        for key, score, restart in history:
            if restart:
                outbox.close()
                outbox = Outbox(path)
            actions = Actions(outbox, rules)
            actions(prediction(score, key))
            actions(prediction(-score, key))
        fired = [(queued.rule, queued.key) for queued in outbox.list(limit=1000)]
        outbox.close()

    for key in "ab":
        given_scores = [s for other, score, _ in history if other == key for s in (score, -score)]
        falls = crossings([-score for score in given_scores], 0.8, reset)
        assert fired.count(("up", key)) == crossings(given_scores, 0.8, reset)
        assert fired.count(("down", key)) == falls


RACE = """
import sys
sys.path.insert(0, sys.argv[2])
from crm.receiver import prediction
from mlembed_crm import Actions, Outbox, Rule, rises_above
actions = Actions(Outbox(sys.argv[1]), [Rule("up", "payments", rises_above(0.8), "risk-desk")])
print("ready", flush=True)
sys.stdin.readline()
for number in range(60):
    actions(prediction(0.9, f"c-{number}"))
print(actions.queued, actions.failed)
"""


def test_two_processes_fire_one_crossing_once(tmp_path: Path) -> None:
    """Processes that see the same entities cross at the same time queue one action each."""
    path = tmp_path / "actions.db"
    both = [child(RACE, path, Path(__file__).parents[1]) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", finish(process)
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    counts = [tuple(map(int, finish(process)[0].split())) for process in both]

    assert sum(queued for queued, _ in counts) == 60
    assert [failed for _, failed in counts] == [0, 0]
    assert Outbox(path).counts()["pending"] == 60
