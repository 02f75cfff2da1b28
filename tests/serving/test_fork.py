"""A forked child predicts, logs, follows promotions and exits like any process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundles import RECORD, toy_bundle
from processes import run_script, unmeasured
from serving.logs import attributes_of, events, read_lines

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).with_name("forked.py")


@pytest.fixture
def folder(registry: FileRegistry, tmp_path: Path) -> Path:
    """Return a folder with a registry of two versions, the first one champion, and a record."""
    registry.publish(toy_bundle(version="1.1.0", shift=1.0))
    (tmp_path / "record.json").write_text(json.dumps(RECORD, default=str))
    return tmp_path


def run(program: str, folder: Path) -> Any:
    """Run one of the programs and return what it prints."""
    done = subprocess.run(
        [sys.executable, str(PROGRAMS), program, str(folder)],
        env={**unmeasured(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    sys.stderr.write(done.stderr)  # where a child that hangs says at which line
    assert done.returncode == 0
    return json.loads(done.stdout)


def pids_in_log(folder: Path) -> dict[int, set[str]]:
    """Return the prediction ids in the log by the process that the file's name tells."""
    found: dict[int, set[str]] = {}
    for path in (folder / "log").rglob("*.jsonl*"):
        pid = int(path.name.split(".jsonl")[0].split("-")[-2])
        for line in path.read_bytes().splitlines():
            (resource,) = json.loads(line)["resourceLogs"]
            attributes = {a["key"]: a["value"] for a in resource["resource"]["attributes"]}
            assert attributes["process.pid"] == {"intValue": str(pid)}
        for record in read_lines(path.read_bytes()):
            found.setdefault(pid, set()).add(attributes_of(record)["mlembed.prediction.id"])
    return found


def test_forked_children_make_ids_of_their_own(folder: Path) -> None:
    """100,000 ids of four children differ, each child exits by itself and logs into its own file."""
    told = run("ids", folder)

    made = {int(path.stem): path.read_text().split("\n") for path in folder.glob("*.ids")}
    logged = pids_in_log(folder)
    assert told["codes"] == [0, 0, 0, 0]
    assert len({identity for ids in made.values() for identity in ids}) == 100_000
    assert set(logged) == set(told["pids"])
    for pid, ids in made.items():
        assert logged[pid] <= set(ids)
        assert len(logged[pid]) > 1_000
    parent = told["pids"][0]
    assert len(logged[parent]) == 2


def test_pool_workers_predict(folder: Path) -> None:
    """Workers of a pool answer as their parent does, and flush what they log."""
    told = run("pool", folder)

    assert [score for _, _, score, _ in told["answers"]] == told["expected"]
    assert {version for _, version, _, _ in told["answers"]} == {"1.0.0"}
    assert all(flushed for *_, flushed in told["answers"])
    pids = {pid for pid, *_ in told["answers"]}
    assert told["pid"] not in pids
    assert set(pids_in_log(folder)) == {told["pid"], *pids}
    assert len(events(folder / "log")) == 81


@pytest.mark.parametrize("program", ["follow", "follow with two threads"])
def test_forked_children_follow_promotions(program: str, folder: Path) -> None:
    """A child picks up a version promoted after the fork, whatever threads its session has."""
    assert run(program, folder) == {"codes": [0, 0]}


@pytest.mark.parametrize("program", ["moments", "moments with two threads"])
def test_fork_at_every_moment(program: str, folder: Path) -> None:
    """Before, amid and after load and prediction, child and grandchild answer, log and exit."""
    told = run(program, folder)

    assert len(told) == 7
    assert set(map(str, told.values())) == {str([[0], True, 1])}
    assert all(len(ids) > 0 for ids in pids_in_log(folder).values())


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_of_every_start_method(method: str, folder: Path) -> None:
    """A worker answers with a model that it loaded itself, and its parent gets the predictions."""
    script = """
    import sys
    from serving import spawned
    spawned.main(sys.argv[1], sys.argv[2])
    """

    told = json.loads(run_script(script, method, folder))

    assert len({pid for pid, *_ in told["answers"]}) == 2
    assert {score for _, _, score in told["answers"]} == {told["expected"]}
    logged = pids_in_log(folder)
    for pid, identity, _ in told["answers"]:
        assert identity in logged[pid]


def test_fork_in_the_middle_of_everything(folder: Path) -> None:
    """A fork while threads predict, log and swap leaves no lock behind in the child."""
    told = run("busy", folder)

    assert told == {"codes": [0] * 15, "state": "READY"}


def test_forked_child_shares_only_a_session_that_nobody_was_running(folder: Path) -> None:
    """A session that other threads have run is made anew in the child; the answers are the same."""
    alone, among_threads = run("sessions", folder)

    inherited, score, expected, code = alone
    assert (inherited, score, code) == (True, expected, 0)
    inherited, score, expected, code = among_threads
    assert (inherited, score, code) == (False, expected, 0)
