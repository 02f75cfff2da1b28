"""A folder with a trade's table and declaration, as a user would have them."""

from __future__ import annotations

import csv
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from sklearn.linear_model import LogisticRegression

from mlembed.cli.app import run
from mlembed.registry.file import FileRegistry
from mlembed.settings import default_settings
from visits import trainer, visits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Call = Callable[..., tuple[int, Any]]

TRAIN = """
from sklearn.linear_model import LogisticRegression
from visits import trainer as declare

trainer = declare(candidates=[LogisticRegression()])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working directory with visits.csv and train.py, and no settings of this machine."""
    for name in ("MLEMBED_REGISTRY", "MLEMBED_LOG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    table = visits(1500)
    with (tmp_path / "visits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*(values.tolist() for values in table.values()), strict=True))
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    return tmp_path


@pytest.fixture
def mlembed_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs a command with --json: its exit code and document."""
    assert folder.is_dir()

    def call(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = run([*arguments, "--json"])
        out = capsys.readouterr().out
        return code, json.loads(out) if out else None

    return call


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a registry with two versions of the model, the first as champion."""
    store = FileRegistry(tmp_path_factory.mktemp("registry"))
    for version, seed in (("1.0.0", 0), ("1.1.0", 5)):
        declared = trainer(version=version, candidates=[LogisticRegression()])
        store.publish(declared.train(visits(1500, seed)).bundle)
    store.promote("visits", "champion", "1.0.0", "the first")
    return store.root


@pytest.fixture
def published(
    mlembed_json: Call, monkeypatch: pytest.MonkeyPatch, folder: Path, two_versions: Path
) -> Iterator[Call]:
    """Return `mlembed_json` in a folder whose registry holds two versions, and whose log is empty."""
    shutil.copytree(two_versions, folder / "reg")
    monkeypatch.setenv("MLEMBED_REGISTRY", str(folder / "reg"))
    monkeypatch.setenv("MLEMBED_LOG_DIR", str(folder / "log"))
    default_settings.cache_clear()
    yield mlembed_json
    default_settings.cache_clear()
