"""An import costs a host nothing: no library, no thread, no telemetry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mlembed

ROOT = Path(__file__).parents[1]
HEAVY = (
    *("numpy", "onnxruntime", "pydantic", "opentelemetry", "django", "sklearn", "duckdb"),
    *("typer", "httpx", "onnx", "skl2onnx", "pandas", "polars", "pyarrow", "matplotlib"),
    *("optuna", "scipy", "lightgbm", "xgboost", "adbc_driver_manager", "jinja2", "rich"),
)
PUBLIC = {
    *("Category", "Column", "Log", "Model", "Prediction", "Record", "Settings"),
    *("errors", "features", "load", "predicts", "testing", "training"),
}


def run(code: str, **environment: str) -> Any:
    """Run *code* in a fresh interpreter and return the JSON it prints."""
    variables = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**variables, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def loaded(code: str) -> set[str]:
    """Return those of the heavy libraries that *code* loads."""
    modules = run(f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))")
    return {name.partition(".")[0] for name in modules} & set(HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "import mlembed",
        "import mlembed.errors, mlembed.settings, mlembed.columns, mlembed.features",
        "import mlembed; mlembed.errors.SchemaError, mlembed.Settings, mlembed.features.log1p",
        "import mlembed; dir(mlembed)",
    ],
)
def test_import_loads_no_library(code: str) -> None:
    """Neither the package nor its declarations load what they build on."""
    assert loaded(code) == set()


def test_serving_loads_only_what_it_runs_on() -> None:
    """A host that predicts needs numpy and onnxruntime, and none of the rest."""
    assert loaded("import mlembed; mlembed.load") == {"numpy", "onnxruntime"}


def test_import_starts_no_thread() -> None:
    """No thread runs after the import, nor after a model was named."""
    count = run(
        "import json, os, threading, mlembed\n"
        "model = mlembed.load('toy', registry='/nowhere')\n"
        "threads = len(os.listdir('/proc/self/task')) if os.path.isdir('/proc/self/task') else 1\n"
        "print(json.dumps([threading.active_count(), threads]))",
        OPENBLAS_NUM_THREADS="1",
        OMP_NUM_THREADS="1",
    )

    assert count == [1, 1]


def test_runtime_does_not_phone_home() -> None:
    """The variable that stops the runtime's uploader is set before the runtime is loaded."""
    code = (
        "import json, os, sys, importlib.abc\n"
        "seen = []\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'onnxruntime':\n"
        "            seen.append(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "sys.meta_path.insert(0, Finder())\n"
        "import mlembed\n"
        "before = os.environ.get('ORT_DISABLE_TELEMETRY')\n"
        "mlembed.load\n"
        "print(json.dumps([before, *seen]))"
    )

    assert run(code) == [None, "1"]
    assert run(code, ORT_DISABLE_TELEMETRY="0") == ["0", "0"]


def test_public_names_are_these() -> None:
    """The exported surface is pinned, and every name of it resolves."""
    assert set(mlembed.__all__) == PUBLIC
    assert set(mlembed.__all__) <= set(dir(mlembed))
    for name in PUBLIC:
        assert getattr(mlembed, name) is getattr(mlembed, name)


def test_unknown_name_is_an_attribute_error() -> None:
    """A mistyped name fails as in any module."""
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        _ = mlembed.lod
