"""What hosts logged is read back row by row, whatever state the files are in."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bundles import COLUMNS, RECORD, toy_bundle, toy_rows, toy_table
from mlembed.columns import Column
from mlembed.errors import MonitoringError, SchemaError
from mlembed.monitoring import logfiles
from mlembed.monitoring.log import read_log
from monitoring.scenes import Scene

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


def hand_written(folder: Path, *records: Any, tail: bytes = b"", name: str = "a-1-0") -> None:
    """Write a log file that holds *records*, one a line, and ends in *tail*."""
    day = folder / "toy" / "dt=2026-11-01"
    day.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode() + b"\n"
        for record in records
    ]
    (day / f"{name}.jsonl").write_bytes(b"".join(lines) + tail)


def event(prediction_id: str = "p", body: str | None = '{"y":{"score":[0.5]}}', **more: Any) -> Any:
    """Return a small prediction event; *more* replaces parts of the record."""
    attributes = {"mlembed.prediction.id": {"stringValue": prediction_id}} | more.pop("also", {})
    return {
        "timeUnixNano": "1790000000000000000",
        "eventName": "mlembed.prediction",
        "body": {} if body is None else {"stringValue": body},
        "attributes": [{"key": key, "value": value} for key, value in attributes.items()],
    } | more


def test_read_log_gives_back_single_predictions(scene: Scene) -> None:
    """Every prediction is one row with its id, key, score and features as the host gave them."""
    rows = toy_rows(40)
    answers = [scene.model.predict(row, key=f"k{i}") for i, row in enumerate(rows)]

    log = scene.read()

    assert log.ids.tolist() == [answer.id for answer in answers]
    assert log.keys.tolist() == [f"k{i}" for i in range(40)]
    assert log.score.tolist() == [answer.score for answer in answers]
    assert log.time_ns.tolist() == [answer.time_ns for answer in answers]
    assert set(log.version) == {"1.0.0"}
    assert set(log.digest) == {toy_bundle().id}
    assert log.features["town"].tolist() == [row["town"] for row in rows]
    assert log.features["member"].tolist() == [row["member"] for row in rows]
    assert log.features["seen"].tolist() == [row["seen"].timestamp() for row in rows]
    income = [np.nan if row["income"] is None else row["income"] for row in rows]
    np.testing.assert_array_equal(log.features["income"], income)
    assert (log.latency > 0).all()
    assert (log.weights == 1).all()
    assert log.has_features.all()


def test_read_log_gives_back_batches(scene: Scene) -> None:
    """The rows of a batch have the ids that the host was given, over all its events."""
    table = toy_table(600)
    batch = scene.model.predict_batch(table)

    log = scene.read()

    assert log.ids.tolist() == batch.ids
    assert log.score.tolist() == batch.scores.tolist()
    assert log.features["plan"].tolist() == table["plan"]
    assert sorted(set(log.batch.tolist())) == [88, 256]


def test_read_log_keeps_unknown_categories(scene: Scene) -> None:
    """A category outside the vocabulary is logged by name, so that it can be learnt."""
    scene.model.predict({**RECORD, "town": "atlantis"})

    assert scene.read().features["town"].tolist() == ["atlantis"]


def test_read_log_keeps_failed_calls(registry: FileRegistry, settings: Settings) -> None:
    """Fallbacks and errors are rows without features, with the class of their error."""
    with_fallback = Scene(registry, settings, fallback=0.25)
    with_fallback.model.predict({"age": "old"})
    without = Scene(registry, settings)
    with pytest.raises(SchemaError):
        without.model.predict({})

    log = with_fallback.read()

    assert log.reason.tolist() == ["fallback", "error"]
    assert log.error_type.tolist() == ["SchemaError", "SchemaError"]
    assert log.score[0] == 0.25
    assert np.isnan(log.score[1])
    assert not log.has_features.any()


def test_read_log_keeps_versions_apart(registry: FileRegistry, settings: Settings) -> None:
    """Versions with different columns share a log; each keeps its own values and types."""
    scene = Scene(registry, settings)
    scene.predict(5)
    newer = (Column(name="age", kind="category", vocabulary=("young", "old")), *COLUMNS[1:3])
    newer += (Column(name="extra", kind="number"),)
    registry.publish(toy_bundle(version="2.0.0", columns=newer))
    other = Scene(registry, settings, ref="toy@2.0.0")
    for row in toy_rows(3, columns=newer):
        other.model.predict(row)

    log = scene.read()
    old, new = log.of_version("1.0.0"), log.of_digest(toy_bundle("toy", "2.0.0", columns=newer).id)

    assert (len(log), len(old), len(new)) == (8, 5, 3)
    assert old.features["age"].dtype == np.float64
    assert not np.isnan(old.features["age"]).any()
    assert np.isnan(old.features["extra"]).all()
    assert set(new.features["age"]) <= {"young", "old"}
    assert not np.isnan(new.features["extra"]).any()
    assert np.isnan(new.features["town"]).all()


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


@pytest.mark.parametrize(
    "record",
    [
        None,
        {"attributes": [{}]},
        event(body="{"),
        event(body='{"y":{"score":0.5}}'),
        event(body='{"y":{"score":["0.5"]}}'),
        event(body='{"y":{"score":[0.5]},"f":{"age":[1,2]}}'),
        event(body='{"y":{"score":[0.5]},"f":[1]}'),
        event(body=f'{{"y":{{"score":[1{"0" * 400}]}}}}'),
        event(timeUnixNano="soon"),
        event(timeUnixNano=str(2**64)),
        event(eventName="mlembed.outcome"),
        event(eventName="mlembed.outcome", also={"mlembed.outcome.value": {"arrayValue": {}}}),
        {**event(), "attributes": []},
    ],
)
def test_read_log_counts_events_that_are_not_ours(tmp_path: Path, record: Any) -> None:
    """A malformed event leaves no half row behind."""
    hand_written(tmp_path, event("a"), record, event("b"))

    log = read_log(tmp_path, "toy")

    assert log.ids.tolist() == ["a", "b"]
    assert (log.unreadable, log.outcomes) == (1, [])


def test_read_log_leaves_other_events_out(tmp_path: Path) -> None:
    """Events of other kinds and other models do not concern this log."""
    foreign = event("c", also={"mlembed.model.name": {"stringValue": "other"}})
    hand_written(tmp_path, event("a", eventName="mlembed.drift"), foreign, event("b"))

    log = read_log(tmp_path, "toy")

    assert (log.ids.tolist(), log.unreadable) == (["b"], 0)


def test_read_log_accepts_what_collectors_write(tmp_path: Path) -> None:
    """Numbers as strings, names of events as attributes, empty bodies and unknown fields are read."""
    also = {
        "event.name": {"stringValue": "mlembed.prediction"},
        "mlembed.prediction.count": {"intValue": "2"},
        "mlembed.sampling.rate": {"doubleValue": "0.25"},
        "mlembed.prediction.key": {"intValue": 7},
        "unknown": {},
    }
    record = {**event("e", None, also=also), "eventName": "", "later": 1}
    hand_written(tmp_path, {**record, "timeUnixNano": 5})

    log = read_log(tmp_path, "toy")

    assert log.ids.tolist() == ["e/0", "e/1"]
    assert log.weights.tolist() == [4.0, 4.0]
    assert log.keys.tolist() == ["7", "7"]
    assert np.isnan(log.score).all()
    assert log.time_ns.tolist() == [5, 5]


def test_read_log_keeps_an_event_once(tmp_path: Path) -> None:
    """An event that a collector wrote twice is one prediction."""
    hand_written(tmp_path, event("a"), event("a"), event("b"))
    hand_written(tmp_path, event("b"), name="a-2-0")

    log = read_log(tmp_path, "toy")

    assert (log.ids.tolist(), log.repeated) == (["a", "b"], 2)


def test_read_log_keeps_values_no_float_can_hold(tmp_path: Path) -> None:
    """A foreign writer's huge integer spoils neither its row nor the log."""
    body = f'{{"y":{{"score":[0.5]}},"f":{{"age":[1{"0" * 400}],"town":[[1,2]]}}}}'
    hand_written(tmp_path, event("a", body))

    log = read_log(tmp_path, "toy")

    assert log.features["age"].dtype == object
    assert log.features["town"].tolist() == [[1, 2]]


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
