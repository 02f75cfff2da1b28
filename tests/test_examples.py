"""Every example runs, as a newcomer would run it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mlembed
from mlembed.registry.file import FileRegistry
from mlembed.settings import Settings
from mlembed.training.proof import estimator_scores

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


@pytest.mark.timeout(600)
def test_quickstart_tells_the_whole_story(tmp_path: Path) -> None:
    """From training to a delivered action: drift found, challenger promoted, served live."""
    command = [sys.executable, str(EXAMPLES / "quickstart.py"), "--keep", str(tmp_path)]

    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=_environment(tmp_path)
    )

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["drift_before"] is False
    assert result["drift_detected"] is True
    assert result["challenger_promoted"] is True
    assert result["live_version"] == "1.1.0"
    assert result["versions"].keys() == {"1.0.0", "1.1.0"}
    assert result["predictions"] == sum(result["versions"].values())
    assert result["actions_delivered"] > 0
    assert result["max_export_error"] <= 1e-9
    assert result["predict_vs_session_run"] > 0
    assert "<svg" in (tmp_path / "after.html").read_text(encoding="utf-8")


def test_income_reaches_the_published_error(data_folder: Path, tmp_path: Path) -> None:
    """The census command of the README gives at most 13.5 % error on the official test file."""
    adult = data_folder / "adult"
    command = [
        *(sys.executable, "-m", "mlembed", "train", str(EXAMPLES / "income" / "train.py")),
        *("--data", str(adult / "adult.data"), "--test", str(adult / "adult.test")),
        *("--registry", f"file://{tmp_path}/registry", "--alias", "champion", "--json"),
    ]

    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=_environment(tmp_path)
    )

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["n_train"], result["n_test"]) == (32_561, 16_281)
    assert result["rejected"] == {}
    assert result["metrics"]["error"] <= 0.135


def test_income_bundle_equals_the_estimator(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host's scores equal scikit-learn's on each of the 16,281 official test rows, to 1e-9."""
    trainer = _module("income", "train", monkeypatch).trainer
    adult = data_folder / "adult"
    test = trainer.read(adult / "adult.test")
    candidate = trainer.train(adult / "adult.data", test=test)
    store = FileRegistry(tmp_path / "registry")
    store.publish(candidate.bundle)
    store.promote("income", "champion", "1.0.0")
    settings = Settings(log_dir=tmp_path / "log", poll_seconds=0)

    batch = mlembed.load("income", registry=store, settings=settings).predict_batch(test.columns)

    fitted = candidate.fitted
    rows = _encoded(fitted.columns, test.columns)
    expected = estimator_scores(fitted.estimator, fitted.features_model)(rows)
    assert len(batch) == 16_281
    assert np.abs(batch.scores - expected).max() <= 1e-9


def _encoded(columns: Any, table: Any) -> Any:
    from mlembed.serving.encoder import Encoder
    from mlembed.serving.tables import encode_columns

    return encode_columns(Encoder("income", columns), table)[0]


def _module(example: str, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a module of an example; the modules beside it are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(EXAMPLES / example))
    monkeypatch.delitem(sys.modules, "record", raising=False)
    spec = importlib.util.spec_from_file_location(
        f"{example}_{name}", EXAMPLES / example / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delitem(sys.modules, "record", raising=False)
    return module


def _environment(home: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONPATH": path, "HOME": str(home)}
