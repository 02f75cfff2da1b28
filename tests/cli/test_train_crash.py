"""Interrupted, killed or out of disk at any moment, `mlembed train` leaves all or nothing."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import Ref
from processes import run_script, start_script, unmeasured

if TYPE_CHECKING:
    from collections.abc import Iterable

COMMAND = (
    *("train", "train.py", "--data", "visits.csv", "--registry", "reg", "--alias", "champion"),
    *("--report", "report.html", "--rejects", "rejects.csv", "--output", "out.mlb"),
)
ALONE = {"OMP_NUM_THREADS": "1"}
INTERRUPTED = 130
# Each child is the whole command in a folder of its own. It gets the signal right before its n-th
# call that changes a file, or after a share of the time that the command takes.
SCRIPT = """
    import itertools, os, shutil, signal, sys, time, warnings
    from pathlib import Path

    # An import that is cut short leaves its file open, which Python does not tell users.
    warnings.simplefilter("ignore", ResourceWarning)
    base, number, by_call, by_time = Path(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[3:5])
    command = sys.argv[5:]
    sys.path.insert(0, str(base))
    import mlembed.__main__, mlembed.cli.app, mlembed.training.run, visits
    import mlembed.training.tuning, sklearn.ensemble, sklearn.linear_model, fcntl, getpass

    def start(name, die_at):
        root = base.with_name(name)
        shutil.copytree(base, root)
        child = os.fork()
        if child:
            return child
        os.chdir(root)
        for stream, file in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(f"../{name}.{file}", os.O_CREAT | os.O_WRONLY), stream)
        calls = itertools.count(1)

        def watched(function):
            def call(*args, **kwargs):
                if next(calls) == die_at:
                    os.kill(os.getpid(), number)
                return function(*args, **kwargs)
            return call

        for name in ("open", "mkdir", "link", "replace", "fsync", "unlink", "chmod"):
            setattr(os, name, watched(getattr(os, name)))
        sys.argv = ["mlembed", *command]
        code = 1
        try:
            mlembed.__main__.main()
        except SystemExit as stop:
            code = stop.code
        finally:
            sys.stdout.flush()
            if not die_at:
                os.write(1, f"{next(calls) - 1}".encode())
            os._exit(code)

    def ended(name, child):
        status = os.waitpid(child, 0)[1]
        print(name, os.waitstatus_to_exitcode(status), flush=True)

    begin = time.monotonic()
    ended("whole", start("whole", 0))
    seconds = time.monotonic() - begin
    n_calls = int(base.with_name("whole.stdout").read_text().splitlines()[-1])
    for n in range(by_call):
        die_at = 1 + n * (n_calls - 1) // (by_call - 1)
        ended(f"call-{die_at}", start(f"call-{die_at}", die_at))
    for n in range(by_time):
        child = start(f"time-{n}", -1)
        time.sleep(seconds * (n + 0.5) / by_time)
        os.kill(child, number)
        ended(f"time-{n}", child)
"""


def ends(folder: Path, number: int, by_call: int, by_time: int) -> dict[str, int]:
    """Return the exit code of each stopped run, by the name of the folder it ran in."""
    arguments = (str(folder), *map(str, (int(number), by_call, by_time)), *COMMAND)
    lines = run_script(SCRIPT, *arguments, environment=ALONE).splitlines()
    codes = {name: int(code) for name, code in map(str.split, lines)}
    assert codes.pop("whole") == 0
    return codes


def left(root: Path, before: Iterable[str]) -> set[str]:
    """Return the files that a run left in *root*, the registry and Python's own apart."""
    found = {path.name for path in root.iterdir() if path.is_file()}
    return found - set(before)


def is_published(root: Path) -> bool:
    """Tell whether the version is there; it then serves, whole, and the alias is its own or none."""
    store = FileRegistry(root / "reg")
    if not store.root.exists() or not store.versions("visits"):
        assert not store.root.exists() or store.models() == []
        return False
    assert store.versions("visits") == ["1.0.0"]
    assert store.fetch(store.resolve(Ref("visits", "1.0.0"))).manifest.title == "visits@1.0.0"
    if "champion" in store.aliases("visits"):
        assert store.resolve(Ref("visits")).version == "1.0.0"
        assert len(store.history("visits", "champion")) == 1
    return True


def files_are_whole(root: Path) -> None:
    """Check what the run wrote beside the registry."""
    report, rejects, output = (root / name for name in ("report.html", "rejects.csv", "out.mlb"))
    if report.exists():
        assert report.read_text("utf-8").rstrip().endswith("</html>")
    if rejects.exists():
        with rejects.open(encoding="utf-8", newline="") as file:
            assert [row["row"] for row in csv.DictReader(file)] == ["1501"]
    if output.exists():
        from mlembed.bundle.single import read_bundle

        assert read_bundle(output).manifest.title == "visits@1.0.0"


@pytest.fixture
def stage(folder: Path) -> Path:
    """Return the folder of one trade, within another for the runs' own, with a bad row."""
    base = folder / "base"
    base.mkdir()
    for name in ("visits.csv", "train.py"):
        (folder / name).rename(base / name)
    with (base / "visits.csv").open("a", encoding="utf-8") as file:
        file.write("soon,1.0,mail,True,yes\n")
    return base


def test_train_interrupted_at_any_moment(stage: Path) -> None:
    """Ctrl-C ends with 130 and one line that tells what is left; no file is half there."""
    seen = set()
    for name, code in ends(stage, signal.SIGINT, by_call=12, by_time=6).items():
        root, told = stage.with_name(name), stage.with_name(f"{name}.stderr").read_text("utf-8")
        published = is_published(root)
        files_are_whole(root)

        last = told.splitlines()[-1]
        assert "Traceback" not in told
        if code == 0:  # it was done before its time came
            assert published
            assert name.startswith("time-")
            assert "judge and pack" in last
            continue
        assert code == INTERRUPTED, told
        assert last.startswith("interrupted")
        assert not ("nothing was published" in last and published)
        assert not list(root.rglob(".tmp-*"))
        assert not list(root.glob(".report*"))
        seen.add((published, last.partition(";")[2].partition(" in ")[0]))

    assert (False, " nothing was published") in seen
    assert (True, " visits@1.0.0 is") in seen


def test_train_killed_at_any_moment(stage: Path) -> None:
    """A killed run leaves a version or none, whole files or none, and the next one publishes."""
    before = [path.name for path in stage.iterdir()]
    seen = set()
    for name, code in ends(stage, signal.SIGKILL, by_call=12, by_time=4).items():
        root = stage.with_name(name)
        seen.add(is_published(root))
        files_are_whole(root)

        assert code == -signal.SIGKILL or (code == 0 and name.startswith("time-"))
        strange = left(root, before) - {"report.html", "rejects.csv", "out.mlb"}
        assert all(file.startswith((".tmp-", ".report.html.")) for file in strange)

    assert seen == {False, True}


def test_train_publishes_after_it_was_killed(stage: Path) -> None:
    """What a killed run left behind is in nobody's way."""
    codes = ends(stage, signal.SIGKILL, by_call=2, by_time=0)
    root = stage.with_name([*codes][-1])
    (root / "out.mlb").unlink(missing_ok=True)

    done = _command(root, *COMMAND, "--json")

    assert done.returncode == 0, done.stderr
    store = FileRegistry(root / "reg")
    result = json.loads(done.stdout)
    assert store.resolve(Ref("visits", "champion")).bundle_id == result["bundle_id"]


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3])
def test_train_interrupted_while_it_loads(folder: Path, seconds: float) -> None:
    """Ctrl-C before anything has begun shows nobody the inside of a library."""
    # An import that is cut short leaves its file open, which Python does not tell users.
    script = """
        import sys, warnings
        warnings.simplefilter("ignore", ResourceWarning)
        from mlembed.__main__ import main
        import signal

        taken = signal.signal

        def tell(*arguments):
            before = taken(*arguments)
            sys.stdout.write("loading\\n") and sys.stdout.flush()
            return before

        signal.signal = tell
        sys.argv = ["mlembed", *sys.argv[1:]]
        main()
    """

    with start_script(script, *COMMAND, cwd=folder, environment=ALONE, measured=False) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)

    assert process.returncode == INTERRUPTED
    assert told in ("", "interrupted\n", "interrupted; nothing was published\n")
    assert not (folder / "reg").exists()


RENAMED = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    raise {error} from None
"""


@pytest.mark.parametrize(
    "error", ["ImportError('numpy failed to import')", "OSError('gone')", "DataError('no rows')"]
)
def test_train_interrupted_where_a_library_renames_it(folder: Path, error: str) -> None:
    """A module of C that Ctrl-C stops says ImportError; the command still says what it was."""
    script = RENAMED.format(error=error)
    (folder / "train.py").write_text(f"from mlembed.errors import DataError\n{script}")

    done = _command(folder, *COMMAND)

    assert (done.returncode, done.stderr) == (INTERRUPTED, "interrupted; nothing was published\n")


SWALLOWED = """
import os, signal

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

Late()
from visits import trainer as declare
trainer = declare()
"""


def test_train_interrupted_where_a_library_swallows_it(folder: Path) -> None:
    """What a destructor or a callback of C passes over ends the run at its next step."""
    (folder / "train.py").write_text(SWALLOWED, encoding="utf-8")

    done = _command(folder, *COMMAND)

    assert (done.returncode, done.stderr) == (INTERRUPTED, "interrupted; nothing was published\n")
    assert not (folder / "out.mlb").exists()


LATE = """
    import signal, sys
    from mlembed.__main__ import main

    sys.argv = ["mlembed", *sys.argv[1:]]
    try:
        main()
    finally:
        signal.raise_signal(signal.SIGINT)
"""


def test_train_interrupted_after_its_end(folder: Path) -> None:
    """Ctrl-C while Python ends changes nothing of what was done, and shows nobody a traceback."""
    with start_script(LATE, *COMMAND, cwd=folder, environment=ALONE, measured=False) as process:
        _, told = process.communicate(timeout=240)

    assert process.returncode == 0
    assert "judge and pack" in told.splitlines()[-1]
    assert is_published(folder)


FULL = """
    import resource, signal, sys
    import mlembed.cli.app, mlembed.training.run, fcntl, getpass
    from mlembed.__main__ import main

    limit = int(sys.argv[1])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["mlembed", *sys.argv[2:]]
    main()
"""
TO_REGISTRY = (*COMMAND[:6], "--alias", "champion")


@pytest.mark.parametrize(
    ("limit", "options", "words"),
    [
        (0, (), "cannot write to the registry reg"),
        (600, (), "cannot write to the registry reg"),
        (6_000, (), "cannot write to the registry reg"),
        (6_000, ("--report", "report.html"), "the report cannot be written to report.html"),
        (6_000, ("--output", "out.mlb"), "cannot write"),
        (6_000, ("--output", "out"), "cannot write"),
        (10, ("--rejects", "rejects.csv"), "rejected rows cannot be written to rejects.csv"),
    ],
)
def test_train_on_a_full_disk(
    stage: Path, limit: int, options: tuple[str, ...], words: str
) -> None:
    """Where the disk ends, one line says what could not be written, and nothing half is left."""
    before = [path.name for path in stage.iterdir()]

    with start_script(
        FULL,
        *(str(limit), *TO_REGISTRY, *options),
        cwd=stage,
        environment=ALONE | {"PYTHONDONTWRITEBYTECODE": "1"},
        measured=False,
    ) as process:
        _, told = process.communicate(timeout=240)

    assert process.returncode == 2
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("error: ")
    assert words in told.splitlines()[-1]
    assert not is_published(stage)
    assert not left(stage, before)
    assert not list(stage.rglob(".tmp-*"))
    assert not (stage / "out").exists()


TUNED = """
from sklearn.linear_model import LogisticRegression
from mlembed.training import Tuning
from visits import trainer as declare

trainer = declare(candidates=[LogisticRegression()], tuning=Tuning(trials=12))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_train_resumes_the_study(folder: Path, number: signal.Signals) -> None:
    """A search that was stopped goes on from the trials it had, and finds the same settings."""
    (folder / "train.py").write_text(TUNED, encoding="utf-8")
    study = folder / "visits.study.jsonl"
    script = "from mlembed.__main__ import main; import sys; sys.argv[0] = 'mlembed'; main()"
    arguments = (*TO_REGISTRY, "--json")

    with start_script(script, *arguments, cwd=folder, environment=ALONE) as process:
        end = time.monotonic() + 40
        while n_finished(study) < 3:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    had = n_finished(study)
    done = _command(folder, *arguments)
    study.unlink()
    anew = _command(folder, *arguments, "--registry", "other")

    assert process.returncode in (INTERRUPTED, -signal.SIGKILL)
    if number == signal.SIGINT:
        assert told.splitlines()[-1] == (
            "interrupted; nothing was published; the study visits.study.jsonl goes on when the "
            "command is run again"
        )
    assert had < 12
    assert done.returncode == anew.returncode == 0, done.stderr
    graphs = [
        store.fetch(store.resolve(Ref("visits"))).files["model.onnx"]
        for store in map(FileRegistry, (folder / "reg", folder / "other"))
    ]
    assert graphs[0] == graphs[1]


def n_finished(study: Path) -> int:
    """Return how many trials of a study have ended."""
    return study.read_text("utf-8").count('"datetime_complete"') if study.exists() else 0


def _command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join(map(str, (tests.parent, tests)))
    return subprocess.run(
        [sys.executable, "-m", "mlembed", *arguments],
        cwd=folder,
        env=unmeasured() | ALONE | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
