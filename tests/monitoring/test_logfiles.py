"""Log files are read whatever they are called and wherever their writer died."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundles import toy_rows
from mlembed.errors import MonitoringError
from mlembed.monitoring import logfiles
from mlembed.monitoring.log import read_log
from monitoring.scenes import Scene, event, hand_written

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings

HOST = """
import sys
from pathlib import Path
import mlembed
from mlembed.settings import Settings
from bundles import toy_rows

registry, log = map(Path, sys.argv[1:])
model = mlembed.load("toy", registry=registry, settings=Settings(log_dir=log, poll_seconds=0))
rows = toy_rows(500)
for row in rows:
    model.predict(row)
assert model.flush(30)
print("flushed", flush=True)
while True:
    for row in rows:
        model.predict(row)
"""


@pytest.fixture
def scene(registry: FileRegistry, settings: Settings) -> Scene:
    """Return the toy model in service."""
    return Scene(registry, settings)


def written(scene: Scene) -> list[Path]:
    """Return the log files of *scene*."""
    return sorted(scene.settings.log_dir.glob("toy/*/*"))


def test_read_log_reads_open_closed_and_compressed_files(scene: Scene) -> None:
    """A file counts once whatever it is called, and also while two forms of it exist."""
    scene.predict(10)
    assert len(scene.read()) == 10
    opened = written(scene)[0]
    assert opened.name.endswith(".jsonl.open")
    closed = opened.rename(opened.with_suffix(""))
    assert len(scene.read()) == 10
    packed = Path(f"{closed}.gz")

    with closed.open("rb") as source, gzip.open(packed, "wb") as target:
        shutil.copyfileobj(source, target)

    assert len(scene.read()) == 10
    closed.unlink()
    assert len(scene.read()) == 10


def test_read_log_follows_a_file_that_is_renamed(scene: Scene) -> None:
    """A file closed between the look and the read is found under its new name."""
    scene.predict(10)
    scene.model.flush()
    stem = logfiles.stems(scene.settings.log_dir / "toy")[0]
    opened = written(scene)[0]

    opened.rename(opened.with_suffix(""))

    assert sum(line.whole for line in logfiles.lines(stem)) >= 1


def test_lines_of_a_deleted_file_are_none(tmp_path: Path) -> None:
    """A file that retention removed meanwhile is no error."""
    assert list(logfiles.lines(tmp_path / "gone")) == []


def test_read_log_counts_a_torn_last_line(scene: Scene) -> None:
    """A line cut short costs its own rows and nothing else."""
    scene.predict(10)
    scene.model.flush()
    scene.predict(5)
    whole = scene.read()
    path = written(scene)[0]

    path.write_bytes(path.read_bytes()[:-40])
    log = scene.read()

    assert (len(whole), whole.torn) == (15, 0)
    assert (len(log), log.torn, log.unreadable) == (10, 1, 0)


def test_read_log_counts_unreadable_lines(scene: Scene) -> None:
    """A spoilt line in the middle is counted, and the lines around it are read."""
    scene.predict(10)
    scene.model.flush()
    path = written(scene)[0]
    lines = path.read_bytes().splitlines(keepends=True)

    path.write_bytes(b"".join([b"\xff{\n", *lines, b'{"resourceLogs":[{}]}\n', b"[]\n"]))
    log = scene.read()

    assert (len(log), log.torn, log.unreadable) == (10, 0, 3)


@pytest.mark.parametrize(("end", "torn", "unreadable"), [(b"", 1, 0), (b"\0" * 20, 0, 1)])
def test_read_log_survives_a_spoilt_archive(
    tmp_path: Path, end: bytes, torn: int, unreadable: int
) -> None:
    """Of a compressed file whose end is cut off or overwritten, what can be read is read."""
    hand_written(tmp_path, *[event(f"p{i}") for i in range(2_000)])
    path = next(tmp_path.glob("toy/*/*.jsonl"))
    data = gzip.compress(path.read_bytes())
    path.unlink()
    Path(f"{path}.gz").write_bytes(data[:-8] + end[:8])

    log = read_log(tmp_path, "toy")

    assert 1_000 < len(log) <= 2_000
    assert (log.torn, log.unreadable) == (torn, unreadable)


def test_read_log_takes_a_window(tmp_path: Path) -> None:
    """Predictions outside the window are left out, reports after it are kept."""
    noon = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)

    def at(minutes: int) -> str:
        return str(int((noon + dt.timedelta(minutes=minutes)).timestamp() * 1e9))

    outcome = {"mlembed.outcome.value": {"boolValue": True}}
    hand_written(
        tmp_path,
        *[event(f"p{m}", timeUnixNano=at(m)) for m in (-5, 0, 5, 10)],
        *[
            event(f"p{m}", timeUnixNano=at(m), eventName="mlembed.outcome", also=outcome)
            for m in (-1, 60)
        ],
    )

    log = read_log(tmp_path, "toy", since=noon, until=noon + dt.timedelta(minutes=5))
    later = read_log(tmp_path, "toy", since=noon + dt.timedelta(days=1))

    assert log.ids.tolist() == ["p0", "p5"]
    assert [o.prediction_id for o in log.outcomes] == ["p60"]
    assert len(later) == 0


def test_read_log_of_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    """A model that never predicted has an empty log, whatever else lies in its folder."""
    (tmp_path / "toy" / "dt=2026-11-01").mkdir(parents=True)
    (tmp_path / "toy" / "dt=2026-11-01" / "notes.txt").write_text("x")
    (tmp_path / "toy" / "dt=2026-11-02").write_text("a file")
    (tmp_path / "toy" / "other").mkdir()

    log = read_log(tmp_path, "toy")

    assert (len(log), log.features, log.outcomes) == (0, {}, [])


@pytest.mark.parametrize("model", ["toy", "../toy", ""])
def test_read_log_says_where_it_looked(tmp_path: Path, model: str) -> None:
    """A log that is not there is an error that names the place and the remedy."""
    with pytest.raises(MonitoringError, match=r"has no log of .* MLEMBED_LOG_DIR"):
        read_log(tmp_path, model)


def test_read_log_wants_a_time_zone(tmp_path: Path) -> None:
    """A time without a zone could mean two different windows, so it is refused."""
    (tmp_path / "toy").mkdir()
    naive = dt.datetime(2026, 1, 1)  # noqa: DTZ001  the very thing that is refused

    with pytest.raises(MonitoringError, match="'until' has no time zone"):
        read_log(tmp_path, "toy", until=naive)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_read_log_says_what_it_may_not_read(tmp_path: Path, what: str) -> None:
    """A part of the log that cannot be read is an error, since the rest would mislead."""
    hand_written(tmp_path, event())
    path = next(tmp_path.glob("toy/*/*.jsonl"))
    if what == "file":
        path.unlink()
        path.mkdir()
    else:
        shutil.rmtree(path.parent)
        path.parent.symlink_to(path.parent)

    with pytest.raises(MonitoringError, match=r"cannot read .*dt=2026-11-01"):
        read_log(tmp_path, "toy")


def test_read_log_after_sigkill_has_all_that_was_flushed(
    registry: FileRegistry, settings: Settings
) -> None:
    """A host killed in full flight loses nothing it had flushed, and the log stays readable."""
    here = Path(__file__).parents[1]
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(registry.root), str(settings.log_dir)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"},
    )
    with host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"flushed\n"
        host.send_signal(signal.SIGKILL)

    log = read_log(settings.log_dir, "toy")

    assert host.returncode == -signal.SIGKILL
    assert len(log) >= 500
    assert log.features["visits"][:500].tolist() == [row["visits"] for row in toy_rows(500)]
    assert log.torn <= 1
    assert log.unreadable == 0
