"""What the examples reach on the tables they are made for, and what a run costs beside doing it by hand."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlembed.training import Trainer

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MLEMBED_TEST_DATA", ROOT.parent / "shared" / "data"))


def tables(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Train the examples on the tables of the UCI repository, where they are there."""
    if not DATA.is_dir():
        yield Finding("tables: none here, set MLEMBED_TEST_DATA", 0)
        return
    yield from census()
    yield from machines()
    yield from bikes()
    yield from by_hand(1 if short else 5)


def census() -> Iterator[Finding]:
    """Train on the official training file and measure on the official test file."""
    made = declared("income").train(DATA / "adult/adult.data", test=DATA / "adult/adult.test")
    yield Finding("census: error on the official test file", made.metrics["error"], most=0.13)
    yield Finding("census: ROC AUC on it", made.metrics["roc_auc"], least=0.926)


def machines() -> Iterator[Finding]:
    """Train on four fifths and measure on the fifth, five times; the trainer drops what leaks."""
    trainer = declared("maintenance", threshold=None)
    table = trainer.read(DATA / "ai4i/ai4i2020.csv")
    runs = [
        trainer.train(table.take(fold.train), test=table.take(fold.test))
        for fold in trainer.held_out_by.folds(table, 5)
    ]
    dropped = {leak["column"] for run in runs for leak in run.evaluation["leakage"]}
    told = f"dropped: {', '.join(sorted(dropped))}"
    for metric, least in (("roc_auc", 0.975), ("average_precision", 0.87)):
        values = [run.metrics[metric] for run in runs]
        spread = f"{min(values):.3f} to {max(values):.3f}; {told}"
        yield Finding(
            f"AI4I, 5 folds: {metric}", float(np.mean(values)), least=least, detail=spread
        )


def bikes() -> Iterator[Finding]:
    """Hold out the last two months and compare with the same hour a week before."""
    os.environ["BIKES"] = str(DATA / "bike_sharing/bike_sharing.csv")
    made = declared("demand").train()
    ours, theirs = made.metrics["wape"], made.evaluation["baseline"]["value"]
    detail = f"{ours:.4f} / {theirs:.4f}"
    yield Finding("bikes: WAPE / that of the week before", ours / theirs, most=0.5, detail=detail)


def by_hand(rounds: int) -> Iterator[Finding]:
    """Time the whole census run and the same fits by hand, in turns."""
    trainer = declared("income")

    def whole() -> None:
        trainer.train(DATA / "adult/adult.data", test=DATA / "adult/adult.test")

    ours: list[float] = []
    theirs: list[float] = []
    bare: list[float] = []
    for _ in range(rounds):
        ours.append(_seconds(whole))
        theirs.append(_seconds(lambda: _fits(folds=trainer.folds)))
        bare.append(_seconds(lambda: _fits(folds=0)))
    run, same, one = map(statistics.median, (ours, theirs, bare))
    yield Finding(
        "census: a whole run / the same fits by hand",
        run / same,
        most=1.5,
        detail=f"{run:.1f} / {same:.1f} s",
    )
    yield Finding(
        "census: a whole run / one fit by hand", run / one, detail=f"{run:.1f} / {one:.1f} s"
    )


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _fits(folds: int) -> None:
    """Do what the example does with scikit-learn alone: read, choose, fit, predict, measure."""
    train, test = (_read(DATA / "adult" / f"adult.{name}") for name in ("data", "test"))
    boosting = declared("income").candidates[1]
    x, y = train.drop(columns="Y"), train["Y"]
    if folds:
        numbers = list(x.select_dtypes("number"))
        words = [name for name in x if name not in numbers]
        linear = make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
                (OneHotEncoder(handle_unknown="ignore"), words),
            ),
            LogisticRegression(max_iter=1000),
        )
        for candidate in (linear, boosting):
            cross_val_score(
                candidate, x, y, scoring="roc_auc", cv=StratifiedKFold(folds, shuffle=True)
            )
    fitted = boosting.fit(x, y)
    roc_auc_score(test["Y"], fitted.predict_proba(test.drop(columns="Y"))[:, 1])


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, skipinitialspace=True, na_values="?")
    table["Y"] = table["Y"].str.startswith(">50K").astype(int)
    gain, loss = table["capital-gain"], table["capital-loss"]
    table = table.assign(log_gain=np.log1p(gain), log_loss=np.log1p(loss), net=gain - loss)
    for name in table.columns[table.dtypes.astype(str).isin(["object", "str"])]:
        table[name] = table[name].astype("category")
    return table.drop(columns="fnlwgt")


def declared(example: str, **changes: Any) -> Trainer:
    """Return the trainer of an example, with *changes*."""
    folder = ROOT / "examples" / example
    sys.modules.pop("record", None)
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location(f"{example}_train", folder / "train.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("record", None)
    trainer: Trainer = dataclasses.replace(module.trainer, **changes)
    return trainer
