"""The journal of a study: shared, mended, refused where it is damaged, and nobody else's file."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.trial import TrialState

from mlembed.errors import DataError
from mlembed.training import study as module
from mlembed.training.study import abandoned, open_storage, owner, require_usable, using
from processes import run_script, start_script

if TYPE_CHECKING:
    from optuna.study import Study

WRITER = """
    import sys
    from pathlib import Path
    import optuna
    from mlembed.training.study import open_storage, using

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = Path(sys.argv[1])
    with using(path):
        study = optuna.create_study(study_name="s", storage=open_storage(path), load_if_exists=True)
        sys.stdin.readline()
        for _ in range(int(sys.argv[2])):
            trial = study.ask()
            study.tell(trial, trial.suggest_float("x", 0, 1))
"""


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def begin(path: Path, n: int = 3) -> Study:
    """Return a study with *n* finished trials."""
    with using(path):
        study = optuna.create_study(study_name="s", storage=open_storage(path), load_if_exists=True)
        for _ in range(n):
            trial = study.ask()
            study.tell(trial, trial.suggest_float("x", 0, 1))
    return study


def values(path: Path) -> list[float | None]:
    """Return what the file holds."""
    with using(path):
        return [
            trial.value
            for trial in optuna.load_study(study_name="s", storage=open_storage(path)).trials
        ]


def test_journal_outlives_its_process(tmp_path: Path) -> None:
    """What one process wrote the next one reads; the file is made with its directory, alone."""
    path = tmp_path / "new" / "a.study.jsonl"

    study = begin(path)

    assert values(path) == [trial.value for trial in study.trials]
    assert [item.name for item in path.parent.iterdir()] == ["a.study.jsonl"]


def test_journal_is_optunas_own(tmp_path: Path) -> None:
    """Optuna reads the file by itself, so its own tools show the study."""
    path = tmp_path / "a.study.jsonl"
    study = begin(path)
    backend = optuna.storages.journal.JournalFileBackend(str(path))

    theirs = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))

    assert [trial.value for trial in theirs.trials] == [trial.value for trial in study.trials]


@pytest.mark.parametrize("torn", [b"{", b'{"op_code":5,"worker_id":"x"', b"\0" * 200_000])
def test_journal_mends_a_torn_last_line(tmp_path: Path, torn: bytes) -> None:
    """A line that was cut short goes when the next is written; all before it stays."""
    path = tmp_path / "a.study.jsonl"
    begin(path)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)

    before = values(path)
    begin(path, n=1)

    assert len(before) == 3
    assert len(values(path)) == 4
    assert path.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_journal_mends_its_only_line(tmp_path: Path) -> None:
    """A study that was killed at its very first line begins anew."""
    path = tmp_path / "a.study.jsonl"
    for torn in (b"", b'{"op', b'{"op_code":0,"worker'):
        path.write_bytes(torn)

        begin(path, n=1)

        assert len(values(path)) == 1


def test_journal_mends_what_another_tore_while_it_is_open(tmp_path: Path) -> None:
    """A process that goes on writing mends the line that another was killed amid."""
    path = tmp_path / "a.study.jsonl"
    study = begin(path)
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"gone')

    study.tell(study.ask(), 0.5)

    assert len(values(path)) == 4
    assert study.trials[-1].value == 0.5


BAD_LINES = [
    b"garbage\n",
    b'{"op_code":\n',
    b'{"op_code":4}\n',
    b'{"op_code":99}\n',
    b'{"worker_id":"x"}\n',
    b'{"op_code":6,"trial_id":77,"state":1,"values":[0.5]}\n',
    b"[]\n",
    b"null\n",
    b"\xff\xfe\n",
    b"\n",
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_journal_refuses_garbage(tmp_path: Path, line: bytes) -> None:
    """A line that is no step of a study is an error that says what to do; the file stays as it is."""
    path = tmp_path / "a.study.jsonl"
    begin(path)
    first, rest = path.read_bytes().split(b"\n", 1)
    for content in (first + b"\n" + line + rest, first + b"\n" + rest + line):
        path.write_bytes(content)

        with pytest.raises(DataError, match=r"is damaged .*move it away to begin anew, or name"):
            values(path)

        assert path.read_bytes() == content


def test_journal_tells_of_garbage_that_comes_while_it_is_open(tmp_path: Path) -> None:
    """A file that is spoilt while it is in use is an error too, not a wrong study."""
    path = tmp_path / "a.study.jsonl"
    study = begin(path)
    with path.open("ab") as file:
        file.write(b"garbage\n")

    with pytest.raises(DataError, match="is damaged"), using(path):
        study.ask()


@pytest.mark.parametrize("content", [b"age,label\n1,yes\n2,no", b"\x89PNG", b"{}", b"[1]\n", b"\n"])
def test_study_leaves_other_files_alone(tmp_path: Path, content: bytes) -> None:
    """A file that is no study, such as a table without a last newline, is not touched."""
    path = tmp_path / "table.csv"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"table.csv is no study: name another file with --study"):
        require_usable(path)

    assert path.read_bytes() == content


def test_study_is_a_file(tmp_path: Path) -> None:
    """A directory or a device in its place is refused, and nothing is made beside it."""
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(DataError, match="is no study"):
            require_usable(path)

    assert not list(tmp_path.iterdir())


def test_study_below_a_file(tmp_path: Path) -> None:
    """A path that leads through a file cannot be written, and says so."""
    (tmp_path / "file").write_text("mine")

    with pytest.raises(DataError, match=r"cannot be written .*name another file with --study"):
        require_usable(tmp_path / "file" / "a.study.jsonl")


READ_ONLY = """
    import os, sys
    from pathlib import Path
    from mlembed.errors import DataError
    from mlembed.training.study import require_usable

    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    for name in sys.argv[1:]:
        try:
            require_usable(Path(name))
        except DataError as error:
            print(error)
"""


def test_study_that_is_read_only(tmp_path: Path) -> None:
    """Whoever may not write the file, or make one, is told so before anything is tried."""
    path = tmp_path / "kept.study.jsonl"
    begin(path)
    before = path.read_bytes()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        lines = run_script(
            READ_ONLY, path.name, "new.study.jsonl", "new/a.study.jsonl", cwd=tmp_path
        ).splitlines()
    finally:
        tmp_path.chmod(0o755)

    names = (path.name, "new.study.jsonl", "new/a.study.jsonl")
    assert lines == [
        f"the study {name} cannot be written (Permission denied): name another file with --study"
        for name in names
    ]
    assert path.read_bytes() == before


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    import optuna
    from mlembed.errors import DataError
    from mlembed.training.study import open_storage, using

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path, limit = Path(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        with using(path):
            study = optuna.create_study(
                study_name="s", storage=open_storage(path), load_if_exists=True
            )
            while True:
                study.tell(study.ask(), 0.5)
    except DataError as error:
        print(error)
"""


@pytest.mark.parametrize("room", [0, 1, 200, 1_000])
def test_journal_on_a_full_disk(tmp_path: Path, room: int) -> None:
    """Where the disk ends amid a line, the error says so, and the file ends with a whole one."""
    path = tmp_path / "a.study.jsonl"
    begin(path)
    before = path.read_bytes()

    told = run_script(FULL_DISK, path, str(len(before) + room))

    after = path.read_bytes()
    assert "cannot be written (File too large): name another file with --study" in told
    assert after.startswith(before)
    assert after.endswith(b"\n")
    assert len(values(path)) >= 3


def test_journal_on_a_tiny_disk(tmp_path: Path) -> None:
    """The same on a disk that is really full, where one can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        path = disk / "a.study.jsonl"
        with pytest.raises(DataError, match=r"cannot be written .No space left on device"):
            begin(path, n=10_000)

        assert path.read_bytes().endswith(b"\n")
        assert len(values(path)) > 3
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_journal_is_shared(tmp_path: Path) -> None:
    """Processes that write at once lose none of their trials, and none of their lines."""
    path = tmp_path / "a.study.jsonl"
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(start_script(WRITER, path, "25")) for _ in range(3)]
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        told = [writer.communicate(timeout=60) for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0, 0], told
    assert all(error == "" for _, error in told)
    found = values(path)
    assert len(found) == 75
    assert None not in found
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_journal_is_shared_where_the_disk_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link stands for the lock, and is gone after."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "a.study.jsonl"

    begin(path)

    assert len(values(path)) == 3
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


HOLDER = """
    import fcntl, sys
    file = open(sys.argv[1], "r+b")
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_journal_is_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    """A process that was killed amid writing holds nobody up."""
    path = tmp_path / "a.study.jsonl"
    begin(path)
    with start_script(HOLDER, path, measured=False) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with start_script(WRITER, path, "1") as writer:
            with pytest.raises(subprocess.TimeoutExpired):
                writer.communicate("go\n", timeout=3)
            holder.kill()
            writer.communicate(timeout=30)

    assert writer.returncode == 0
    assert len(values(path)) == 4


def test_storage_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path the study lives as long as the run."""
    monkeypatch.chdir(tmp_path)
    with using(None):
        study = optuna.create_study(storage=open_storage(None))
        study.tell(study.ask(), 0.5)

    assert study.trials[0].state == TrialState.COMPLETE
    assert not list(tmp_path.iterdir())


def test_owner_is_this_process_until_it_ends() -> None:
    """A living process is no one's to take from; a dead one, and its number used anew, is gone."""
    script = "from mlembed.training.study import owner; import sys; print(owner(), flush=True); sys.stdin.read()"
    with start_script(script) as process:
        assert process.stdout is not None
        other = process.stdout.readline().strip()
        while_alive = abandoned(other)
        process.communicate("")

    host, pid, started, _ = owner().split(" ")
    assert not abandoned(owner())
    assert not while_alive
    assert abandoned(other)
    assert abandoned(f"{host} {pid} {int(started) - 1}")
    assert abandoned("")


def test_owner_of_another_machine_is_taken_for_alive() -> None:
    """What cannot be seen from here is left alone."""
    assert not abandoned(f"elsewhere {os.getpid()} 1")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_owner_that_was_not_buried_is_gone() -> None:
    """A process that ended, and whose parent has not asked for it, is dead."""
    script = "from mlembed.training.study import owner; print(owner(), flush=True)"
    process = start_script(script)
    assert process.stdout is not None
    other = process.stdout.readline().strip()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    gone = abandoned(other)

    process.communicate()
    assert gone


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_owner_where_the_system_tells_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without /proc a process is alive as long as there is one of its number."""
    monkeypatch.setattr(module, "_PROCESSES", tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()

    host, pid, started, _ = owner().split(" ")

    assert (pid, started) == (str(os.getpid()), "alive")
    assert not abandoned(f"{host} {pid} alive")
    assert abandoned(f"{host} {process.pid} alive")


NOBODY = """
    import os, socket
    from pathlib import Path
    from mlembed.training import study

    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    study._PROCESSES = Path("/nowhere")
    print(study.abandoned(f"{socket.gethostname()} 1 alive 0"))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_owner_whom_another_user_may_not_ask() -> None:
    """A process of another user is alive, even if it must not be signalled."""
    assert run_script(NOBODY) == "False\n"
