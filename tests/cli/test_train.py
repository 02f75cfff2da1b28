"""`mlembed train`: from a table to a published bundle, or a clear refusal that leaves nothing."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mlembed.bundle.bundle import read_directory
from mlembed.cli.app import run
from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import Ref

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[..., tuple[int, Any]]

TRAIN = ("train", "train.py", "--data", "visits.csv")


def test_train_publishes_and_sets_the_alias(mlembed_json: Call, folder: Path) -> None:
    """The new version is in the registry and serves under the alias, with the reason kept."""
    code, result = mlembed_json(*TRAIN, "--registry", f"file://{folder}/reg", "--alias", "champion")

    store = FileRegistry(folder / "reg")
    assert code == 0
    assert result["version"] == "1.0.0"
    assert result["proof"]["passed"]
    assert store.fetch(store.resolve(Ref("visits"))).id == result["bundle_id"]
    assert "roc_auc" in store.pointer("visits", "champion").reason


def test_train_publishes_the_next_version(mlembed_json: Call) -> None:
    """A second run publishes the next minor version; the first stays."""
    mlembed_json(*TRAIN, "--registry", "reg")

    _, result = mlembed_json(*TRAIN, "--registry", "reg")

    assert result["version"] == "1.1.0"
    assert FileRegistry.versions(_registry(), "visits") == ["1.0.0", "1.1.0"]


def test_train_sets_bad_rows_aside(mlembed_json: Call, folder: Path) -> None:
    """Text in a numeric column is a rejected row: counted, and kept in a file with its reason."""
    with (folder / "visits.csv").open("a", encoding="utf-8") as file:
        file.write("soon,1.0,mail,True,yes\n700,1.0,mail,True,yes\n")

    code, result = mlembed_json(*TRAIN, "--registry", "reg", "--rejects", "rejects.csv")

    with (folder / "rejects.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert code == 0
    assert sum(result["rejected"].values()) == 2
    assert [row["row"] for row in rows] == ["1501", "1502"]
    assert "'minutes' is not a number" in rows[0]["reason"]
    assert "'minutes' is outside [0, 600]" in rows[1]["reason"]


def test_train_shows_what_it_did(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the result is for people; every step stands on standard error."""
    assert (folder / "train.py").is_file()

    code = run([*TRAIN, "--registry", "reg", "--alias", "champion"])

    shown = capsys.readouterr()
    assert code == 0
    assert "champion now means 1.0.0" in shown.out
    assert "graph and estimator agree" in shown.out
    assert [line[:5] for line in shown.err.splitlines()] == [f"[{n}/9]" for n in range(1, 10)]


def test_train_writes_a_bundle_without_a_registry(mlembed_json: Call, folder: Path) -> None:
    """--output alone writes the bundle as a directory; nothing is published."""
    code, result = mlembed_json(*TRAIN, "--output", "bundle")

    assert code == 0
    assert read_directory(folder / "bundle").id == result["bundle_id"]


def test_train_dry_run_writes_nothing(mlembed_json: Call, folder: Path) -> None:
    """A dry run measures and proves, and leaves the directory as it was."""
    before = sorted(folder.rglob("*"))

    code, result = mlembed_json(*TRAIN, "--dry-run")

    assert code == 0
    assert result["metrics"]["roc_auc"] > 0.8
    assert [path for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts] == before


def _registry() -> FileRegistry:
    from pathlib import Path

    return FileRegistry(Path("reg"))


def _text(folder: Path, text: str) -> None:
    (folder / "visits.csv").write_text(text, encoding="utf-8")


BAD: list[tuple[str, Callable[[Path], object], tuple[str, ...], str]] = [
    ("no file", lambda _: None, ("--data", "none.csv"), "none.csv"),
    ("empty", lambda f: _text(f, ""), (), "empty"),
    ("header only", lambda f: _text(f, "minutes,basket,source,member,ordered\n"), (), "no rows"),
    ("no column", lambda f: _text(f, "basket,source,member,ordered\n1,a,1,yes\n"), (), "'minutes'"),
    ("no label", lambda f: _text(f, "minutes,basket,source,member\n1,1,a,1\n"), (), "'ordered'"),
    (
        "one class",
        lambda f: _text(f, "minutes,basket,source,member,ordered\n1,1,a,1,yes\n2,1,a,1,yes\n"),
        (),
        "one class",
    ),
    ("no declaration", lambda f: (f / "train.py").unlink(), (), "train.py"),
    ("no trainer", lambda f: (f / "train.py").write_text("x = 1"), (), "declares no Trainer"),
    ("broken", lambda f: (f / "train.py").write_text("1 / 0"), (), "ZeroDivisionError in train.py"),
    ("bad registry", lambda _: None, ("--registry", "ftp://models"), "ftp"),
    ("bad version", lambda _: None, ("--alias", "1.0.0"), "alias"),
]


@pytest.mark.parametrize(
    ("change", "options", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_train_refuses_bad_input(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], object],
    options: tuple[str, ...],
    words: str,
) -> None:
    """Each bad input ends with 2, one line that names it, and no model in the registry."""
    change(folder)
    arguments = [*TRAIN, "--registry", "reg", *options]

    code = run(arguments)

    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    assert error.startswith("error: ")
    assert words in error
    assert not list((folder / "reg").rglob("*.json"))


def test_train_refuses_an_unwritable_registry_before_training(folder: Path) -> None:
    """Nobody waits for a model that cannot be published: the registry is tried first."""
    (folder / "reg").write_text("a file where a directory is expected", encoding="utf-8")
    command = [sys.executable, "-m", "mlembed", *TRAIN, "--registry", "reg"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_path(folder))

    assert done.returncode == 2
    assert "cannot write to the registry" in done.stderr
    assert "[1/7]" not in done.stderr


def test_train_shows_a_bar_on_a_terminal(folder: Path) -> None:
    """On a terminal progress is drawn; the finished steps stay to be read."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mlembed", *TRAIN, "--registry", "reg", "--json"]

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, env=_path(folder), text=True
    ) as process:
        os.close(theirs)
        drawn = _read_all(ours)
        out = process.stdout.read() if process.stdout else ""

    assert process.returncode == 0
    assert json.loads(out)["version"] == "1.0.0"
    assert "\x1b[" in drawn
    assert "judge and pack" in drawn


def _read_all(terminal: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()


def _path(folder: Path) -> dict[str, str]:
    from pathlib import Path

    tests = Path(__file__).parents[1]
    found = os.pathsep.join([str(tests), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": found, "HOME": str(folder), "TERM": "xterm"}
