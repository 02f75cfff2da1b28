"""The commands tell of several classes what they tell of two: the meaning, the label, the quality."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

import mlembed
from bundles import RECORD, toy_rows, toy_table
from classes import CLASSES, class_bundle
from mlembed.cli.app import run
from mlembed.registry.file import FileRegistry
from mlembed.settings import default_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = tuple(f"class {number:03d}" for number in range(200))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileRegistry]:
    """Return the registry that the commands use: three classes, and a version of two hundred."""
    source = FileRegistry(tmp_path / "registry")
    source.publish(class_bundle(abstain=(0.0, 0.6)))
    source.publish(class_bundle(version="2.0.0", classes=MANY))
    source.promote("toy", "champion", "1.0.0")
    monkeypatch.setenv("MLEMBED_REGISTRY", str(source.root))
    monkeypatch.setenv("MLEMBED_LOG_DIR", str(tmp_path / "log"))
    default_settings.cache_clear()
    yield source
    default_settings.cache_clear()


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, expected: int = 0) -> str:
    """Return what a command that ends with *expected* says, runs of spaces as one."""
    capsys.readouterr()
    code = run([*arguments])
    told = capsys.readouterr()
    assert code == expected, told.err
    return "\n".join(" ".join(line.split()) for line in told.out.splitlines())


def test_inspect_tells_the_classes(store: FileRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    """The meaning names the first classes and counts the others; golden rows show each."""
    assert store.root.is_dir()
    few, many = shown(capsys, "inspect", "toy"), shown(capsys, "inspect", "toy@2.0.0")

    meaning = "the score is the probability of the most probable mode of tram, bus, walk"
    assert f"{meaning}, no label in [0.0, 0.6]" in few
    assert all(f"p({name}) " in few for name in CLASSES)
    assert "most probable " in few
    assert "class 005, 194 more" in many
    assert "p(class 005) " in many
    assert "p(class 006)" not in many


def test_predict_tells_the_class(
    store: FileRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One record as JSON with every probability, a file as its classes, row by row."""
    assert store.root.is_dir()
    rows = toy_rows(30)
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(RECORD))
        writer.writeheader()
        writer.writerows(rows)
    model = mlembed.load("toy", settings=mlembed.Settings(registry=str(store.root), log=False))
    batch = model.predict_batch(toy_table(30))

    capsys.readouterr()
    assert run(["predict", "toy", json.dumps(RECORD, default=str)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert run(["predict", "toy", "--data", str(tmp_path / "rows.csv")]) == 0
    told = [*csv.DictReader(capsys.readouterr().out.splitlines())]

    assert answer["label"] == model.predict(RECORD).label
    assert list(answer["probabilities"]) == list(CLASSES)
    assert [row["label"] or None for row in told] == batch.labels
    assert [row["reason"] for row in told] == batch.reasons
    assert {"", *CLASSES} >= {row["label"] for row in told}


def test_monitor_judges_the_classes(
    store: FileRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Outcomes that the answers do not tell are an alert about the error, on the page too."""
    settings = mlembed.Settings(registry=str(store.root), log_dir=tmp_path / "log")
    model = mlembed.load("toy", settings=settings)
    batch = model.predict_batch(toy_table(300))
    for name, code in zip(batch.ids, batch.scores.tolist(), strict=True):
        model.outcome(name, CLASSES[int(code * 2)])
    model.close()

    page = tmp_path / "report.html"
    told = shown(capsys, "monitor", "toy", "--html", str(page), expected=1)

    assert "Realised error:" in told
    assert "(label)" in told
    assert "(label)" in page.read_text("utf-8")
