"""What people are shown: the tables and sentences that stand where programs get JSON."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from mlembed.cli import app
from mlembed.cli.app import run
from mlembed.cli.declaration import load_trainer
from mlembed.errors import DeclarationError, MlembedError
from mlembed.settings import Settings
from visits import Visit, visits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[..., tuple[int, Any]]

SECOND = "another = declare(candidates=[LogisticRegression()])\n"


@pytest.fixture
def shown(published: Call, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Return a function that runs a command for people: its exit code and what it printed."""
    assert published is not None

    def call(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = run(list(arguments))
        return code, capsys.readouterr().out

    return call


def test_moves_of_an_alias_are_told(shown: Callable[..., tuple[int, str]]) -> None:
    """Promote and roll back say what the alias means now; the log is a table with the reasons."""
    told = shown("registry", "promote", "visits@1.1.0", "champion", "--reason", "newer")
    back = shown("registry", "rollback", "visits@champion", "--reason", "complaints")

    code, history = shown("registry", "log", "visits@champion")

    assert told == (0, "visits@champion now means 1.1.0\n")
    assert back == (0, "visits@champion now means 1.0.0\n")
    assert code == 0
    assert [line.split()[-1] for line in history.splitlines()[1:]] == [
        "first",
        "newer",
        "complaints",
    ]


def test_versions_are_listed(shown: Callable[..., tuple[int, str]], folder: Path) -> None:
    """One line a version; an empty registry says how to fill it."""
    _, table = shown("registry", "ls", "visits")

    (folder / "empty").mkdir()
    code, sentence = shown("registry", "ls", "--registry", str(folder / "empty"))

    assert [line.split()[1] for line in table.splitlines()[1:]] == ["1.1.0", "1.0.0"]
    assert code == 0
    assert "mlembed train --registry" in sentence
    assert shown("registry", "ls", "--registry", str(folder / "typo"))[0] == 2


def test_answers_for_a_file_go_to_the_terminal(
    shown: Callable[..., tuple[int, str]], folder: Path
) -> None:
    """Without --output the answers are CSV on standard output, one line a row."""
    n_rows = len((folder / "visits.csv").read_text().splitlines()) - 1

    code, table = shown("predict", "visits", "--data", "visits.csv")

    assert code == 0
    assert "score" in table.splitlines()[0]
    assert len(table.splitlines()) == n_rows + 1


@pytest.mark.usefixtures("published")
def test_answers_that_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the file and the remedy."""
    arguments = ["predict", "visits", "--data", "visits.csv", "--output", str(folder)]

    code = run(arguments)

    assert code == 2
    assert f"cannot be written to {folder}" in capsys.readouterr().err


def test_report_is_named(shown: Callable[..., tuple[int, str]], folder: Path) -> None:
    """`--html` says where the page is; --since and --until bound the log, zone or no zone."""
    _predict(folder, visits(800, 2))

    code, text = shown("monitor", "visits", "--html", "report.html", "--since", "2026-01-01")
    nothing = shown("monitor", "visits", "--until", "2020-01-01T00:00:00Z")

    assert code == 0
    assert text.splitlines()[-1] == "report: report.html"
    assert nothing[0] == 0
    assert "insufficient" in nothing[1]


def test_retraining_says_why_not(shown: Callable[..., tuple[int, str]], folder: Path) -> None:
    """People get the verdict in a sentence, and exit code 1."""
    _predict(folder, visits(100, 1))

    code, sentence = shown("retrain", "visits", "--trainer", "train.py")

    assert code == 1
    assert "too few" in sentence


def test_benchmark_is_a_table(shown: Callable[..., tuple[int, str]]) -> None:
    """Every price in three ways and their ratio, then the log's bytes and losses."""
    code, table = shown("bench", "visits", "--calls", "400", "--rows", "500")

    assert code == 0
    columns = ("session.run", "predict, log off", "predict, log on", "on / run")
    assert all(column in table for column in columns)
    prices = ("median", "99th percentile", "CPU of the process", "4 threads", "batch of 500")
    assert all(price in table for price in prices)
    assert "none lost" in table


def test_one_of_several_trainers_is_named(folder: Path) -> None:
    """A file with two trainers asks which; `file:name` tells."""
    file = folder / "train.py"
    file.write_text(file.read_text() + SECOND, encoding="utf-8")

    with pytest.raises(DeclarationError, match=r"name one: train\.py:trainer, train\.py:another"):
        load_trainer("train.py")
    with pytest.raises(
        DeclarationError, match="no Trainer called 'third'; it has trainer, another"
    ):
        load_trainer("train.py:third")
    assert load_trainer("train.py:another").name == "visits"


def test_a_declaration_of_another_kind(folder: Path) -> None:
    """A file that is no Python, and a mistake of ours in one that is, are named."""
    (folder / "train.txt").write_text("trainer", encoding="utf-8")
    (folder / "wrong.py").write_text(
        "from mlembed import load\nload('No Name', registry='reg')", encoding="utf-8"
    )

    with pytest.raises(DeclarationError, match=r"train\.txt is no Python file"):
        load_trainer("train.txt")
    with pytest.raises(MlembedError, match="No Name"):
        load_trainer("wrong.py")


@pytest.mark.usefixtures("published")
def test_a_fault_of_ours_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unforeseen exception ends with 2 and its traceback: 1 would mean no."""

    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app, "app", broken)

    assert run(["monitor", "visits"]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.usefixtures("published")
def test_a_reader_that_goes_away(folder: Path) -> None:
    """`mlembed inspect | head -1` ends without a traceback."""
    command = f"{sys.executable} -m mlembed registry ls --json --registry reg | head -c 1"

    done = subprocess.run(  # noqa: S602
        command, shell=True, capture_output=True, text=True, check=False, cwd=folder
    )

    assert done.stdout == "["
    assert "Traceback" not in done.stderr


def _predict(folder: Path, table: dict[str, Any]) -> None:
    settings = Settings(registry=str(folder / "reg"), log_dir=folder / "log", poll_seconds=0)
    model = mlembed.load("visits", settings=settings)
    batch = model.predict_batch({name: table[name] for name in Visit.model_fields})
    for name, value in zip(batch.ids, table["ordered"], strict=True):
        model.outcome(name, value)
    model.close()
