"""A column that knows the label is warned of, dropped or refused, and hosts go on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlembed.errors import DataError, DeclarationError, LoweringError
from mlembed.features import hour_of_day, log1p
from mlembed.training import Leakage, Multiclass, TimeSplit
from mlembed.training.positions import counts_columns
from mlembed.training.screening import screen
from training.orders import (
    HOUR,
    Leaky,
    declare,
    declare_leaky,
    declare_weight,
    orders,
    records,
    serve,
)

if TYPE_CHECKING:
    from mlembed.settings import Settings
    from mlembed.training import Candidate

TABLE = orders(1200)
DROP = Leakage(action="drop")


@pytest.fixture(scope="module")
def dropped() -> Candidate:
    """Return a candidate whose table held a leak, which was dropped."""
    return declare_leaky(leakage=DROP).train(TABLE)


def found(leakage: Leakage, **changes: Any) -> list[tuple[str, str, str]]:
    """Return column, kind and action of what is found."""
    trainer = declare_leaky(leakage=leakage, **changes)
    leaks = screen(trainer, trainer.read(TABLE)).leaks
    return [(leak["column"], leak["kind"], leak["action"]) for leak in leaks]


def test_a_leak_is_warned_of() -> None:
    """By default the model is trained all the same, and the evaluation says what was found."""
    candidate = declare_leaky().train(TABLE)

    kinds = {
        leak["kind"]
        for leak in candidate.evaluation["leakage"]
        if (leak["column"], leak["action"]) == ("refund", "warned")
    }
    assert "auc" in kinds
    assert candidate.metrics["roc_auc"] > 0.99
    assert candidate.bundle.manifest.features == declare_leaky().feature_names


def test_a_leak_is_dropped_with_all_that_is_made_of_it(dropped: Candidate) -> None:
    """Neither the column nor a transform that reads it is a feature; the graph does not move."""
    manifest = dropped.bundle.manifest

    assert {leak["action"] for leak in dropped.evaluation["leakage"]} == {"dropped"}
    assert {leak["column"] for leak in dropped.evaluation["leakage"]} == {"refund"}
    assert manifest.features == ("total", "days", "channel", "member", "opened", "log_total")
    assert set(manifest.transforms) == {"log_total"}
    assert dropped.metrics["roc_auc"] < 0.9


def test_a_dropped_leak_may_be_left_out_by_the_host(dropped: Candidate, settings: Settings) -> None:
    """Records with and without the field are served, with the same score; other columns are owed."""
    model = serve(dropped.bundle, settings)
    table = records(TABLE, Leaky.model_fields)
    record = {name: values[3] for name, values in table.items()}
    without = {name: value for name, value in record.items() if name != "refund"}
    lean = {name: values for name, values in table.items() if name != "refund"}

    assert model.predict(record).score == model.predict(without).score
    np.testing.assert_array_equal(
        model.predict_batch(table).scores, model.predict_batch(lean).scores
    )
    nullable = {column.name for column in dropped.bundle.manifest.columns if column.nullable}
    assert nullable == {"days", "refund", "opened"}


def test_leaks_that_are_refused_are_all_listed() -> None:
    """One message names every column and what was found; a name alone says nothing of values."""
    trainer = declare_leaky(leakage=Leakage(action="refuse", absent=["opened", "channel"]))

    with pytest.raises(DataError) as caught:
        trainer.train(TABLE)

    message = str(caught.value)
    assert re.search(r"'refund': [^;]+ ROC AUC of 1.0000, above 0.98; ", message)
    assert message.count(": the host will not have it") == 2
    assert "'opened': the" in message
    assert "'channel': the" in message
    assert message.endswith("Leave them out of the record, or declare Leakage(action='drop')")


def test_columns_that_the_host_lacks_are_dropped(settings: Settings) -> None:
    """A column declared absent is a leak whatever it tells, and a host never sends it."""
    leakage = Leakage(action="drop", absent=["opened"])

    candidate = declare_leaky(leakage=leakage).train(TABLE)

    told = {leak["column"]: leak["kind"] for leak in candidate.evaluation["leakage"]}
    assert told["opened"] == "absent"
    assert "opened" not in candidate.bundle.manifest.features
    lean = {name: TABLE[name][0] for name in ("total", "days", "channel", "member")}
    placed = records(TABLE)["placed"][0]
    assert 0 < serve(candidate.bundle, settings).predict({**lean, "placed": placed}).score < 1


def test_absent_columns_that_no_feature_reads_are_no_leak() -> None:
    """What the model does not read cannot be missing to it."""
    assert found(Leakage(absent=["opened"]), features=["total", "days"]) == []


def test_columns_known_after_the_prediction_are_dropped() -> None:
    """A column is a leak where another says that it was known too late, and not where in time."""
    late = {**TABLE, "known": TABLE["placed"] + HOUR}
    early = {**TABLE, "known": TABLE["placed"] - HOUR}
    leakage = Leakage(action="drop", known_at={"days": "known"})
    trainer = declare(leakage=leakage)

    leaks = [screen(trainer, trainer.read(table)).leaks for table in (late, early)]

    assert leaks[1] == ()
    assert [(leak["column"], leak["kind"], leak["action"]) for leak in leaks[0]] == [
        ("days", "later", "dropped")
    ]
    assert "100.0% of the rows" in leaks[0][0]["detail"]
    assert "days" not in trainer.train(late).bundle.manifest.features


def test_known_at_needs_its_column() -> None:
    """A column that says when another is known must be in the table."""
    with pytest.raises(DataError, match="'known'"):
        declare(leakage=Leakage(known_at={"days": "known"})).train(TABLE)


def test_a_later_time_is_a_leak_where_a_feature_reads_it() -> None:
    """A timestamp after the prediction leaks through its transform, and is harmless unread."""
    table = {**TABLE, "asked": TABLE["placed"] - HOUR}
    read = {"transforms": {"hour": hour_of_day("placed"), "log_total": log1p("total")}}
    split = TimeSplit("asked")
    reading, unread = declare(split=split, leakage=DROP, **read), declare(split=split, leakage=DROP)

    screened = screen(reading, reading.read(table))

    assert [leak["kind"] for leak in screened.leaks] == ["later"]
    assert "hour" not in screened.trainer.feature_names
    assert screen(unread, unread.read(table)).leaks == ()


def test_leaks_are_looked_for_on_training_rows_alone() -> None:
    """A column that gives the label away on held-out rows only is no reason to drop it."""
    table = {**TABLE, "refund": TABLE["refund"].copy()}
    newest = table["placed"] >= np.quantile(table["placed"], 0.75)
    table["refund"][~newest] = 1.0
    trainer = declare(record=Leaky, leakage=DROP, transforms={})

    candidate = trainer.train(table)

    assert "refund" in candidate.bundle.manifest.features


def test_a_row_number_is_warned_of_but_stays() -> None:
    """A column with as many values as rows may be a fair feature: it is never dropped."""

    class Numbered(Leaky):
        """An order with its number."""

        number: int

    table = {**TABLE, "number": np.arange(1200)}
    trainer = declare(record=Numbered, leakage=DROP, transforms={})

    screened = screen(trainer, trainer.read(table))

    actions = {(leak["column"], leak["kind"]): leak["action"] for leak in screened.leaks}
    assert actions[("number", "identifier")] == "warned"
    assert actions[("refund", "auc")] == "dropped"
    assert "number" in screened.trainer.feature_names


def test_a_leak_of_a_quantity_is_dropped() -> None:
    """A column that explains all but nothing of a quantity's variance is a leak too."""
    table = {**TABLE, "refund": TABLE["weight"] * 2}
    trainer = declare_weight(record=Leaky, leakage=DROP, transforms={})

    screened = screen(trainer, trainer.read(table))

    assert [(leak["column"], leak["kind"]) for leak in screened.leaks] == [("refund", "auc")]
    assert "refund" not in screened.trainer.feature_names


def test_a_leak_of_one_class_among_several_is_dropped() -> None:
    """Each class is held against the rest; a column is told once for each kind."""
    third = np.searchsorted(np.quantile(TABLE["total"], [1 / 3, 2 / 3]), TABLE["total"])
    kinds = np.array(["a", "b", "c"], dtype=object)[third]
    table = {**TABLE, "third": kinds, "refund": (third == 2).astype(float)}
    trainer = declare(
        record=Leaky,
        label=Multiclass("third", classes=["a", "b", "c"]),
        leakage=DROP,
        features=["refund", "days"],
        transforms={},
    )

    screened = screen(trainer, trainer.read(table))

    told = [(leak["column"], leak["kind"]) for leak in screened.leaks]
    assert ("refund", "auc") in told
    assert len(told) == len(set(told))
    assert screened.trainer.feature_names == ("days",)


def test_nothing_left_to_train_on_is_an_error() -> None:
    """Where every feature leaks there is no model, and the label is looked at first."""
    trainer = declare_leaky(leakage=DROP, features=["refund", "kept"])

    with pytest.raises(
        DataError, match=r"every feature is made of .+\('refund'\); look at the lab"
    ):
        trainer.train(TABLE)


def by_position(columns: Any) -> Any:
    """Return a pipeline whose first step is told *columns*."""
    scaled = ColumnTransformer([("scaled", StandardScaler(), columns)], remainder="drop")
    return make_pipeline(scaled, LogisticRegression())


COUNTING = [
    by_position([0, 1]),
    by_position(0),
    by_position(slice(0, 2)),
    by_position([True, False, False, False, False, False, False, False]),
    HistGradientBoostingClassifier(categorical_features=[2]),
    HistGradientBoostingClassifier(monotonic_cst=[0, 1, 0, 0, 0, 0, 0, 0]),
    HistGradientBoostingClassifier(interaction_cst=[{0, 1}, {2}]),
]
NAMING = [
    by_position(["total", "days"]),
    by_position("total"),
    by_position(slice("total", "days")),
    by_position(make_column_selector(dtype_include="number")),
    HistGradientBoostingClassifier(categorical_features=["channel"]),
    HistGradientBoostingClassifier(categorical_features="from_dtype"),
    HistGradientBoostingClassifier(monotonic_cst={"total": 1}),
    HistGradientBoostingClassifier(interaction_cst="pairwise"),
    RandomForestClassifier(),
    make_pipeline(ColumnTransformer([("one", OneHotEncoder(), ["channel"])]), LogisticRegression()),
]


@pytest.mark.parametrize("candidate", COUNTING)
def test_a_leak_is_not_dropped_before_counted_columns(candidate: Any) -> None:
    """A candidate told its columns by position would read others: that is an error, never silent."""
    assert counts_columns(candidate)
    with pytest.raises(DataError, match=r"'refund' cannot be dropped, because \w+ counts its col"):
        screen_with(candidate)


@pytest.mark.parametrize("candidate", NAMING)
def test_a_leak_is_dropped_before_named_columns(candidate: Any) -> None:
    """Names mean the same column whatever else is dropped."""
    assert not counts_columns(candidate)
    assert "refund" not in screen_with(candidate).trainer.feature_names


def screen_with(candidate: Any) -> Any:
    """Return what is left to train *candidate* on."""
    trainer = declare_leaky(leakage=DROP, candidates=[candidate])
    return screen(trainer, trainer.read(TABLE))


def test_a_candidate_that_names_a_dropped_column_is_refused() -> None:
    """What asks for a column that was dropped is told so by its name."""
    candidate = HistGradientBoostingClassifier(monotonic_cst={"refund": 1})

    with pytest.raises(LoweringError, match=r"names \['refund'\], expected"):
        declare_leaky(leakage=DROP, candidates=[candidate]).train(TABLE)


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "ignore"},
        {"auc": 0.5},
        {"auc": 1.1},
        {"purity": float("nan")},
        {"purity": "all"},
        {"absent": "refund"},
        {"known_at": ["refund"]},
    ],
)
def test_leakage_refuses_what_it_cannot_mean(changes: dict[str, Any]) -> None:
    """Bounds, actions and names are checked where they are declared."""
    with pytest.raises(DeclarationError, match="Leakage"):
        Leakage(**changes)


def test_bounds_of_leaks_are_declared() -> None:
    """A column is a leak from the declared bound on."""
    random = np.random.default_rng(99)
    returned = TABLE["returned"] == "yes"
    table = {**TABLE, "opened": returned + random.normal(0, 0.45, 1200)}
    kinds = []
    for bound in (0.9, 0.98):
        trainer = declare(record=Leaky, leakage=Leakage(auc=bound))
        leaks = screen(trainer, trainer.read(table)).leaks
        kinds.append([leak["kind"] for leak in leaks if leak["column"] == "opened"])

    assert kinds == [["auc"], []]
