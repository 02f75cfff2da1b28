"""`mlembed train` with a search: stopped at any moment it goes on, and shows how far it is."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlembed.bundle.single import read_bundle
from mlembed.cli.app import run
from processes import start_script, unmeasured

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.bundle.bundle import Bundle

    Call = Callable[..., tuple[int, Any]]

TRIALS = 20
TUNED = f"""
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from mlembed.training import Tuning
from visits import trainer as declare

trainer = declare(
    candidates=[DecisionTreeClassifier(), ExtraTreeClassifier()],
    tuning=Tuning(trials={TRIALS}, spaces={{"LogisticRegression": {{}}}}),
)
"""
TRAIN = ("train", "train.py", "--data", "visits.csv")
STUDY = "visits.study.jsonl"
# Each child is the whole command. One runs to its end in a folder; in another each is stopped when
# the study has so many lines, about eight a trial, and the last one is left alone.
STOPPED = """
    import os, sys, time, warnings
    from pathlib import Path

    # An import that is cut short leaves its file open, which Python does not tell users.
    warnings.simplefilter("ignore", ResourceWarning)
    base, number, moments = Path(sys.argv[1]), int(sys.argv[2]), list(map(int, sys.argv[3:]))
    sys.path.insert(0, str(base))
    import mlembed.__main__, mlembed.cli.app, mlembed.training.run, visits
    import mlembed.training.tuning, sklearn.ensemble, sklearn.linear_model, sklearn.tree

    def start(folder):
        child = os.fork()
        if child:
            return child
        os.chdir(folder)
        for stream in (1, 2):
            os.dup2(os.open("told", os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
        sys.argv = ["mlembed", "train", "train.py", "--data", "../visits.csv", "--output", "out.mlb"]
        code = 1
        try:
            mlembed.__main__.main()
        except SystemExit as stop:
            code = stop.code
        finally:
            os._exit(code)

    def ended(child):
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def n_lines(study):
        return study.read_bytes().count(b"\\n") if study.exists() else 0

    for name in ("whole", "parts"):
        (base / name).mkdir()
        (base / name / "train.py").write_text((base / "train.py").read_text())
    whole, parts = base / "whole", base / "parts"
    codes = [ended(start(whole))]
    for moment in moments:
        child = start(parts)
        while n_lines(parts / "visits.study.jsonl") < moment:
            time.sleep(0.001)
        os.kill(child, number)
        codes.append(ended(child))
    codes.append(ended(start(parts)))
    print(*codes)
"""


@pytest.fixture
def tuned(folder: Path) -> Path:
    """Return the working directory, whose declaration is tuned."""
    (folder / "train.py").write_text(TUNED, encoding="utf-8")
    return folder


def operations(study: Path) -> list[dict[str, Any]]:
    """Return the lines of a study."""
    return [json.loads(line) for line in study.read_text("utf-8").splitlines()]


def ends(study: Path) -> list[int]:
    """Return how each trial of a study ended, by Optuna's number: 1 complete, 2 pruned, 3 failed."""
    return [item["state"] for item in operations(study) if "datetime_complete" in item]


def contents(bundle: Bundle) -> dict[str, bytes]:
    """Return what of a bundle does not depend on the moment and the speed of the run."""
    evaluation = bundle.json("evaluation.json")
    del evaluation["serving"]
    return {"model": bundle.files["model.onnx"], "evaluation": json.dumps(evaluation).encode()}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_train_finds_the_same_however_often_it_is_stopped(
    tuned: Path, number: signal.Signals
) -> None:
    """Stopped at four moments, the search ends with the declared trials and the very same model."""
    moments = map(str, (11, 44, 69, 101))

    with start_script(STOPPED, tuned, str(int(number)), *moments, measured=False) as process:
        out, errors = process.communicate(timeout=120)

    assert errors == ""
    codes = list(map(int, out.split()))
    assert codes[0] == codes[-1] == 0
    assert set(codes[1:-1]) == {130 if number == signal.SIGINT else -number}
    whole, parts = (read_bundle(tuned / name / "out.mlb") for name in ("whole", "parts"))
    assert len([end for end in ends(tuned / "parts" / STUDY) if end in (1, 2)]) == TRIALS
    assert ends(tuned / "parts" / STUDY).count(3) >= 3
    assert ends(tuned / "whole" / STUDY).count(3) == 0
    assert contents(parts) == contents(whole)
    assert "Traceback" not in (tuned / "parts" / "told").read_text("utf-8")


def command(folder: Path, *arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join(map(str, (tests.parent, tests)))
    environment = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TERM": "xterm"}
    return subprocess.Popen(
        [sys.executable, "-m", "mlembed", *arguments],
        cwd=folder,
        env=unmeasured() | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def read_until(terminal: int, words: str) -> str:
    """Return what is drawn until *words* are there, or to the end."""
    drawn = b""
    while words.encode() not in drawn or not words:
        try:
            part = os.read(terminal, 65_536)
        except OSError:
            break
        if not part:
            break
        drawn += part
    return drawn.decode(errors="replace")


def test_train_draws_the_best_so_far_until_it_is_interrupted(tuned: Path) -> None:
    """On a terminal the bar shows trials and best value; Ctrl-C leaves the cursor and says the rest."""
    long = TUNED.replace(f"trials={TRIALS}", "trials=5000")
    (tuned / "train.py").write_text(long, encoding="utf-8")
    ours, theirs = pty.openpty()

    with command(tuned, *TRAIN, "--dry-run", stderr=theirs) as process:
        os.close(theirs)
        drawn = read_until(ours, "/5000")
        process.send_signal(signal.SIGINT)
        drawn += read_until(ours, "")
        out = process.stdout.read() if process.stdout else ""
    os.close(ours)

    assert process.returncode == 130
    assert out == ""
    assert re.search(r"best roc_auc 0\.\d{4}", drawn)
    assert "choose and tune: stopped" in drawn
    assert "Traceback" not in drawn
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")  # the cursor is back
    assert f"the study {STUDY} goes on when the command is run again" in drawn
    assert len([end for end in ends(tuned / STUDY) if end == 3]) <= 1


BOOSTED = """
from lightgbm import LGBMClassifier
from xgboost import XGBClassifier
from mlembed.training import Tuning
from visits import trainer as declare

small = {"n_estimators": (3, 6), "max_depth": (2, 3)}
trainer = declare(
    candidates=[LGBMClassifier(n_jobs=1, n_estimators=5), XGBClassifier(n_jobs=1, n_estimators=5)],
    tuning=Tuning(trials=6, spaces={
        "LGBMClassifier": {**small, "min_child_samples": (5, 5000, "log")},
        "XGBClassifier": small,
    }),
)
"""


def test_train_tunes_boosters_without_a_word_of_theirs(tuned: Path) -> None:
    """Standard output is one document and standard error the steps, whatever a library would say."""
    (tuned / "train.py").write_text(BOOSTED, encoding="utf-8")

    with command(tuned, *TRAIN, "--dry-run", "--json") as process:
        out, errors = process.communicate(timeout=120)

    assert process.returncode == 0, errors
    assert json.loads(out)["model"] == "visits"
    assert [line[:5] for line in errors.splitlines()] == [f"[{n}/9]" for n in range(1, 10)]


def test_train_keeps_the_study_beside_where_it_runs(mlembed_json: Call, tuned: Path) -> None:
    """The journal has the model's name by default; a second run finds all of it done."""
    first = mlembed_json(*TRAIN, "--dry-run")
    before = ends(tuned / STUDY)

    second = mlembed_json(*TRAIN, "--dry-run")

    assert first[0] == second[0] == 0
    assert ends(tuned / STUDY) == before
    assert len(before) == TRIALS
    assert first[1]["metrics"] == second[1]["metrics"]


def _garbage(folder: Path) -> None:
    (folder / STUDY).write_text('{"op_code":0}\ngarbage\n', encoding="utf-8")


def _table(folder: Path) -> None:
    (folder / STUDY).write_text("minutes,ordered\n1,yes", encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [(_garbage, "is damaged"), (_table, "is no study")],
)
def test_train_refuses_a_study_that_is_none(
    tuned: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], None],
    words: str,
) -> None:
    """A file that is no study ends the run with 2 and the remedy, and is left as it is."""
    change(tuned)
    before = (tuned / STUDY).read_bytes()

    code = run([*TRAIN, "--registry", "reg"])

    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    assert error.startswith("error: ")
    assert words in error
    assert "name another file with --study" in error
    assert (tuned / STUDY).read_bytes() == before
    assert not list((tuned / "reg").rglob("*.json"))


def test_train_tells_of_a_long_search_in_a_log(
    monkeypatch: pytest.MonkeyPatch, tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody looks, a line now and then tells how far the search is and the best so far."""
    from mlembed.cli import output

    monkeypatch.setattr(output, "_QUIET_SECONDS", 0.0)
    assert (tuned / "train.py").is_file()

    code = run([*TRAIN, "--dry-run"])

    lines = capsys.readouterr().err.splitlines()
    told = [line for line in lines if ": best" in line or f"/{TRIALS} best" in line]
    assert code == 0
    assert len(told) == TRIALS + 1
    assert re.fullmatch(
        rf"\[5/9\] choose and tune: {TRIALS}/{TRIALS} best roc_auc 0\.\d{{4}}", told[-1]
    )
