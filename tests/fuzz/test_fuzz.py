"""The parsers survive a short fuzzing, and what a longer one has found before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.targets import TARGETS, run

ROOT = Path(__file__).parents[2]
# What once raised anything but our own errors, or might.
REGRESSIONS = [
    b"",
    b"\xff\xfe\x00",
    b"[" * 90_000,
    b'{"a":' * 20_000,
    b"1" * 90_000,
    b"-" + b"9" * 5_000,
    b'"\\ud800"',
    b"1e999",
    b"\xef\xbb\xbf{}",
    b'{"payload":"","payloadType":"","signatures":[null]}',
    b'{"mediaType":[],"layers":{},"schemaVersion":2}',
]


@pytest.mark.parametrize("name", TARGETS)
def test_target_takes_what_is_real(name: str) -> None:
    """The seeds are accepted, or the target would fuzz nothing but its first check."""
    target, seeds = TARGETS[name]
    for seed in seeds:
        target(seed)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("data", REGRESSIONS, ids=lambda data: repr(data[:12]))
def test_target_refuses_in_our_own_words(name: str, data: bytes) -> None:
    """Nothing but mlembed's own errors leaves a parser."""
    run(name, data)


def test_fuzzing_finds_nothing(tmp_path: Path) -> None:
    """A minute over all targets; longer by hand: python -m tests.fuzz --seconds 3600."""
    pytest.importorskip("atheris", reason="no atheris: pip install -e '.[dev]'")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seconds", "60", "--findings", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert f"{len(TARGETS)} targets, 0 failed" in done.stdout
    assert "nothing was executed" not in done.stdout


def test_fuzzing_tells_what_it_finds(tmp_path: Path) -> None:
    """An unknown target is named, with those there are."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "none", "--findings", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 2
    assert "there is no target none" in done.stderr
