"""Every benchmark runs, in its short form, and finds all the numbers it is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FINDINGS = {
    "calls": 21,
    "batches": 6,
    "lowering": 3,
    "start": 2,
    "registry": 4,
    "trouble": 4,
    "soak": 1,
    "others": 10,
    "querysets": 8,
    "hosts": 9,
    "load": 4,
    "actions": 5,
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks as the README says."""
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.parametrize("name", FINDINGS)
def test_benchmark_finds_its_numbers(name: str) -> None:
    """What they are on this machine is not judged here; that all are there, and sane, is."""
    done = run(name, "--short", "--json")

    found: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == FINDINGS[name], done.stderr[-2000:]
    assert all(finding["what"].startswith(f"{KINDS.get(name, name)}: ") for finding in found)
    missed = [
        f
        for f in found
        if (f["most"] is not None and f["value"] > f["most"])
        or (f["least"] is not None and f["value"] < f["least"])
    ]
    assert done.returncode == bool(missed)
    assert not [f for f in missed if f["unit"] == "records"]  # losses are no matter of speed


KINDS = {"calls": "predict", "batches": "batch"}


def test_benchmark_that_does_not_exist_is_named() -> None:
    """With those that do."""
    done = run("speed")

    assert done.returncode == 2
    assert "there is no benchmark speed" in done.stderr
