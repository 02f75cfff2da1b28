"""How many CPUs a process may use, and how many workers a server will start.

`os.cpu_count` tells of the machine; a container's share of it stands in its cgroups.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COUNTS = ("WEB_CONCURRENCY", "UVICORN_WORKERS", "UWSGI_PROCESSES", "UWSGI_WORKERS")


def cpus(root: Path = Path("/")) -> float:
    """Return how many CPUs this process may use, by its affinity and its cgroups' quotas.

    Args:
        root: Where `/proc` and `/sys` are.
    """
    return min([float(_by_affinity()), *_quotas(root)])


def workers(environment: Mapping[str, str], folder: Path) -> int | None:
    """Return how many worker processes gunicorn, uvicorn or uWSGI will start.

    What stands on the server's own command line cannot be seen from another process.

    Args:
        environment: The variables that servers read.
        folder: Where the server starts, and gunicorn looks for `gunicorn.conf.py`.

    Returns:
        The number, or None where neither says one.
    """
    arguments = _gunicorn_arguments(environment.get("GUNICORN_CMD_ARGS", ""))
    if arguments.workers is not None:
        return int(arguments.workers)
    config = folder / str(arguments.config or "gunicorn.conf.py").removeprefix("file:")
    counts = [_in_config(config), *(_number(environment.get(name, "")) for name in _COUNTS)]
    return next((count for count in counts if count is not None), None)


def _by_affinity() -> int:
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quota of each cgroup that this process is in, of either version."""
    groups = root / "sys" / "fs" / "cgroup"
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        _, _, named = line.partition(":")
        controllers, _, path = named.partition(":")
        if not path or (controllers and "cpu" not in controllers.split(",")):
            continue
        below = Path(path.lstrip("/"))
        for folder in (below, *below.parents):
            if controllers:
                yield from _quota_1(groups / "cpu" / folder)
            else:
                yield from _quota_2(groups / folder)


def _quota_1(group: Path) -> Iterator[float]:
    quota, period = (_number(_text(group / f"cpu.cfs_{what}_us")) for what in ("quota", "period"))
    if quota and period and quota > 0:
        yield quota / period


def _quota_2(group: Path) -> Iterator[float]:
    quota, _, period = _text(group / "cpu.max").partition(" ")
    numbers = _number(quota), _number(period)
    if numbers[0] and numbers[1]:
        yield numbers[0] / numbers[1]


def _gunicorn_arguments(text: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-w", "--workers", type=int)
    parser.add_argument("-c", "--config")
    with contextlib.suppress(ValueError, argparse.ArgumentError):
        return parser.parse_known_args(shlex.split(text))[0]
    return argparse.Namespace(workers=None, config=None)


def _in_config(path: Path) -> int | None:
    """Return what the configuration *path* gives as a plain number; it is read, never run."""
    try:
        module = ast.parse(_text(path))
    except (SyntaxError, ValueError):
        return None
    found = None
    for statement in module.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            if "workers" in names and isinstance(statement.value.value, int):
                found = statement.value.value
    return found


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
