"""The public names have the types that hosts rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_public_names_keep_their_types() -> None:
    """A strict mypy finds in the host's code what is written there, and nothing else."""
    options = ["--ignore-missing-imports", "--follow-imports=silent"]

    run = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "tests/typing/api.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert run.returncode == 0, run.stdout + run.stderr
