"""The commands around a published model: look, ask, list, promote, roll back, judge, retrain."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from mlembed.cli.app import run
from mlembed.settings import Settings
from visits import Visit, visits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[..., tuple[int, Any]]

RECORD = {"minutes": 30.0, "basket": None, "source": "mail", "member": True}


def test_inspect_shows_the_columns(published: Call, capsys: pytest.CaptureFixture[str]) -> None:
    """A table for people, the manifest for programs; both name every column."""
    _, manifest = published("inspect", "visits")

    code = run(["inspect", "visits@1.1.0"])

    shown = capsys.readouterr().out
    assert code == 0
    assert [column["name"] for column in manifest["columns"]] == list(Visit.model_fields)
    assert all(name in shown for name in Visit.model_fields)
    assert "visits@1.1.0" in shown


def test_inspect_reads_a_bundle_directory(published: Call, folder: Path) -> None:
    """A bundle on disk is verified and shown like one in a registry."""
    published("train", "train.py", "--data", "visits.csv", "--output", "bundle")

    code, manifest = published("inspect", str(folder / "bundle"))

    assert code == 0
    assert manifest["name"] == "visits"


def test_predict_answers_one_record(published: Call, capsys: pytest.CaptureFixture[str]) -> None:
    """The answer equals the library's, and nothing is written to the log."""
    capsys.readouterr()

    code = run(["predict", "visits", json.dumps(RECORD)])

    answer = json.loads(capsys.readouterr().out)
    model = mlembed.load("visits", settings=Settings(registry="reg", log=False, poll_seconds=0))
    assert code == 0
    assert answer["score"] == model.predict(RECORD).score
    assert answer["version"] == "1.0.0"
    assert published is not None


def test_predict_reads_standard_input(published: Call, folder: Path) -> None:
    """`-` takes the record from a pipe."""
    assert published is not None
    command = [sys.executable, "-m", "mlembed", "predict", "visits", "-", "--registry", "reg"]

    done = subprocess.run(
        command, input=json.dumps(RECORD), capture_output=True, text=True, check=True, cwd=folder
    )

    assert 0 <= json.loads(done.stdout)["score"] <= 1


def test_predict_answers_for_a_file(published: Call, folder: Path) -> None:
    """Every row of a file is answered or named with what is wrong with it; none is lost."""
    assert published is not None
    with (folder / "visits.csv").open("a", encoding="utf-8") as file:
        file.write("soon,1.0,mail,True,yes\n")

    code = run(["predict", "visits", "--data", "visits.csv", "--output", "answers.csv"])

    with (folder / "answers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    model = mlembed.load("visits", settings=Settings(registry="reg", log=False, poll_seconds=0))
    table = visits(1500)
    scores = model.predict_batch({name: table[name] for name in Visit.model_fields}).scores
    assert code == 0
    assert [int(row["row"]) for row in rows] == list(range(1, 1502))
    assert [float(row["score"]) for row in rows[:-1]] == pytest.approx(scores, abs=1e-9)
    assert rows[-1]["score"] == ""
    assert "'minutes' is not a number" in rows[-1]["reason"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "visits"], "one record as JSON, or a file"),
        (["predict", "visits", "{"], "no JSON"),
        (["predict", "visits", "[1]"], "no JSON object"),
        (["predict", "visits", '{"minutes": 1}'], "'source' is missing"),
        (["predict", "visits@9.9.9", json.dumps(RECORD)], "9.9.9"),
        (["predict", "nobody", json.dumps(RECORD)], "no model 'nobody'"),
        (["predict", "visits@nope", json.dumps(RECORD)], "no alias 'nope'"),
        (["inspect", "visits@"], "visits"),
        (["inspect", "No Name"], "no model reference"),
        (["inspect", "./nowhere"], "no readable bundle"),
        (["registry", "log", "visits@1.0.0"], "expected an alias"),
        (["registry", "promote", "visits@7.0.0"], "no version '7.0.0'"),
        (["registry", "rollback", "visits@champion"], "no earlier version"),
        (["registry", "ls", "nobody"], "no model 'nobody'"),
        (["monitor", "visits"], "no log of 'visits'"),
        (["monitor", "visits", "--since", "yesterday"], "ISO 8601"),
        (["retrain", "visits"], "no log of 'visits'"),
        (["retrain", "visits@1.0.0"], "an alias"),
        (["retrain", "other"], "declares 'visits'"),
    ],
)
def test_commands_refuse_bad_input(
    published: Call, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """Each ends with 2 and one line that names what was expected."""
    assert published is not None
    capsys.readouterr()
    expected = 0 if arguments == ["inspect", "visits@"] else 2

    code = run(arguments)

    shown = capsys.readouterr()
    assert code == expected
    assert words in shown.out + shown.err
    assert "Traceback" not in shown.err


def test_registry_moves_the_champion_and_back(published: Call) -> None:
    """Promote, list, log and roll back agree with one another."""
    published("registry", "promote", "visits@1.1.0", "champion", "--reason", "newer")
    _, listed = published("registry", "ls")
    published("registry", "rollback", "visits@champion", "--reason", "complaints")

    _, history = published("registry", "log", "visits@champion")

    assert [(item["version"], item["aliases"]) for item in listed] == [
        ("1.1.0", ["champion"]),
        ("1.0.0", []),
    ]
    assert [(item["action"], item["version"]) for item in history] == [
        ("promote", "1.0.0"),
        ("promote", "1.1.0"),
        ("rollback", "1.0.0"),
    ]
    assert history[-1]["reason"] == "complaints"


def test_monitor_tells_ok_alert_and_too_few(published: Call, folder: Path) -> None:
    """Exit codes: 0 for too few rows and for no drift, 1 for drift; the page is written."""
    _predict(folder, visits(50, 1))
    few = published("monitor", "visits")
    _predict(folder, visits(800, 2))
    calm = published("monitor", "visits")
    moved = visits(3000, 3)
    moved["minutes"] = moved["minutes"] + 60
    _predict(folder, moved)

    code, report = published("monitor", "visits", "--html", "report.html")

    assert (few[0], few[1]["state"]) == (0, "insufficient")
    assert (calm[0], calm[1]["state"]) == (0, "ok")
    assert (code, report["state"]) == (1, "alert")
    assert any("minutes" in alert["subject"] for alert in report["alerts"])
    assert "<svg" in (folder / "report.html").read_text(encoding="utf-8")


def test_monitor_shows_a_table(
    published: Call, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """People get one line a column and sentences."""
    assert published is not None
    _predict(folder, visits(800, 2))
    capsys.readouterr()

    code = run(["monitor", "visits"])

    shown = capsys.readouterr().out
    assert code == 0
    assert all(name in shown for name in Visit.model_fields)
    assert "nothing stands out" in shown


def test_retrain_promotes_or_says_why(published: Call, folder: Path) -> None:
    """Exit codes: 1 while there are too few outcomes, 0 once the challenger serves."""
    _predict(folder, visits(100, 1, changed=True), outcomes=True)
    early = published("retrain", "visits")
    _predict(folder, visits(2500, 2, changed=True), outcomes=True)

    code, verdict = published("retrain", "visits")

    assert early[0] == 1
    assert "too few" in early[1]["reason"]
    assert (code, verdict["promoted"]) == (0, True)
    assert verdict["challenger"] == "visits@1.2.0"


def test_bench_compares_with_the_bare_runtime(published: Call) -> None:
    """The benchmark gives both times and their ratio."""
    code, result = published("bench", "visits", "--calls", "400")

    assert code == 0
    assert result["ratio"] == result["predict_us"] / result["session_run_us"]


def test_version_and_help(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` tells the version; no arguments show the commands."""
    assert folder.is_dir()

    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == mlembed.__version__
    assert run([]) == 2
    assert "train" in capsys.readouterr().out


def test_unknown_options_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped option is a usage error, not an answer."""
    assert run(["monitor", "visits", "--nope"]) == 2
    assert "--nope" in capsys.readouterr().err


def test_the_command_line_names_its_extra() -> None:
    """Without Typer the program says what to install."""
    code = "import sys; sys.modules['typer'] = None; import mlembed.__main__ as m; m.main()"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "pip install 'mlembed[train]'" in done.stderr


def test_listing_needs_no_trainer(published: Call, folder: Path) -> None:
    """`registry ls` loads neither scikit-learn nor DuckDB, so it is quick."""
    assert published is not None
    code = (
        "import sys; from mlembed.cli.app import run; run(['registry', 'ls', '--registry', 'reg']);"
        "print([m for m in ('sklearn', 'duckdb', 'onnx') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )

    assert done.stdout.splitlines()[-1] == "[]"


def _predict(folder: Path, table: dict[str, Any], *, outcomes: bool = False) -> None:
    settings = Settings(registry=str(folder / "reg"), log_dir=folder / "log", poll_seconds=0)
    model = mlembed.load("visits", settings=settings)
    for start in range(0, len(table["minutes"]), 100):
        rows = slice(start, start + 100)
        batch = model.predict_batch({name: table[name][rows] for name in Visit.model_fields})
        for name, value in zip(batch.ids, table["ordered"][rows] if outcomes else (), strict=False):
            model.outcome(name, value)
    model.close()
