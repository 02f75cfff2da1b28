"""Models as the report meets them: fitted on synthetic data, measured, in the bundle's layout."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve, roc_curve

from mlembed.bundle.manifest import Manifest, Task
from mlembed.columns import Category, Column
from mlembed.monitoring.metrics import evaluate

EVIL = "<script>alert(1)</script>"
ODD = (
    '"><img src=x onerror=alert(1)>',
    "ab" * 90,
    "مرحبا بالعالم",
    "🦊🎉",
    "' onclick='x",
    "{{ 7*7 }}",
)
_START = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)

PROOF: dict[str, Any] = {
    "passed": True,
    "n_rows": 4733,
    "max_abs_error": 3.3e-16,
    "tolerance": 1e-9,
    "seed": 0,
    "label_disagreements": 0,
    "threshold_ties": 3,
    "not_numbers": 2,
    "tolerance_reason": "",
    "n_heldout": 4120,
    "n_nodes": 14,
    "ops": {"TreeEnsemble": 1, "Cast": 13},
    "versions": {"onnxruntime": "1.32.0"},
    "groups": {
        "held-out": {
            "n_rows": 1200,
            "max_abs_error": 3.3e-16,
            "label_disagreements": 0,
            "threshold_ties": 0,
        },
        "split thresholds": {
            "n_rows": 3533,
            "max_abs_error": 2.2e-16,
            "label_disagreements": 0,
            "threshold_ties": 3,
        },
    },
}


def manifest(**changes: Any) -> Manifest:
    """Return a manifest of a model of visits, with *changes*."""
    values: dict[str, Any] = {
        "name": "visits",
        "version": "1.4.0",
        "created": "2026-03-02T11:22:33+00:00",
        "columns": (
            Column(name="minutes", kind="number", minimum=0, maximum=600, unit="minutes"),
            Column(name="basket", kind="number", nullable=True, minimum=0, unit="EUR"),
            Column(
                name="source", kind="category", vocabulary=("advert", "mail", "search"), rare=True
            ),
            Column(
                name="town",
                kind="category",
                vocabulary=tuple(f"town {i}" for i in range(40)),
                rule=Category(unknown="missing"),
            ),
            Column(name="member", kind="boolean"),
            Column(name="since", kind="timestamp"),
        ),
        "transforms": {},
        "features": ("minutes", "basket", "source", "town", "member"),
        "task": Task(kind="binary", label="ordered", positive="yes", threshold=0.31),
        "metrics": {},
        "training": {
            "estimator": "HistGradientBoostingClassifier",
            "parameters": {"max_iter": "200"},
            "metric": "roc_auc",
            "seed": 0,
            "n_train": 9000,
            "n_test": 4120,
            "python": "3.11.9",
            "code": "git 0123456789abcdef+",
            "description": "One visit to a shop.",
            "libraries": {"mlembed": "0.5.0", "scikit-learn": "1.9.1", "onnx": "1.23.2"},
        },
        "onnx": {"ir_version": 10, "opsets": {"ai.onnx": 21}},
        "runtime": {"onnxruntime": ">=1.27"},
    }
    return Manifest(**{**values, **changes})


def regression_manifest() -> Manifest:
    """Return a manifest of a model of a quantity."""
    return manifest(
        name="rides", task=Task(kind="regression", label="rides", unit="rides per hour")
    )


@functools.cache
def _visits() -> tuple[Any, Any, Any]:
    random = np.random.default_rng(4)
    x = random.normal(size=(4120, 3))
    y = random.random(4120) < 1 / (1 + np.exp(2.5 - 1.6 * x[:, 0] - x[:, 1]))
    scores = LogisticRegression().fit(x, y).predict_proba(x)[:, 1]
    return x, y.astype(float), scores


def binary() -> dict[str, Any]:
    """Return a whole evaluation of a binary label."""
    x, y, scores = _visits()
    metrics = evaluate("binary", y, scores, 0.31)
    positive = scores >= 0.31
    return {
        "n": len(y),
        "positives": int(y.sum()),
        "metric": "roc_auc",
        "metrics": metrics,
        "intervals": {name: [value - 0.012, value + 0.0113] for name, value in metrics.items()},
        "bootstrap": {"resamples": 500, "clusters": 812, "entity": "customer"},
        "contest": {
            "metric": "roc_auc",
            "folds": 3,
            "candidates": {
                "DummyClassifier": 0.5,
                "LogisticRegression": 0.8312,
                "HistGradientBoostingClassifier": 0.8611,
            },
            "spread": {
                "DummyClassifier": [0.5, 0.5, 0.5],
                "LogisticRegression": [0.82, 0.831, 0.8426],
                "HistGradientBoostingClassifier": [0.85, 0.866, 0.8673],
            },
            "baseline": "DummyClassifier",
            "linear": "LogisticRegression",
            "chosen": "HistGradientBoostingClassifier",
        },
        "tuning": {
            "trials": 30,
            "pruned": 11,
            "best_trial": 17,
            "values": [0.83] * 4 + [0.845] * 6 + [0.851] * 7 + [0.8611] * 13,
            "parameters": {"learning_rate": 0.0731234567, "max_depth": 3, "max_iter": 200},
        },
        "confusion": {
            "true_positive": int(np.sum((y == 1) & positive)),
            "false_positive": int(np.sum((y == 0) & positive)),
            "false_negative": int(np.sum((y == 1) & ~positive)),
            "true_negative": int(np.sum((y == 0) & ~positive)),
        },
        "calibration": _calibration(y, scores),
        "calibration_error": 0.0121,
        "threshold": {
            "rule": "cost",
            "value": 0.31,
            "detail": {
                "asked": {"false_positive": 1.0, "false_negative": 5.0},
                "n": 2000,
                "recall": 0.81234567,
            },
        },
        "curves": _curves(y, scores),
        "slices": _slices(metrics["roc_auc"]),
        "importance": [
            {"column": "minutes", "drop": 0.21, "low": 0.19, "high": 0.23},
            {"column": "basket", "drop": 0.08, "low": 0.061, "high": 0.095},
            {"column": "source", "drop": 0.012, "low": 0.004, "high": 0.02},
            {"column": "town", "drop": 0.0003, "low": -0.002, "high": 0.0026},
            {"column": "member", "drop": -0.0004, "low": -0.001, "high": 0.0002},
        ],
        "dependence": _dependence(),
        "champion": {
            "title": "visits@1.3.0",
            "metric": "roc_auc",
            "champion": 0.8499,
            "challenger": 0.8613,
            "difference": 0.0114,
            "low": 0.0021,
            "high": 0.0203,
            "n": 4120,
            "resamples": 1000,
            "clusters": 812,
        },
        "gates": [
            {"gate": "floor", "asked": "roc_auc >= 0.8", "found": "0.8613", "passed": True},
            {"gate": "champion", "asked": "gain > -0.005", "found": "0.0021", "passed": True},
            {"gate": "latency", "asked": "at most 200 µs a row", "found": "38 µs", "passed": True},
        ],
        "folds": {
            "kind": "TimeSplit",
            "gap_seconds": 86_400,
            "sides": [
                _side("train", 0, 300, 9000),
                _side("calibration", 301, 360, 2000),
                _side("test", 361, 430, 4120),
            ],
            "shared_entities": {"column": "customer", "n": 112, "share_of_test_rows": 0.3012},
        },
        "leakage": [
            {
                "column": "paid_at",
                "kind": "later",
                "detail": "99.1% of its times are after the prediction",
                "action": "dropped",
            },
            {
                "column": "basket",
                "kind": "auc",
                "detail": "ROC AUC 0.991 alone",
                "action": "warned",
            },
            {
                "column": "member",
                "kind": "identifier",
                "detail": "as many",
                "action": "warned",
            },
        ],
        "data": _data(x),
        "reproduce": {
            "seed": 0,
            "data_digest": "ab" * 32,
            "code": "git 0123456789abcdef+",
            "libraries": {"mlembed": "0.5.0", "scikit-learn": "1.9.1"},
            "command": "mlembed train visits/train.py --data visits.parquet --verify visits-1.4.0",
        },
    }


def regression() -> dict[str, Any]:
    """Return an evaluation of a quantity, with residuals and an interval."""
    random = np.random.default_rng(5)
    x = random.uniform(0, 24, size=(3000, 1))
    y = 200 + 150 * np.sin(x[:, 0] / 4) + random.gamma(2, 20, 3000)
    scores = HistGradientBoostingRegressor(max_iter=30).fit(x, y).predict(x)
    residuals = y - scores
    counts, edges = np.histogram(residuals, 30)
    order = np.array_split(np.argsort(scores), 10)
    return {
        "n": len(y),
        "metric": "mae",
        "metrics": evaluate("regression", y, scores),
        "intervals": {"mae": [20.1, 22.7]},
        "contest": {
            "metric": "mae",
            "candidates": {
                "DummyRegressor": 99.12,
                "Ridge": 61.2,
                "HistGradientBoostingRegressor": 21,
            },
            "baseline": "DummyRegressor",
            "linear": "Ridge",
            "chosen": "HistGradientBoostingRegressor",
        },
        "residuals": {
            "bins": edges.tolist(),
            "counts": counts.tolist(),
            "by_score": [
                {
                    "score": float(scores[part].mean()),
                    "mean_error": float(residuals[part].mean()),
                    "low": float(residuals[part].mean() - 3),
                    "high": float(residuals[part].mean() + 3),
                    "n": len(part),
                }
                for part in order
            ],
        },
        "interval": {
            "level": 0.9,
            "below": 31.2345,
            "above": 63.4,
            "coverage": 0.9032,
            "coverage_low": 0.88,
            "coverage_high": 0.92,
            "n_calibration": 800,
        },
        "gates": [
            {"gate": "floor", "asked": "mae <= 20", "found": "21.4", "passed": False},
            {"gate": "size", "asked": "at most 1 MB", "found": "0.2 MB", "passed": True},
        ],
        "folds": {
            "kind": "RandomSplit",
            "sides": [{"side": "train", "n": 9}, {"side": "test", "n": 3000}],
        },
        "leakage": [],
    }


def minimal() -> dict[str, Any]:
    """Return the evaluation of a bundle made before most of it was measured."""
    return {
        "n": 10,
        "metrics": {"roc_auc": 0.75},
        "contest": {"metric": "roc_auc", "candidates": {}},
    }


def odd() -> tuple[Manifest, dict[str, Any]]:
    """Return a model whose every name and value came from someone unkind."""
    evaluation = binary()
    names = (EVIL, *ODD)
    for i, item in enumerate(evaluation["slices"]):
        item["column"], item["value"] = names[i % 7], names[(i + 1) % 7]
    for i, key in enumerate(("importance", "dependence", "leakage")):
        for j, item in enumerate(evaluation[key]):
            item["column"] = names[(i + j) % 7]
    for item in evaluation["dependence"]:
        if "labels" in item:
            item["labels"] = list(names[: len(item["labels"])])
    for i, item in enumerate(evaluation["data"]["columns"]):
        item["column"] = names[i % 7]
        item["top"] = [[name, 10] for name in names[:3]]
    evaluation["data"]["reasons"] = dict.fromkeys(names, 2)
    evaluation["gates"] = [{"gate": n, "asked": n, "found": n, "passed": False} for n in names]
    evaluation["contest"]["candidates"] = dict.fromkeys(names, 0.8)
    evaluation["threshold"]["detail"] = {name: name for name in names}
    evaluation["champion"]["title"] = evaluation["reproduce"]["command"] = EVIL
    evaluation["tuning"]["parameters"] = {name: name for name in names}
    columns = tuple(
        Column(name=f"c{i}", kind="category", vocabulary=(name,), unit=name)
        for i, name in enumerate(names)
    )
    task = Task(kind="binary", label=EVIL, positive=ODD[0], threshold=0.31)
    return manifest(columns=columns, task=task, training={name: name for name in names}), evaluation


def wide(n_columns: int = 30) -> dict[str, Any]:
    """Return an evaluation of many columns, as large as one gets."""
    evaluation = binary()
    names = [f"column_{i}_of_a_wide_table" for i in range(n_columns)]
    column = evaluation["data"]["columns"][0]
    evaluation["data"]["columns"] = [{**column, "column": name} for name in names]
    evaluation["importance"] = [{**evaluation["importance"][0], "column": name} for name in names]
    evaluation["slices"] = [
        {**evaluation["slices"][0], "column": names[i % n_columns], "value": f"value {i}"}
        for i in range(300)
    ]
    evaluation["dependence"] = [
        {**evaluation["dependence"][i % 3], "column": name} for i, name in enumerate(names)
    ]
    check = evaluation["data"]["checks"][0]
    evaluation["data"]["checks"] = [
        {**check, "check": kind, "column": name}
        for name in names
        for kind in ("type", "range", "nulls")
    ]
    return evaluation


def _calibration(y: Any, scores: Any) -> list[dict[str, float]]:
    found = []
    for part in np.array_split(np.argsort(scores), 10):
        share = float(y[part].mean())
        found.append(
            {
                "n": len(part),
                "mean_score": float(scores[part].mean()),
                "positive_share": share,
                "low": max(0.0, share - 0.04),
                "high": min(1.0, share + 0.05),
            }
        )
    return found


def _curves(y: Any, scores: Any) -> dict[str, Any]:
    fpr, tpr, _ = roc_curve(y, scores)
    precision, recall, _ = precision_recall_curve(y, scores)
    gain = np.cumsum(y[np.argsort(-scores)]) / y.sum()
    thresholds = np.linspace(0, 1, 101)
    cost = [np.mean(np.where(scores >= t, 1 - y, 5 * y)) for t in thresholds]

    def thinned(x: Any, values: Any) -> dict[str, list[float]]:
        picks = np.linspace(0, len(x) - 1, 200).round().astype(int)
        return {"x": np.asarray(x)[picks].tolist(), "y": np.asarray(values)[picks].tolist()}

    return {
        "roc": thinned(fpr, tpr),
        "precision_recall": thinned(recall[::-1], precision[::-1]),
        "gain": thinned(np.arange(1, len(y) + 1) / len(y), gain),
        "cost": {"x": thresholds.tolist(), "y": [float(value) for value in cost]},
    }


def _slices(overall: float) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for i in range(22):
        value = overall - 0.07 + 0.006 * i
        made.append(
            {
                "column": ("source", "town", "member", "basket")[i % 4],
                "value": ("search", f"town {i}", "yes", f"[{i}, {i + 10})")[i % 4],
                "n": 60 + 90 * i,
                "value_of_metric": value,
                "low": value - 0.05,
                "high": value + 0.04,
                "difference": value - overall,
            }
        )
    return [*made, {"column": "town", "value": "town 39", "n": 12, "reason": "fewer than 50 rows"}]


def _dependence() -> list[dict[str, Any]]:
    grid = np.linspace(0, 600, 20)
    return [
        {
            "column": "minutes",
            "kind": "number",
            "x": grid.tolist(),
            "y": (1 / (1 + np.exp(3 - grid / 150))).tolist(),
            "share": (np.exp(-grid / 150) / np.exp(-grid / 150).sum()).tolist(),
            "missing": {"y": 0.4, "share": 0.1},
        },
        {
            "column": "source",
            "kind": "category",
            "x": [0, 1, 2],
            "y": [0.1, 0.3, 0.22],
            "labels": ["search", "mail", "advert"],
            "share": [0.6, 0.3, 0.1],
        },
        {
            "column": "since",
            "kind": "timestamp",
            "x": [1.6e9 + 1e7 * i for i in range(8)],
            "y": [0.2, 0.21, 0.22, 0.2, 0.25, 0.24, 0.26, 0.3],
            "share": [0.125] * 8,
        },
        {
            "column": "member",
            "kind": "boolean",
            "x": [0, 1],
            "y": [0.11, 0.31],
            "share": [0.4, 0.6],
        },
    ]


def _side(side: str, start: int, end: int, n: int) -> dict[str, Any]:
    return {
        "side": side,
        "n": n,
        "from": (_START + dt.timedelta(days=start)).isoformat(),
        "until": (_START + dt.timedelta(days=end, hours=7)).isoformat(),
        "positives": 0.1234,
    }


def _data(x: Any) -> dict[str, Any]:
    counts, edges = np.histogram(np.abs(x[:, 0]) * 100, 20)
    number = {
        "column": "minutes",
        "kind": "number",
        "missing_share": 0.0,
        "n_distinct": 3811,
        "minimum": 0.0,
        "maximum": 598.30000004,
        "mean": 81.234567,
        "quantiles": [0.0, 33.1, 67.25, 115.123456, 598.3],
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }
    return {
        "digest": "ab" * 32,
        "n_read": 15_320,
        "n_rejected": 200,
        "reasons": {"'minutes' is above 600": 150, "duplicate of key (id)": 50},
        "columns": [
            number,
            {**number, "column": "basket", "missing_share": 0.1},
            {
                "column": "source",
                "kind": "category",
                "missing_share": 0.0002,
                "n_distinct": 5,
                "top": [
                    ["search", 9000],
                    ["mail", 4500],
                    ["advert", 1600],
                    ["fax", 15],
                    ["other", 5],
                ],
            },
            {
                "column": "since",
                "kind": "timestamp",
                "missing_share": 0.0,
                "n_distinct": 14_000,
                "minimum": 1.6e9,
                "maximum": 1.7e9,
                "quantiles": [1.6e9, 1.62e9, 1.65e9, 1.67e9, 1.7e9],
                "histogram": {"edges": [0, 1, 2], "counts": [10, 20]},
            },
        ],
        "checks": [
            {
                "check": "missing",
                "column": "basket",
                "found": 0.1,
                "allowed": 0.05,
                "status": "warning",
            },
            {"check": "duplicate keys", "column": "", "found": 0, "allowed": 0, "status": "ok"},
            {
                "check": "future times",
                "column": "since",
                "found": 3,
                "allowed": 0,
                "status": "failed",
            },
        ],
    }
