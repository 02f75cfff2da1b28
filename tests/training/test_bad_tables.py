"""Tables with every trap at once are trained, proved and served; hopeless ones are refused."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

import mlembed
from mlembed.cli.app import run
from mlembed.errors import DataError, MlembedError
from mlembed.features import log1p
from mlembed.registry.file import FileRegistry
from mlembed.serving.session import Session
from mlembed.settings import Settings
from mlembed.training import Binary, Checks, Cleaning, GroupSplit, Table, TimeSplit, Trainer
from mlembed.training.fitting import scores_of
from mlembed.training.goldens import UNSEEN
from mlembed.training.matrix import encode_dataset
from mlembed.training.sources import opened
from training.orders import START, declare, moment, orders, records, rows, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.training.dataset import Dataset

TABLE = orders(600)
LONG_AGO = -30 * 365 * 86_400.0
OURS = Settings(log=False, poll_seconds=0)


class Trap(mlembed.Record):
    """A record whose table holds all that breaks trainers."""

    at: dt.datetime
    amount: float | None
    kind: str | None
    shop: str
    flat: float
    gone: float | None
    gone_text: str | None


def traps(n: int = 900) -> dict[str, Any]:
    """Return a table with many kinds of missing, 300 categories, and columns without content."""
    random = np.random.default_rng(0)
    kinds = np.array(["a", "b", "", None, math.nan, "Nan ", " b", "\U0001f600\n'\""], dtype=object)
    kind, shop = random.choice(kinds, n), random.integers(0, 300, n)
    amount = np.where(random.random(n) < 0.1, np.nan, random.lognormal(3, 1, n))
    sign = np.array([-1.0 if text in ("a", "b", " b") else 1.0 for text in kind])
    odds = 4 * sign * np.nan_to_num(np.log1p(amount) - 3) + shop % 2 - 0.5
    at = START + 3600.0 * random.permutation(n)
    at[0] = LONG_AGO
    return {
        "at": at,
        "amount": amount,
        "kind": kind,
        "shop": np.array([f"shop {number}" for number in shop], dtype=object),
        "flat": np.full(n, 7.0),
        "gone": np.full(n, np.nan),
        "gone_text": np.full(n, None, dtype=object),
        "y": np.where(random.random(n) < 1 / (1 + np.exp(-odds)), "yes", "no").astype(object),
    }


def pipeline() -> Any:
    """Return a pipeline that treats each column by its own step."""
    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    steps = [
        ("numbers", numbers, ["amount", "flat", "gone", "log_amount"]),
        ("texts", OneHotEncoder(handle_unknown="ignore"), ["kind", "gone_text"]),
        ("shops", TargetEncoder(), ["shop"]),
    ]
    return make_pipeline(ColumnTransformer(steps), RandomForestClassifier(n_estimators=20))


def lightgbm() -> Any:
    """Return LightGBM's classifier, or skip the test."""
    library = pytest.importorskip("lightgbm")
    return library.LGBMClassifier(n_estimators=20, num_leaves=7, verbose=-1)


CANDIDATES: dict[str, Callable[[], Any]] = {
    "boosted": lambda: HistGradientBoostingClassifier(
        categorical_features="from_dtype", max_iter=20
    ),
    "forest": lambda: RandomForestClassifier(n_estimators=20),
    "linear": lambda: LogisticRegression(max_iter=3000),
    "pipeline": pipeline,
    "lightgbm": lightgbm,
}


@pytest.mark.parametrize("name", CANDIDATES)
def test_train_serves_a_table_of_traps(name: str) -> None:
    """Every row is kept and every score that is served is the estimator's own."""
    table, candidate = traps(), CANDIDATES[name]()
    declared = Trainer(
        name="traps",
        record=Trap,
        label=Binary("y", positive="yes"),
        candidates=[candidate],
        split=TimeSplit("at"),
        folds=1,
        transforms={"log_amount": log1p("amount")},
    )

    made = declared.train(table)

    read = declared.read(table)
    x = encode_dataset("traps", made.fitted.columns, read)
    features = Session(made.fitted.features_model).run_matrix(x)
    own = scores_of(made.fitted.estimator, features)
    model = serve(made.bundle, OURS)
    picks = [0, *range(1, 900, 9)]
    served = [model.predict(_record(read, row)).score for row in picks]
    assert type(made.fitted.candidate) is type(candidate)
    assert (made.n_train + made.n_test, dict(made.rejected)) == (900, {})
    assert np.abs(np.array(served) - own[picks]).max() <= 1e-9


def _record(table: Dataset, row: int) -> dict[str, Any]:
    """Return a row as a host has it: None for missing, text as it was cleaned."""
    cells = {name: values[row] for name, values in table.columns.items()}
    missing = {name: None for name, cell in cells.items() if cell is None or cell != cell}  # noqa: PLR0124
    return cells | {"at": moment(cells["at"])} | missing


@pytest.mark.parametrize("share", [1, 2])
def test_train_takes_a_category_first_seen_in_the_test_rows(share: int) -> None:
    """A value that training never saw is measured, is a golden row, and is served as unknown."""
    channel = TABLE["channel"].copy()
    channel[::share] = "moon"

    made = declare().train(TABLE, test={**TABLE, "channel": channel})

    golden = made.bundle.json("golden.json")["records"]
    answer = serve(made.bundle, OURS).predict(
        {name: values[0] for name, values in records(TABLE).items()} | {"channel": "moon"}
    )
    assert UNSEEN in {record["channel"] for record in golden}
    assert math.isfinite(answer.score)


@pytest.mark.parametrize(
    ("text", "words"), [("x" * 20_000, "a value of 20,000 characters"), ("a\0b", "NUL")]
)
def test_train_refuses_categories_that_no_manifest_holds(text: str, words: str) -> None:
    """What cannot be packed is named before the candidates are fitted."""
    channel = TABLE["channel"].copy()
    channel[::2] = text

    with pytest.raises(DataError, match=f"category 'channel' has .*{words}"):
        declare().train({**TABLE, "channel": channel})


ZONES = [dt.timezone(dt.timedelta(hours=hours)) for hours in (-8, 0, 5.5, 14)]


@pytest.mark.parametrize("form", ["text", "objects", "long ago"])
def test_train_takes_times_in_any_zone_and_order(form: str) -> None:
    """Mixed zones and years before 1970 mean moments: the model is the same to the byte."""
    shift = -60 * 365 * 86_400.0 if form == "long ago" else 0.0
    moments = [
        dt.datetime.fromtimestamp(seconds + shift, ZONES[row % 4])
        for row, seconds in enumerate(TABLE["placed"])
    ]
    cells = np.empty(600, dtype=object)
    cells[:] = [time.isoformat() for time in moments] if form == "text" else moments

    made = declare().train({**TABLE, "placed": cells})

    assert made.bundle.files["model.onnx"] == declare().train(TABLE).bundle.files["model.onnx"]
    assert made.n_test == 150


@pytest.mark.parametrize(
    ("bad", "reason"),
    [(math.nan, "is missing"), (math.inf, "is not finite"), ("soon", "is not a time")],
)
def test_train_sets_rows_without_a_time_aside(bad: Any, reason: str) -> None:
    """A row without a place in time is on neither side."""
    times = [moment(seconds).isoformat() for seconds in TABLE["placed"]]
    if not isinstance(bad, str):
        times = TABLE["placed"].tolist()
    cells = np.array([bad if row % 30 == 0 else time for row, time in enumerate(times)])

    made = declare().train({**TABLE, "placed": cells})

    assert made.rejected == {f"'placed' {reason}": 20}
    assert made.n_train + made.n_test == 580


def test_train_warns_of_a_table_from_the_future() -> None:
    """A clock that is ahead, here or there, is told and stops nothing."""
    made = declare().train({**TABLE, "placed": TABLE["placed"] + 30 * 365 * 86_400.0})

    warned = [check for check in made.evaluation["data"]["checks"] if check["status"] != "ok"]
    assert [(check["check"], check["column"]) for check in warned] == [("future", "placed")]


def test_train_reads_a_column_of_mixed_types() -> None:
    """Numbers and their text are one; what is neither is a rejected row."""
    mixed = [str(v) if row % 2 else v for row, v in enumerate(TABLE["total"].tolist())]
    mixed[::30] = ["many"] * 20
    cells = np.empty(600, dtype=object)
    cells[:] = mixed

    made = declare().train({**TABLE, "total": cells})

    assert made.rejected == {"'total' is not a number": 20}


@pytest.mark.parametrize("index", ["shuffled", "repeated", "levels"])
def test_train_does_not_ask_a_frame_for_its_index(index: str) -> None:
    """Rows are rows, whatever they are called."""
    frame = pd.DataFrame(TABLE)
    if index == "levels":
        other = frame.set_index(["customer", "placed"], drop=False)
    else:
        numbers = np.random.default_rng(0).permutation(600)
        other = frame.set_index(numbers if index == "shuffled" else numbers // 600)

    first, second = declare().train(frame), declare().train(other)

    assert first.bundle.files["model.onnx"] == second.bundle.files["model.onnx"]


HOPELESS: dict[str, tuple[Callable[[], Any], str]] = {
    "lazy": (lambda: pl.DataFrame({"a": [1]}).lazy(), "LazyFrame is no table.*Collect it first"),
    "list": (lambda: [{"a": 1}], "a list is no table"),
    "column twice": (
        lambda: pd.concat([pd.DataFrame(TABLE), pd.DataFrame({"total": TABLE["total"]})], axis=1),
        "more than one column 'total'",
    ),
    "bytes": (
        lambda: {**TABLE, "channel": [text.encode() for text in TABLE["channel"]]},
        "column 'channel' holds a bytes",
    ),
    "lone surrogate": (lambda: {**TABLE, "channel": ["\ud800"] * 600}, "cannot be read"),
    "no rows": (lambda: rows(TABLE, slice(0, 0)), "has no rows"),
    "one row": (lambda: rows(TABLE, slice(0, 1)), "one class"),
    "two rows": (lambda: rows(TABLE, slice(0, 2)), "one class"),
    "one moment": (
        lambda: {**TABLE, "placed": np.full(600, START)},
        "none would be on the held-out side",
    ),
    "all missing": (
        lambda: {**TABLE, "total": np.full(600, np.nan)},
        "each of its 600 rows breaks a rule: 'total' is missing",
    ),
    "device": (lambda: "/dev/zero", "no ordinary file"),
    "directory": (lambda: Path(__file__).parent, "is a directory"),
    "name that is none": (lambda: "a\0b", "does not exist"),
    "nothing": (lambda: None, "has no table"),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_train_refuses_what_is_hopeless(case: str) -> None:
    """Each is refused by our own error, which says what it was."""
    make, words = HOPELESS[case]

    with pytest.raises(MlembedError, match=words):
        declare().train(make())


def test_train_refuses_a_test_table_without_its_columns() -> None:
    """A table to measure on is held to the same record."""
    test = {name: values for name, values in TABLE.items() if name != "total"}

    with pytest.raises(DataError, match="lacks 1 column: 'total'"):
        declare().train(TABLE, test=test)


ODD = (
    *("n", "y", "v0", "v0_texts", "x0", "c0", "e0", "t0", "reason", "problem", "raw", "judged"),
    *("cleaned", "faults", "classes", "known", "select", "order", "group", "row", "found", "good"),
)


def test_train_takes_columns_called_like_its_own() -> None:
    """No field name meets the names that the reading, the graph or the bundle use themselves."""
    random = np.random.default_rng(0)
    fields: dict[str, Any] = dict.fromkeys(ODD[:-2], float) | dict.fromkeys(ODD[-2:], str)
    record = type("Odd", (mlembed.Record,), {"__annotations__": fields, "__module__": __name__})
    table = {name: random.normal(size=400) for name in ODD[:-2]}
    table |= {name: random.choice(np.array(["a", "b"], dtype=object), 400) for name in ODD[-2:]}
    table["input"] = np.where(table["n"] + table["y"] > random.normal(size=400), "yes", "no")

    made = declare(
        record=record,
        transforms={},
        label=Binary("input", positive="yes"),
        cleaning=Cleaning(unique=("n", "reason")),
        split=GroupSplit("c0"),
    ).train(table)

    assert made.proof.passed
    assert made.metrics["roc_auc"] > 0.8


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a\nb", "\U0001f600", "x" * 10_000, "drop; --"])
def test_train_takes_headers_of_any_kind(name: str) -> None:
    """A renamed column, a grouping column and one that is not asked for may be called anything."""
    others = {key: values for key, values in TABLE.items() if key not in ("total", "customer")}
    table = {
        **others,
        f"{name}1": TABLE["total"],
        f"{name}2": TABLE["customer"],
        name: TABLE["days"],
    }

    made = declare(
        cleaning=Cleaning(rename={f"{name}1": "total"}),
        split=GroupSplit(f"{name}2"),
        entity=f"{name}2",
    ).train(table)

    assert made.n_train + made.n_test == 600


class Told(LogisticRegression):  # type: ignore[misc]
    """An estimator that nobody has a graph for."""


UNFIT: dict[str, tuple[Callable[[], Any], str]] = {
    "class": (lambda: [LogisticRegression], r"is a class, expected LogisticRegression\(\.\.\.\)"),
    "none": (lambda: [None], "a NoneType is no estimator"),
    "no list": (LogisticRegression, "candidates must be a list"),
    "stranger": (lambda: [Told()], "has no exact ONNX form"),
    "bad setting": (
        lambda: [RandomForestClassifier(n_estimators=-1)],
        "RandomForestClassifier refuses the table: The 'n_estimators' parameter",
    ),
    "bad setting of LightGBM": (
        lambda: [lightgbm().set_params(num_leaves=1)],
        "LGBMClassifier refuses the table: Check failed",
    ),
    "memory": (
        lambda: [MLPClassifier(hidden_layer_sizes=(10**6, 10**6))],
        "MLPClassifier needs more memory than there is",
    ),
    "never there": (lambda: [MLPClassifier(max_iter=2)], "MLPClassifier did not converge"),
    "weights of no class": (
        lambda: [LogisticRegression(class_weight={"yes": 3})],
        "LogisticRegression refuses the table",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_train_tells_what_an_estimator_raised(case: str) -> None:
    """Whatever a candidate raises is one line with its name, and nothing is made."""
    make, words = UNFIT[case]

    with pytest.raises(MlembedError, match=words):
        declare(candidates=make()).train(TABLE)


def test_train_takes_numbers_at_the_ends_of_doubles() -> None:
    """Forests compare what a float32 cannot hold as the estimator itself does."""
    made = declare(
        candidates=[RandomForestClassifier(n_estimators=10, max_depth=4)],
        checks=Checks(max_rejected=0.1),
    ).train({**TABLE, "total": TABLE["total"] * 1e37})

    assert made.proof.max_abs_error <= 1e-9


@pytest.mark.parametrize("step", [1, -1])
def test_train_refuses_to_measure_on_the_very_table_it_trains_on(step: int) -> None:
    """What a model says of labels it has seen is no measure of it, in whatever order they stand."""
    again = {name: values[::step] for name, values in TABLE.items()}

    with pytest.raises(DataError, match=r"is the table to train on.+give other rows \(--test\)"):
        declare().train(TABLE, test=again)


def test_train_tells_of_rows_of_both_tables() -> None:
    """Another table may hold rows that were trained on: they are measured, and that is told."""
    newest_first = {name: values[:0:-1] for name, values in TABLE.items()}

    made = declare().train(TABLE, test=newest_first)

    assert (made.n_train, made.n_test) == (600, 599)
    (seen,) = [c for c in made.evaluation["data"]["checks"] if c["check"] == "seen"]
    assert (seen["status"], seen["found"][:6]) == ("warning", "100.0%")


def written(folder: Path) -> Path:
    """Return the orders as CSV."""
    path = folder / "orders.csv"
    pd.DataFrame(TABLE).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("what", ["rejects", "report", "study"])
@pytest.mark.parametrize("link", [False, True])
def test_train_never_writes_over_its_table(tmp_path: Path, what: str, link: bool) -> None:  # noqa: FBT001
    """A slip in a file's name costs a message, not the table; a link to it is no other file."""
    path = written(tmp_path)
    before, target = path.read_bytes(), path
    if link:
        target = tmp_path / "linked"
        target.symlink_to(path)
    outputs: dict[str, Any] = {what: target}

    with pytest.raises(DataError, match=f"the {what} would replace"):
        declare().train(Table(path).join(Table(path), on="customer"), **outputs)

    assert path.read_bytes() == before


def test_train_never_writes_two_things_into_one_file(tmp_path: Path) -> None:
    """Report and rejected rows have a file each, and neither is a directory."""
    with pytest.raises(DataError, match="the rejects and the report are both"):
        declare().train(TABLE, report=tmp_path / "one", rejects=tmp_path / "one")
    with pytest.raises(DataError, match="it is a directory, name a file"):
        declare().train(TABLE, report=tmp_path)


@pytest.mark.parametrize(
    ("told", "raised"), [("Query interrupted", KeyboardInterrupt), ("another", RuntimeError)]
)
def test_reading_takes_an_interruption_for_one(told: str, raised: type[BaseException]) -> None:
    """Ctrl-C while DuckDB works, which it tells in these words, is no damaged table."""
    with pytest.raises(raised), opened(TABLE, Cleaning()):
        raise RuntimeError(told)


def _parquet(path: Path) -> None:
    pq.write_table(pa.table({name: list(values) for name, values in TABLE.items()}), path)


def _json(path: Path) -> None:
    frame = pd.DataFrame(TABLE).astype(object)
    plain = frame.where(frame.notna(), None).to_dict("records")
    path.write_text(json.dumps(plain), encoding="utf-8")


def _gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(written(path.parent).read_bytes()))


def _latin(path: Path) -> None:
    text = written(path.parent).read_text("utf-8").replace("phone", "téléphone")
    path.write_bytes(text.encode("cp1252"))


FILES: dict[str, tuple[Callable[[Path], object], float, str]] = {
    "t.csv.gz": (_gzip, 0.6, "cannot be read to its end"),
    "t.parquet": (_parquet, 0.6, "no Parquet file that can be read"),
    "t.json": (_json, 0.6, "t.json"),
    "latin.csv": (_latin, 1.0, "is not UTF-8 text"),
}
COMMAND = ("train", "declared.py", "--registry", "reg", "--rejects", "rejects.csv")
DECLARATION = """
from training.orders import declare
trainer = declare()
"""


@pytest.mark.parametrize("name", FILES)
def test_train_command_refuses_a_file_that_is_cut(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """The command ends with 2 and one line that names the file, and leaves nothing."""
    monkeypatch.chdir(tmp_path)
    make, share, words = FILES[name]
    make(tmp_path / name)
    (tmp_path / "declared.py").write_text(DECLARATION, encoding="utf-8")
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])

    code = run([*COMMAND, "--data", name])

    told = capsys.readouterr().err.splitlines()
    assert code == 2
    assert told[-1].startswith("error: ")
    assert name in told[-1]
    assert words in told[-1]
    assert not FileRegistry(tmp_path / "reg").versions("returns")
    assert not list(tmp_path.rglob(".tmp-*"))


def test_train_command_sets_the_torn_row_of_a_file_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a CSV that ends amid a row all rows before it are good, and it is kept with its reason."""
    monkeypatch.chdir(tmp_path)
    lines = written(tmp_path).read_text("utf-8").splitlines()[:500]
    text = "\n".join([*lines[:-1], lines[-1][: len(lines[-1]) // 3]])
    Path("orders.csv").write_text(text, encoding="utf-8")
    Path("declared.py").write_text(DECLARATION, encoding="utf-8")

    code = run([*COMMAND, "--data", "orders.csv"])

    with Path("rejects.csv").open(encoding="utf-8", newline="") as file:
        assert [row["row"] for row in csv.DictReader(file)] == ["499"]
    assert code == 0


def test_train_command_refuses_a_pipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be read once only would hang the command; it is refused at once."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("declared.py").write_text(DECLARATION, encoding="utf-8")

    code = run([*COMMAND, "--data", "pipe"])

    assert code == 2
    assert "is no ordinary file" in capsys.readouterr().err.splitlines()[-1]
