"""What is measured on the rows held out: the graph, its baseline, and what serves now."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlembed.errors import GateError
from mlembed.tensors import Tensor
from mlembed.training import (
    Binary,
    ByCost,
    Gates,
    GroupSplit,
    Interval,
    Multiclass,
    Regression,
    TimeSplit,
    Tuning,
)
from mlembed.training.against import scores_by
from mlembed.training.dataset import Dataset
from mlembed.training.measuring import clusters_of
from mlembed.training.overlap import moment_text
from training.orders import (
    RANDOM,
    Leaky,
    declare,
    declare_leaky,
    declare_weight,
    orders,
    records,
    rows,
    serve,
)

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle
    from mlembed.settings import Settings
    from mlembed.training import Candidate

N = 1600
TABLE = orders(N)
FEW = ["channel"]  # features of a model that knows next to nothing


@pytest.fixture(scope="module")
def champion() -> Candidate:
    """Return what serves now: trained on the older half of the table."""
    older = TABLE["placed"] < np.median(TABLE["placed"])
    return declare().train(rows(TABLE, older))


def altered(bundle: Bundle, **task: Any) -> Bundle:
    """Return *bundle* with another task in its manifest."""
    manifest = bundle.manifest
    return dataclasses.replace(
        bundle,
        manifest=dataclasses.replace(manifest, task=dataclasses.replace(manifest.task, **task)),
    )


def test_evaluation_is_of_the_rows_held_out(settings: Settings) -> None:
    """The bundle's metrics are those of the served scores on the side that was held out."""
    trainer = declare()
    candidate = trainer.train(TABLE)
    heldout = rows(TABLE, trainer.held_out_by.split(trainer.read(TABLE)).test)

    scores = serve(candidate.bundle, settings).predict_batch(records(heldout)).scores

    truth = (heldout["returned"] == "yes").astype(float)
    evaluation = candidate.bundle.json("evaluation.json")
    assert evaluation["n"] == len(truth) == N // 4
    assert candidate.bundle.manifest.metrics == evaluation["metrics"]
    assert evaluation["metrics"]["roc_auc"] == trainer.yardstick.of(truth, scores)
    assert evaluation["serving"]["size_bytes"] == len(candidate.bundle.files["model.onnx"])
    assert 0 < evaluation["serving"]["latency_seconds"] < 0.01


def test_sides_tell_what_was_fitted_and_settled_on() -> None:
    """Three sides are described where something was settled, with times that do not overlap."""
    split = TimeSplit("placed", gap_seconds=7200)
    evaluation = declare(split=split, calibration="sigmoid", entity="customer").train(TABLE)

    folds = evaluation.evaluation["folds"]
    assert (folds["kind"], folds["gap_seconds"]) == ("TimeSplit", 7200)
    assert [side["side"] for side in folds["sides"]] == ["train", "calibration", "test"]
    ends = [(side["from"], side["until"]) for side in folds["sides"]]
    assert ends == sorted(ends)
    assert all(ends[place][1] < ends[place + 1][0] for place in range(2))
    assert 0 < folds["shared_entities"]["share_of_test_rows"] <= 1
    assert evaluation.bundle.manifest.training["data_until"] == ends[1][1]


def test_sides_name_no_split_where_none_held_rows_out() -> None:
    """Rows that were given to measure on are told as such, not as those of the split."""
    older = TABLE["placed"] < np.median(TABLE["placed"])
    given = declare(split=TimeSplit("placed", gap_seconds=7200)).train(
        rows(TABLE, older), test=rows(TABLE, ~older)
    )

    folds = given.evaluation["folds"]
    assert folds["kind"] == "A table of its own"
    assert "gap_seconds" not in folds
    assert [side["n"] for side in folds["sides"]] == [N // 2, N // 2]


def test_group_split_shares_no_entity() -> None:
    """Held out by customer, no customer of the held-out rows was trained on."""
    split = GroupSplit("customer")

    folds = declare(split=split, entity="customer").train(TABLE).evaluation["folds"]

    assert folds["shared_entities"] == {"column": "customer", "n": 0, "share_of_test_rows": 0.0}


def test_cost_curve_uses_the_held_out_amounts() -> None:
    """The cost curve's first point is the mean loss of the held-out returns, all missed."""
    rule = ByCost(false_positive=25.0, false_negative="loss")
    trainer = declare(threshold=rule)
    heldout = rows(TABLE, trainer.held_out_by.split(trainer.read(TABLE)).test)

    curve = trainer.train(TABLE).evaluation["curves"]["cost"]

    missed = np.where(heldout["returned"] == "yes", heldout["loss"], 0.0).mean()
    highest = int(np.argmax(curve["x"]))
    assert curve["y"][highest] == pytest.approx(missed)


def test_baseline_is_measured_where_it_is_known() -> None:
    """A column to beat is compared on the rows that have it, the model on these same rows."""
    trainer = declare_weight(baseline="days", features=["log_total", "member"])
    heldout = rows(TABLE, RANDOM.split(trainer.read(TABLE)).test)
    known = ~np.isnan(heldout["days"])

    found = trainer.train(TABLE).evaluation

    baseline = found["baseline"]
    apart = np.abs(heldout["weight"] - heldout["days"])[known]
    assert baseline["n"] == known.sum() < found["n"]
    assert baseline["value"] == pytest.approx(apart.mean())
    assert baseline["model"] != found["metrics"]["mae"]
    assert baseline["difference"] == pytest.approx(baseline["value"] - baseline["model"])
    assert 0 < baseline["low"] < baseline["difference"] < baseline["high"]
    assert found["gates"][0]["gate"] == "baseline"


def test_baseline_may_be_a_score_of_a_label() -> None:
    """A number that ranks, or a flag, can be the baseline of two classes."""
    evaluation = declare(baseline="member").train(TABLE).evaluation

    assert 0.4 < evaluation["baseline"]["value"] < evaluation["baseline"]["model"]


def test_champion_is_compared_on_the_same_rows(champion: Candidate) -> None:
    """Both values are of the rows held out, by both models' own graphs, and the difference paired."""
    trainer = declare(features=FEW)
    heldout = trainer.read(rows(TABLE, trainer.held_out_by.split(trainer.read(TABLE)).test))

    found = trainer.train(TABLE, champion=champion.bundle).evaluation["champion"]

    theirs = trainer.yardstick.of(heldout.y, scores_by(champion.bundle, heldout))
    assert found["champion"] == pytest.approx(theirs)
    assert found["difference"] == pytest.approx(found["challenger"] - found["champion"])
    assert found["low"] < found["difference"] < found["high"] < 0
    assert (found["title"], found["n"]) == ("returns@1.0.0", N // 4)
    assert "note" not in found


def test_champion_against_itself_differs_by_nothing() -> None:
    """The bootstrap is paired: draws of a model against itself have no spread at all."""
    bundle = declare().train(TABLE).bundle

    found = declare().train(TABLE, champion=bundle).evaluation["champion"]

    assert (found["difference"], found["low"], found["high"]) == (0.0, 0.0, 0.0)


def test_champion_comparison_draws_whole_entities(champion: Candidate) -> None:
    """Rows of one customer that are alike say less: the interval is wider than that of rows."""
    table = _repeated(orders(400), 6)
    split = GroupSplit("customer")
    intervals = []
    for entity in ("", "customer"):
        trainer = declare(features=["total"], split=split, entity=entity)
        found = trainer.train(table, champion=champion.bundle).evaluation["champion"]
        intervals.append(found["high"] - found["low"])
        if entity:
            assert found["clusters"] == pytest.approx(100, abs=2)

    assert intervals[1] > 2 * intervals[0]


def _repeated(table: dict[str, Any], times: int) -> dict[str, Any]:
    """Return each row *times* over, as the orders of one customer."""
    found = {name: np.repeat(values, times) for name, values in table.items()}
    found["customer"] = np.repeat(np.arange(len(table["total"])), times)
    return found


def test_champion_that_saw_the_rows_is_noted() -> None:
    """A champion trained on data as late as the held-out rows looks better than it is: it is said."""
    bundle = declare(split=RANDOM).train(TABLE, provenance={"data_until": _late()}).bundle

    candidate = declare(gates=Gates(margin=0.3)).train(TABLE, champion=bundle)

    note = candidate.evaluation["champion"]["note"]
    assert "returns@1.0.0 was trained on data until" in note
    assert "it has seen some of them" in note
    assert note in candidate.evaluation["gates"][0]["found"]


def _late() -> str:
    return moment_text(float(np.quantile(TABLE["placed"], 0.9)))


@pytest.mark.parametrize(
    ("until", "seen"),
    [
        ("2025-04-20T23:59:59+00:00", False),
        ("2025-04-21T00:00:00+00:00", True),
        ("2025-04-21T00:30:00+01:00", False),
        ("2025-04-21T02:00:00.123456+00:00", True),
        ("not known", False),
        ("900", False),
        (None, False),
    ],
)
def test_champion_has_seen_what_is_not_later(
    champion: Candidate, until: Any, *, seen: bool
) -> None:
    """Moments are compared in time, not as text; what is no moment tells nothing."""
    manifest = champion.bundle.manifest
    training = {**manifest.training, "data_until": until}
    bundle = dataclasses.replace(
        champion.bundle, manifest=dataclasses.replace(manifest, training=training)
    )
    declared = declare(split=TimeSplit("placed", since="2025-04-21"))

    found = declared.train(TABLE, champion=bundle).evaluation["champion"]

    assert ("note" in found) == seen


def test_champion_of_numbered_times_is_compared_by_number() -> None:
    """Where time is a count, such as a week, 9 is before 10."""
    week = {**TABLE, "week": np.arange(N) // 100}
    split = TimeSplit("week", since=10)
    bundle = declare(split=split).train(week).bundle
    newer = {name: values[400:] for name, values in week.items()}

    found = declare(split=split).train(newer, champion=bundle).evaluation["champion"]

    assert bundle.manifest.training["data_until"] == "9"
    assert "note" not in found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": Binary("member_too", positive="yes")}, "its label is returned, here member_too"),
        (
            {"label": Binary("returned", positive="no")},
            "its positive class is yes, here no",
        ),
        (
            {"label": Multiclass("third")},
            "its kind of label is binary, here multiclass",
        ),
        (
            {"label": Regression("weight")},
            "its kind of label is binary, here regression",
        ),
    ],
)
def test_champion_that_answers_another_question_is_not_compared(
    champion: Candidate, changes: dict[str, Any], words: str
) -> None:
    """Another label, class or kind makes no comparison, and says so; the margin is not passed."""
    third = np.searchsorted(np.quantile(TABLE["total"], [1 / 3, 2 / 3]), TABLE["total"])
    table = {
        **TABLE,
        "member_too": TABLE["returned"],
        "third": np.array(["a", "b", "c"], dtype=object)[third],
    }
    candidates = declare_weight().candidates if changes["label"].kind == "regression" else None
    changes = {**changes, **({"candidates": candidates} if candidates else {})}

    found = declare(**changes).train(table, champion=champion.bundle).evaluation["champion"]

    assert set(found) == {"title", "metric", "note"}
    assert words in found["note"]
    with pytest.raises(GateError, match=r"no comparison: returns@1\.0\.0 answers another question"):
        declare(**changes, gates=Gates(margin=1.0)).train(table, champion=champion.bundle)


def test_champion_of_another_unit_is_not_compared() -> None:
    """Grams against kilograms are no contest."""
    bundle = declare_weight().train(TABLE).bundle
    in_grams = declare_weight(label=Regression("weight", unit="g"))

    found = in_grams.train(TABLE, champion=bundle).evaluation["champion"]

    assert found["note"] == "returns@1.0.0 answers another question: its unit is kg, here g"


def test_champion_of_other_columns_is_not_compared() -> None:
    """A champion that reads what the table does not have, even if it may be missing, has a note."""
    bundle = declare_leaky().train(TABLE).bundle
    assert set(Leaky.model_fields) == {column.name for column in bundle.manifest.columns}

    found = declare().train(TABLE, champion=bundle).evaluation["champion"]

    assert found["note"] == "returns@1.0.0 reads 'refund', 'opened', which this table does not have"


def test_champion_of_tensors_is_not_compared(champion: Candidate) -> None:
    """A bundle of a network that takes tensors cannot read a table's columns."""
    tensor = Tensor(name="x", dtype="float32", shape=(None, 2))
    manifest = dataclasses.replace(champion.bundle.manifest, inputs=(tensor,))
    bundle = dataclasses.replace(champion.bundle, manifest=manifest)

    found = declare().train(TABLE, champion=bundle).evaluation["champion"]

    assert found["note"] == "returns@1.0.0 takes tensors, not the columns of a table"


def test_champion_that_refuses_the_values_is_not_compared(champion: Candidate) -> None:
    """A column that has become something else is named, without a value of it."""
    manifest = champion.bundle.manifest
    narrow = tuple(
        dataclasses.replace(column, maximum=3.25) if column.name == "total" else column
        for column in manifest.columns
    )
    bundle = dataclasses.replace(
        champion.bundle, manifest=dataclasses.replace(manifest, columns=narrow)
    )

    note = declare().train(TABLE, champion=bundle).evaluation["champion"]["note"]

    assert note.startswith("returns@1.0.0 does not take the values of this table: 'total'")


def test_champion_that_cannot_be_told_apart_fails_the_margin(champion: Candidate) -> None:
    """With too few entities there is no interval, so the margin is not shown."""
    table = {**TABLE, "customer": np.arange(N) % 3}
    declared = declare(entity="customer", gates=Gates(margin=1.0))

    with pytest.raises(GateError, match=r"no comparison: 400 rows are too few, or too much alike"):
        declared.train(table, champion=champion.bundle)


def test_champion_of_several_classes_is_compared_in_their_order() -> None:
    """The same classes in another order are the same question."""
    third = np.searchsorted(np.quantile(TABLE["total"], [1 / 3, 2 / 3]), TABLE["total"])
    table = {**TABLE, "third": np.array(["a", "b", "c"], dtype=object)[third]}
    declared = {"split": RANDOM, "features": ["days", "log_total"]}
    bundles = [
        declare(label=Multiclass("third", classes=classes), **declared).train(table).bundle
        for classes in (("a", "b", "c"), ("c", "a", "b"))
    ]

    again = declare(label=Multiclass("third"), **declared).train(table, champion=bundles[1])

    found = again.evaluation["champion"]
    assert found["champion"] == pytest.approx(found["challenger"], abs=0.01)
    assert found["champion"] < 0.3


def test_clusters_are_the_entities() -> None:
    """Rows of one customer share a number, whether numbered or named; unknown ones share none."""
    numbers = np.array([5.0, np.nan, 5.0, 7.0, np.nan, 7.0])
    names = np.array(["b", None, "b", "a", None, "a"], dtype=object)
    for values in (numbers, names):
        table = Dataset(
            kind="binary", columns={}, y=np.zeros(6), extra={"customer": values}, n_read=6
        )

        found = clusters_of(declare(entity="customer"), table)

        assert found is not None
        assert len(set(found.tolist())) == 4
        assert found[0] == found[2] != found[3] == found[5]


def test_interval_is_measured_on_the_rows_held_out() -> None:
    """The coverage is that of rows that neither the fit nor the interval has seen."""
    candidate = declare_weight(interval=Interval(0.9), split=TimeSplit("placed")).train(TABLE)

    interval = candidate.evaluation["interval"]
    assert (interval["n"], interval["n_calibration"]) == (400, 240)
    assert interval["coverage_low"] < interval["coverage"] < interval["coverage_high"]


def test_tuning_is_told() -> None:
    """What a search found stands beside what was measured."""
    candidates = [LogisticRegression(max_iter=1000)]
    candidate = declare(tuning=Tuning(trials=3), candidates=candidates).train(TABLE)

    assert candidate.evaluation["tuning"]["trials"] == 3
