"""The parsers survive a short fuzzing, and what a longer one has found before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.targets import TARGETS, run
from processes import unmeasured

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
    b"[" * 65 + b'"' + b'\\"' * 49_000,
    b'{"\\ud800":"\\u0000"}',
    b"[" + b"[]," * 30_000 + b"[]]",
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
        env=unmeasured(),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert f"{len(TARGETS)} targets, 0 failed" in done.stdout
    assert "nothing was executed" not in done.stdout


def test_fuzzing_finds_what_is_wrong(tmp_path: Path) -> None:
    """What fails is written to a file and shown, with the error, and the exit code says so."""
    pytest.importorskip("atheris", reason="no atheris: pip install -e '.[dev]'")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "canary", "--seconds", "20", "--findings", tmp_path],
        cwd=ROOT,
        env=unmeasured(),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    (found,) = tmp_path.iterdir()
    assert done.returncode == 1
    assert b"\xff" in found.read_bytes()
    assert f"{found}: {found.read_bytes()!r}" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert "1 targets, 1 failed: canary" in done.stdout


def test_fuzzing_needs_atheris(tmp_path: Path) -> None:
    """Without it nothing is fuzzed, and that is no success."""
    script = "import sys, runpy; sys.modules['atheris'] = None; sys.argv = ['fuzz']"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; runpy.run_module('tests.fuzz', run_name='__main__')"],
        cwd=ROOT,
        env=unmeasured(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 2
    assert "atheris cannot be imported" in done.stderr
    assert not [*tmp_path.iterdir()]


def test_fuzzing_tells_what_it_finds(tmp_path: Path) -> None:
    """An unknown target is named, with those there are."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "none", "--findings", tmp_path],
        cwd=ROOT,
        env=unmeasured(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 2
    assert "there is no target none" in done.stderr
