"""Whether the machine is used as the site would want: no reports, no more threads than CPUs."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from django.core.checks import Warning as CheckWarning

from mlembed_django.processors import cpus, workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

    from mlembed_django.declaration import Declaration

_VARIABLE = "ORT_DISABLE_TELEMETRY"
_REPORTS_SINCE = (1, 29)
_PACKAGES = ("onnxruntime", "onnxruntime-gpu")


def look(_declaration: Declaration) -> Iterator[CheckMessage]:
    """W004: onnxruntime reports usage, because the site says so or imported it before mlembed."""
    said = os.environ.get(_VARIABLE)
    early = said is None and "onnxruntime" in sys.modules
    if (said not in (None, "1") or early) and _reports():
        why = "it was imported before mlembed could" if early else f"{_VARIABLE} is not 1"
        yield CheckWarning(
            f"onnxruntime reports usage to its maker: {why} turn that off.",
            hint=f"Set {_VARIABLE}=1 in the environment of the site.",
            id="mlembed.W004",
        )


def look_at_threads(declaration: Declaration) -> Iterator[CheckMessage]:
    """W005: the threads of all workers want more CPUs than the site may use."""
    most = max(
        declared.settings(declaration.settings).threads for declared in declaration.models.values()
    )
    n_workers = workers(os.environ, Path.cwd()) or 1
    n_cpus = cpus()
    # Workers that mostly wait may be more than the CPUs; gunicorn advises twice as many and one.
    bound = n_cpus if most > 1 else 2 * n_cpus + 1
    if n_workers * most > max(bound, 1):
        yield CheckWarning(
            f"{n_workers} workers with {most} threads a model want {n_workers * most} CPUs, and "
            f"the site may use {n_cpus:g}: predictions would wait for each other.",
            hint="Lower THREADS in MLEMBED, start fewer workers, or raise the CPU quota.",
            id="mlembed.W005",
        )


def _reports() -> bool:
    for package in _PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        numbers = re.match(r"(\d+)\.(\d+)", version)
        return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _REPORTS_SINCE
    return False
