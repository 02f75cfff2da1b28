"""`mlembed train`: the report, what is compared with, and a bundle that is trained again."""

from __future__ import annotations

import csv
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from mlembed.bundle import strictjson
from mlembed.bundle.bundle import pack
from mlembed.bundle.single import read_bundle, write_bundle
from mlembed.cli.app import run
from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import Ref

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[..., tuple[int, Any]]

TRAIN = ("train", "train.py", "--data", "visits.csv")
DECLARED = """
from sklearn.linear_model import LogisticRegression
from mlembed.training import Gates, Leakage, Tuning
from visits import trainer as declare

trainer = declare(candidates=[LogisticRegression({settings})], {changes})
"""


def write(folder: Path, changes: str = "", settings: str = "") -> None:
    """Write the declaration, with changes."""
    text = DECLARED.format(changes=changes, settings=settings)
    (folder / "train.py").write_text(text, encoding="utf-8")


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command for people; return its exit code, and what it printed and told."""
    capsys.readouterr()
    code = run([*arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_report_is_written_and_named(mlembed_json: Call, folder: Path) -> None:
    """--report leaves a page beside the bundle, and the result names it."""
    code, result = mlembed_json(*TRAIN, "--dry-run", "--report", "report.html")

    assert code == 0
    assert result["report"] == "report.html"
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_failed_gate_leaves_a_report_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gate that fails ends with 2 and its name; no version, alias or bundle, but the report."""
    write(folder, "gates=Gates(floor=0.99, size_bytes=10)")
    options = ("--registry", "reg", "--alias", "champion", "--output", "out.mlb")

    code, out, error = told(capsys, *TRAIN, *options, "--report", "report.html")

    assert code == 2
    assert "does not pass 2 of its 2 gates" in error
    assert "floor: roc_auc at least 0.9900 was asked, found" in error
    assert "size: at most 10 bytes was asked, found" in error
    assert out == ""
    assert not [path for path in (folder / "reg").rglob("*") if path.is_file()]
    assert not (folder / "out.mlb").exists()
    assert "0.9900" in (folder / "report.html").read_text(encoding="utf-8")


def test_report_that_cannot_be_written_publishes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report that has no place stops the run, with what to do."""
    options = ("--registry", "reg", "--report", "visits.csv/report.html")

    code, _, error = told(capsys, *TRAIN, *options)

    assert code == 2
    assert "report" in error
    assert not [path for path in (folder / "reg").rglob("*") if path.is_file()]


def test_champion_is_compared_with_by_itself(mlembed_json: Call) -> None:
    """Where the registry has a champion the new model is held against it; at first there is none."""
    first = mlembed_json(*TRAIN, "--registry", "reg", "--alias", "champion")[1]
    second = mlembed_json(*TRAIN, "--registry", "reg")[1]

    assert "champion" not in first
    assert second["champion"]["title"] == "visits@1.0.0"
    assert second["champion"]["difference"] == 0.0


def test_against_names_what_to_compare_with(mlembed_json: Call) -> None:
    """--against takes another alias or a version; a name that is not there compares with nothing."""
    mlembed_json(*TRAIN, "--registry", "reg", "--alias", "champion")
    mlembed_json(*TRAIN, "--registry", "reg", "--alias", "shadow")

    found = {
        name: mlembed_json(*TRAIN, "--registry", "reg", "--dry-run", "--against", name)[1]
        for name in ("shadow", "1.0.0", "none")
    }

    assert found["shadow"]["champion"]["title"] == "visits@1.1.0"
    assert found["1.0.0"]["champion"]["title"] == "visits@1.0.0"
    assert "champion" not in found["none"]


def test_margin_holds_back_what_is_worse(
    mlembed_json: Call, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A challenger that loses more than the margin is not published; the champion serves on."""
    mlembed_json(*TRAIN, "--registry", "reg", "--alias", "champion")
    write(folder, "features=['basket'], gates=Gates(margin=0.05)")

    code, _, error = told(capsys, *TRAIN, "--registry", "reg", "--alias", "champion")

    store = FileRegistry(folder / "reg")
    assert code == 2
    assert "margin: no worse than the champion by 0.0500 roc_auc was asked, found -0." in error
    assert store.versions("visits") == ["1.0.0"]
    assert store.resolve(Ref("visits", "champion")).version == "1.0.0"


@pytest.mark.parametrize("changes", ["", "tuning=Tuning(trials=4)"], ids=["plain", "tuned"])
def test_verify_makes_the_bundle_again(mlembed_json: Call, folder: Path, changes: str) -> None:
    """The same declaration and table give the same bytes, searched anew; nothing is written."""
    write(folder, changes)
    mlembed_json(*TRAIN, "--registry", "reg")
    for path in folder.glob("*.study.jsonl"):
        path.write_text("what a verification reads is no proof\n", encoding="utf-8")
    before = sorted(folder.rglob("*"))

    code, result = mlembed_json(*TRAIN, "--registry", "reg", "--verify", "visits@1.0.0")

    assert code == 0
    assert result["passed"]
    assert result["title"] == "visits@1.0.0"
    assert result["evidence"] == result["differences"] == []
    assert [path for path in sorted(folder.rglob("*")) if "__pycache__" not in str(path)] == [
        path for path in before if "__pycache__" not in str(path)
    ]


def test_verify_takes_a_file_without_a_registry(
    mlembed_json: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    """A single file is verified as well, and people are told that it was made again."""
    mlembed_json(*TRAIN, "--output", "out.mlb")

    code, out, _ = told(capsys, *TRAIN, "--verify", "out.mlb")

    assert code == 0
    assert "visits@1.0.0, trained again: graph the same to the byte, golden rows the same" in out


def _other_table(folder: Path) -> None:
    with (folder / "visits.csv").open("a", encoding="utf-8") as file:
        csv.writer(file).writerow([5.0, 1.0, "mail", True, "yes"])


def _tampered(folder: Path) -> None:
    bundle = read_bundle(folder / "out.mlb")
    better = {**bundle.manifest.metrics, "roc_auc": 0.999}
    evaluation = {**bundle.json("evaluation.json"), "metrics": better}
    changed = dataclasses.replace(bundle.manifest, metrics=better, files=())
    files = {**bundle.files, "evaluation.json": strictjson.dumps(evaluation)}
    (folder / "out.mlb").unlink()
    write_bundle(pack(changed, files), folder / "out.mlb")


CHANGES: list[tuple[str, Callable[[Path], None], str]] = [
    ("table", _other_table, "the table: "),
    ("seed", lambda folder: write(folder, "seed=3"), "the seed: 0 then, 3 now"),
    ("settings", lambda folder: write(folder, settings="C=0.01"), "its settings: {} then, {'C': '"),
    ("metric", _tampered, "roc_auc: 0.999 then, 0.8"),
    (
        "features",
        lambda folder: write(folder, "features=['minutes', 'member']"),
        "the features: minutes, basket, source, member, log_basket then, minutes, member now",
    ),
    (
        "threshold",
        lambda folder: write(folder, "abstain=(0.4, 0.6)"),
        "abstain: none then, (0.4, 0.6) now",
    ),
]


@pytest.mark.parametrize(
    ("change", "words"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES]
)
def test_verify_names_what_differs(
    mlembed_json: Call,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], None],
    words: str,
) -> None:
    """What cannot be made again ends with 1, and says what is not the same."""
    mlembed_json(*TRAIN, "--output", "out.mlb")
    change(folder)

    code, out, _ = told(capsys, *TRAIN, "--verify", "out.mlb")

    assert code == 1
    assert words in out


def test_verify_refuses_another_model(
    mlembed_json: Call, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bundle of another name is no candidate of this declaration: nobody waits for a run."""
    mlembed_json(*TRAIN, "--output", "out.mlb")
    write(folder, "name='calls'")

    code, _, error = told(capsys, *TRAIN, "--verify", "out.mlb")

    assert code == 2
    assert "visits@1.0.0 is another model; the Trainer makes 'calls'" in error


def test_verify_refuses_what_was_packed(
    mlembed_json: Call, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bundle that was not trained here cannot be made again, and that is said before any run."""
    mlembed_json(*TRAIN, "--output", "made.mlb")
    model = read_bundle(folder / "made.mlb").files["model.onnx"]
    (folder / "model.onnx").write_bytes(model)
    packing = ("pack", "model.onnx", "--name", "visits", "--version", "1.0.0")
    assert run([*packing, "--output", "out.mlb"]) == 0

    code, _, error = told(capsys, *TRAIN, "--verify", "out.mlb")

    assert code == 2
    assert "does not say what it was trained on: only what `mlembed train` made" in error
    assert "[1/9]" not in error


def test_verify_refuses_what_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A reference that names nothing is an error, not a difference."""
    assert folder.is_dir()

    code, _, error = told(capsys, *TRAIN, "--registry", "reg", "--verify", "visits@1.0.0")

    assert code == 2
    assert "there is no registry at reg" in error


def test_refused_leak_publishes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A declaration that refuses leaks ends with 2 and the column's name."""
    write(folder, "leakage=Leakage(action='refuse', absent=['basket'])")

    code, _, error = told(capsys, *TRAIN, "--registry", "reg")

    assert code == 2
    assert "'basket': the host will not have it" in error
    assert not [path for path in (folder / "reg").rglob("*") if path.is_file()]


def test_dropped_leak_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People see what was dropped while they wait, and in the result."""
    write(folder, "leakage=Leakage(action='drop', absent=['basket'])")
    capsys.readouterr()

    code = run([*TRAIN, "--dry-run"])

    assert code == 0
    assert "'basket' the host will not have it" in capsys.readouterr().err
