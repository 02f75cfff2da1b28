"""What a process may use is read from its cgroups, and what a server will start from its settings."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mlembed_django.processors import cpus, workers

if TYPE_CHECKING:
    from pathlib import Path

MANY = 64


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a machine of 64 CPUs without cgroups."""
    for name in ("process_cpu_count", "cpu_count"):
        monkeypatch.setattr(os, name, lambda: MANY, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(MANY), raising=False)
    return tmp_path


def put(root: Path, **files: str) -> None:
    """Write *files* below *root*; two underscores stand for a slash, and `DOT` for a dot."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_cpus_are_those_of_the_machine_without_a_quota(machine: Path) -> None:
    """Without cgroups, or with `max` in them, all CPUs of the process's affinity count."""
    assert cpus(machine) == MANY

    put(machine, proc__self__cgroup="0::/\n", sys__fs__cgroup__cpuDOTmax="max 100000\n")

    assert cpus(machine) == MANY


def test_cpus_follow_the_lowest_quota_of_version_2(machine: Path) -> None:
    """A group has no more than each group above it; a quota may be a part of a CPU."""
    put(
        machine,
        proc__self__cgroup="0::/site/web\n",
        sys__fs__cgroup__site__web__cpuDOTmax="400000 100000\n",
        sys__fs__cgroup__site__cpuDOTmax="150000 100000\n",
    )

    assert cpus(machine) == 1.5


def test_cpus_follow_a_quota_of_version_1(machine: Path) -> None:
    """In a container the group's own path is not there, and its quota stands at the root."""
    put(
        machine,
        proc__self__cgroup="5:cpuset:/docker/1\n4:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n",
        sys__fs__cgroup__cpu__cpuDOTcfs_quota_us="200000\n",
        sys__fs__cgroup__cpu__cpuDOTcfs_period_us="100000\n",
        sys__fs__cgroup__cpuset__cpuDOTcfs_quota_us="100000\n",
    )
    assert cpus(machine) == 2

    put(machine, sys__fs__cgroup__cpu__cpuDOTcfs_quota_us="-1\n")

    assert cpus(machine) == MANY


@pytest.mark.parametrize("text", ["", "0::\n", "nonsense\n", "0::/a\nx\n", "\0"])
def test_cpus_pass_over_what_they_cannot_read(machine: Path, text: str) -> None:
    """A file that is not as the kernel writes it changes nothing and raises nothing."""
    put(machine, proc__self__cgroup=text, sys__fs__cgroup__cpuDOTmax="a lot\n")

    assert cpus(machine) == MANY


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone has it")
def test_cpus_follow_the_affinity_of_the_process() -> None:
    """A process that is bound to one CPU has one."""
    script = (
        "import os, mlembed_django.processors as p\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "print(p.cpus())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    out = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True
    )

    assert 0 < float(out.stdout) <= 1


@pytest.mark.parametrize(
    ("environment", "config", "expected"),
    [
        ({}, "", None),
        ({"WEB_CONCURRENCY": "3"}, "", 3),
        ({"WEB_CONCURRENCY": "many"}, "", None),
        ({"UVICORN_WORKERS": "2"}, "", 2),
        ({"UWSGI_PROCESSES": "5"}, "", 5),
        ({"GUNICORN_CMD_ARGS": "-w 4 --bind=0.0.0.0:80"}, "", 4),
        ({"GUNICORN_CMD_ARGS": "--workers=4 -k gthread"}, "", 4),
        ({"GUNICORN_CMD_ARGS": "-w4", "WEB_CONCURRENCY": "3"}, "workers = 2", 4),
        ({"GUNICORN_CMD_ARGS": "-w four", "WEB_CONCURRENCY": "3"}, "", 3),
        ({"GUNICORN_CMD_ARGS": "--bind 'half", "WEB_CONCURRENCY": "3"}, "", 3),
        ({"WEB_CONCURRENCY": "3"}, "bind = ':80'\nworkers = 7\n", 7),
        ({"WEB_CONCURRENCY": "3"}, "import os\nworkers = os.cpu_count()\n", 3),
        ({}, "workers = 2 +\n", None),
        ({}, "workers = 2\nraise SystemExit\n", 2),
    ],
)
def test_workers_are_found_where_servers_look(
    environment: dict[str, str], config: str, expected: int | None, tmp_path: Path
) -> None:
    """Gunicorn's arguments, its configuration and the variables count in this order; none is run."""
    (tmp_path / "gunicorn.conf.py").write_text(config)

    assert workers(environment, tmp_path) == expected


def test_workers_are_found_in_a_configuration_of_another_name(tmp_path: Path) -> None:
    """Gunicorn's arguments may name its configuration."""
    (tmp_path / "web.py").write_text("workers = 6\n")

    assert workers({"GUNICORN_CMD_ARGS": "-c file:web.py"}, tmp_path) == 6
    assert workers({"GUNICORN_CMD_ARGS": "-c nowhere.py"}, tmp_path) is None
