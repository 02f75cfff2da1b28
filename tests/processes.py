"""Run code in a process of its own: what forks, dies, exits or changes its user."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROOT = Path(__file__).parents[1]
_MEASURES = "COVERAGE_PROCESS_"
_PATHS = (_ROOT, _ROOT / "tests")


def unmeasured() -> dict[str, str]:
    """Return the environment of a process whose coverage is not to be measured."""
    return {key: text for key, text in os.environ.items() if not key.startswith(_MEASURES)}


def pip_install(python: str | Path, *arguments: str | Path) -> None:
    """Install by the pip of *python*, with its *arguments*; skip the test where it cannot."""
    command = [python, "-m", "pip", "install", "--quiet", *arguments]
    try:
        subprocess.run(
            command, env=unmeasured(), capture_output=True, text=True, check=True, timeout=240
        )
    except subprocess.SubprocessError as error:
        told = getattr(error, "stderr", "") or ""
        pytest.skip(f"pip cannot install {arguments}: {error} {told[-300:]}")


def start_script(
    script: str,
    *arguments: str | Path,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    measured: bool = True,
) -> subprocess.Popen[str]:
    """Start Python on *script*, which imports mlembed and what tests share; warnings are errors.

    Args:
        script: Source; its indentation is taken off.
        arguments: What it finds in `sys.argv[1:]`.
        cwd: Directory to run in.
        environment: Variables besides those of this process.
        measured: Whether coverage is measured, where it is at all; a process that is killed or
            forks spoils its data.
    """
    measured = measured and "os.fork" not in script
    inherited = dict(os.environ) if measured else unmeasured()
    variables = {"PYTHONPATH": os.pathsep.join(map(str, _PATHS)), "ORT_DISABLE_TELEMETRY": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, arguments)],
        cwd=cwd,
        env=inherited | variables | dict(environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(
    script: str,
    *arguments: str | Path,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    returncode: int = 0,
) -> str:
    """Run *script* to its end within a minute and return what it printed.

    Args:
        script: As for `start_script`, like the others.
        arguments: What it finds in `sys.argv[1:]`.
        cwd: Directory to run in.
        environment: Variables besides those of this process.
        returncode: How it must end.
    """
    with start_script(script, *arguments, cwd=cwd, environment=environment) as process:
        try:
            output, errors = process.communicate(timeout=240)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == returncode, f"ended with {process.returncode}: {errors[-2000:]}"
    return output
