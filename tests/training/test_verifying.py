"""Training again makes the same bundle, or says what is another one's doing."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import (  # type: ignore[import-untyped]
    threadpool_info,
    threadpool_limits,
)

from mlembed.bundle import strictjson
from mlembed.bundle.bundle import Bundle, pack
from mlembed.errors import DataError
from mlembed.features import clip, log1p
from mlembed.training import Binary, ByCapacity, Interval, Regression, Tuning
from mlembed.training.verifying import verify
from visits import trainer, visits

if TYPE_CHECKING:
    from mlembed.bundle.manifest import Manifest

ONE = {"candidates": [LogisticRegression()]}


def made(table: Any = None, *, test: Any = None, **changes: Any) -> Bundle:
    """Return the bundle of one run."""
    return (
        trainer(**{**ONE, **changes})
        .train(visits(800) if table is None else table, test=test)
        .bundle
    )


def changed(bundle: Bundle, **facts: Any) -> Bundle:
    """Return *bundle* with other words in its manifest, packed anew."""
    manifest: Manifest = dataclasses.replace(bundle.manifest, **facts, files=())
    return pack(manifest, dict(bundle.files))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tuning": Tuning(trials=4)},
        {"calibration": "isotonic", "threshold": ByCapacity(share=0.2)},
        {"candidates": [RandomForestClassifier(n_estimators=5, max_depth=4)], "baseline": "member"},
    ],
    ids=["plain", "tuned", "settled", "forest"],
)
def test_verify_makes_the_same_bundle(changes: dict[str, Any]) -> None:
    """The same table and declaration give the same graph to the byte, tuned or calibrated."""
    found = verify(made(**changes), made(**changes))

    assert found.passed
    assert found.differences == found.evidence == ()
    assert found.metrics == {}
    assert found.to_json()["passed"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 7}, "the seed: 0 then, 7 now"),
        ({"candidates": [LogisticRegression(C=0.01)]}, "its settings"),
        ({"table": visits(801)}, "the table: "),
    ],
    ids=["seed", "settings", "table"],
)
def test_verify_says_what_differs(changes: dict[str, Any], words: str) -> None:
    """Another seed, other settings or another table are named."""
    found = verify(made(), made(**changes))

    assert any(difference.startswith(words) for difference in found.differences)
    assert not found.passed


def test_verify_names_another_table_to_measure_on() -> None:
    """Where the metrics differ for their table's sake, that table is named."""
    found = verify(made(test=visits(300, seed=1)), made(test=visits(300, seed=2)))

    assert found.same_model
    assert not found.passed
    assert any(item.startswith("the table to measure on") for item in found.differences)


def test_verify_sees_a_metric_that_was_improved_by_hand() -> None:
    """A published metric that the run does not give is told beside the one it gives."""
    bundle = made()
    better = changed(bundle, metrics={**bundle.manifest.metrics, "roc_auc": 0.99})

    found = verify(better, made())

    assert not found.passed
    assert found.metrics["roc_auc"] == (0.99, bundle.manifest.metrics["roc_auc"])


def test_verify_sees_another_meaning_of_the_same_graph() -> None:
    """Another threshold, or a wider interval, is another bundle though its graph is the same."""
    bundle = made()
    task = dataclasses.replace(bundle.manifest.task, threshold=0.1)

    found = verify(changed(bundle, task=task), made())

    assert found.same_model
    assert not found.same_meaning
    assert not found.passed
    assert found.differences == ("threshold: 0.1 then, 0.5 now",)


def test_verify_sees_another_interval() -> None:
    """The interval of a quantity is part of what is verified."""
    table = visits(800)
    table["value"] = table["minutes"] * 2 + np.arange(800) % 7
    changes: dict[str, Any] = {
        "label": Regression("value"),
        "candidates": [Ridge()],
        "interval": Interval(),
    }
    bundle = made(table, **changes)
    interval = bundle.manifest.task.interval
    assert interval is not None
    wider = dataclasses.replace(interval, below=9 * interval.below)
    task = dataclasses.replace(bundle.manifest.task, interval=wider)

    assert verify(bundle, made(table, **changes)).passed
    assert not verify(changed(bundle, task=task), made(table, **changes)).passed


def test_verify_refuses_what_was_not_trained() -> None:
    """A bundle that says nothing of its table cannot be made again."""
    bundle = made()
    facts = {k: v for k, v in bundle.manifest.training.items() if k != "data_digest"}

    with pytest.raises(DataError, match="does not say what it was trained on"):
        verify(changed(bundle, training=facts), bundle)


def with_evaluation(bundle: Bundle, **parts: Any) -> Bundle:
    """Return *bundle* with other parts in its evaluation, packed anew."""
    evaluation = strictjson.dumps({**bundle.json("evaluation.json"), **parts})
    manifest = dataclasses.replace(bundle.manifest, files=())
    return pack(manifest, {**bundle.files, "evaluation.json": evaluation})


def test_verify_sees_every_number_of_the_evaluation() -> None:
    """A calibration error, an interval or a slice that was improved by hand is named."""
    bundle = made()
    held = bundle.json("evaluation.json")
    better = {
        "calibration_error": 0.0,
        "intervals": {**held["intervals"], "roc_auc": [0.98, 0.99]},
        "slices": held["slices"][1:],
    }

    found = verify(with_evaluation(bundle, **better), bundle)

    assert not found.passed
    assert set(found.evidence) == set(better)


def test_verify_passes_over_the_machine_and_the_day() -> None:
    """Latency, champion, gates and checks of the calendar are no one's to make again."""
    bundle = made()
    data = bundle.json("evaluation.json")["data"]
    other = {
        "serving": {"latency_seconds": 1.0, "size_bytes": 1},
        "champion": {"note": "another"},
        "gates": [],
        "data": {**data, "checks": []},
    }

    assert verify(with_evaluation(bundle, **other), bundle).passed


def test_verify_sees_another_reference_window() -> None:
    """The bins that drift is told by are part of what is verified."""
    bundle = made()
    reference = strictjson.dumps({**bundle.json("reference.json"), "n": 1})
    manifest = dataclasses.replace(bundle.manifest, files=())

    found = verify(pack(manifest, {**bundle.files, "reference.json": reference}), bundle)

    assert not found.passed
    assert found.evidence == ("the reference window",)


def test_verify_names_what_the_declaration_changed() -> None:
    """Features, transforms, columns and the label are told by name; no vocabulary is shown."""
    table = visits(800)
    table["sources"] = table["source"]
    lean = {"features": ["minutes", "member"], "transforms": {"short": log1p("minutes")}}

    found = verify(made(table), made(table, **lean, label=Binary("ordered", positive="no")))
    other = {**table, "source": np.where(table["source"] == "mail", "post", table["source"])}
    renamed = verify(made(table), made(other))

    assert not found.same_meaning
    assert "positive: yes then, no now" in found.differences
    assert (
        "the features: minutes, basket, source, member, log_basket then, minutes, member now"
        in found.differences
    )
    assert "the transforms differ: log_basket, short" in found.differences
    assert "the columns differ: source" in renamed.differences
    assert not any("post" in item for item in renamed.differences)


def test_verify_sees_another_order_of_columns() -> None:
    """A graph reads its columns by their place, so their order is part of what they mean."""
    bundle = made()

    found = verify(changed(bundle, columns=bundle.manifest.columns[::-1]), bundle)

    assert not found.passed
    assert found.differences == ("the columns stand in another order",)


def test_verify_takes_a_bundle_without_an_evaluation() -> None:
    """What a bundle does not say needs not be found again."""
    bundle = made()
    files = {name: held for name, held in bundle.files.items() if name != "evaluation.json"}
    manifest = dataclasses.replace(bundle.manifest, files=())

    assert verify(pack(manifest, files), bundle).passed


def test_verify_names_libraries_and_code() -> None:
    """Other versions are told even where nothing else differs; they alone are no failure."""
    bundle = made()
    training = {
        **bundle.manifest.training,
        "code": "git 0123",
        "libraries": {**bundle.manifest.training["libraries"], "scikit-learn": "0.1", "gone": "1"},
    }

    found = verify(changed(bundle, training=training), bundle)

    assert found.passed
    assert any(item.startswith("the code: git 0123 then") for item in found.differences)
    assert any(item.startswith("scikit-learn: 0.1 then, ") for item in found.differences)
    assert "gone: 1 then, none now" in found.differences


def test_verify_tells_where_the_rows_were_from() -> None:
    """What was retrained on a prediction log says so, where a table does not make it again."""
    bundle = made()
    training = {**bundle.manifest.training, "source": "prediction log", "data_digest": "0"}

    found = verify(changed(bundle, training=training), bundle)

    assert "where the rows are from: prediction log then, not known now" in found.differences


def test_training_gives_the_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    """Trees, grown by one thread or by two, are the same to the byte."""
    code = f"""
import hashlib, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from sklearn.ensemble import HistGradientBoostingClassifier
from visits import trainer, visits
from mlembed.training import threads
threads._FEWEST_FOR_SLEEPERS = 0
boosting = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5)
model = trainer(candidates=[boosting]).train(visits(6000)).bundle.files["model.onnx"]
print(hashlib.sha256(model).hexdigest())
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive"},
        ).stdout
        for threads in ("1", "2")
    }

    assert len(found) == 1


def test_training_gives_the_same_bytes_whatever_the_cores() -> None:
    """Sums are made in one order, whatever the number of threads that linear algebra may use."""
    transforms = {f"up_to_{top}": clip("minutes", 0.0, float(top)) for top in range(20, 60)}
    table = visits(16_000)
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads, user_api="blas"):
            bundle = made(table, transforms=transforms, features=["minutes", *transforms])
            found.append(bundle.files["model.onnx"])
            used = {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}
            assert used == {threads}

    assert found[0] == found[1]
