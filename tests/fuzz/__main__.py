"""Fuzz the parsers of bytes that come from elsewhere.

    python -m tests.fuzz [TARGET...] [--seconds 60] [--findings DIRECTORY]

The seconds are shared among the targets, each in a process of its own. What makes a target raise
anything but mlembed's errors is written to a file, and the exit code is 1; 2 where atheris, which
mutates under coverage, is not installed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

_MAX_BYTES = 100_000
_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own in it


def main() -> int:
    """Run every target in a process, or the one that this process is for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=60.0, help="of all targets together")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        importlib.import_module("atheris")
    except ImportError as error:
        sys.stderr.write(f"atheris cannot be imported ({error}); pip install -e '.[dev]'\n")
        return 2
    if options.child:
        return _fuzz(options.child, options.seconds, options.findings)
    from fuzz.targets import CANARY, TARGETS

    if unknown := set(options.targets) - {*TARGETS, *CANARY}:
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {[*TARGETS]}")
    names = options.targets or [*TARGETS]
    options.findings.mkdir(parents=True, exist_ok=True)
    seconds = max(1.0, options.seconds / len(names))
    failed = [name for name in names if not _child(name, seconds, options.findings)]
    found = sorted(options.findings.glob("*"))
    for path in found:
        sys.stdout.write(f"{path}: {path.read_bytes()[:200]!r}\n")
    sys.stdout.write(f"{len(names)} targets, {len(failed)} failed{': ' * bool(failed)}")
    sys.stdout.write(f"{', '.join(failed)}\n")
    return int(bool(failed))


def _child(name: str, seconds: float, findings: Path) -> bool:
    options = ("--child", name, "--seconds", str(seconds), "--findings", str(findings))
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds * 3 + 120,
            env={**os.environ, "TMPDIR": folder},  # the fuzzer ends without cleaning up
        )
    executed = [line for line in done.stderr.splitlines() if line.startswith("stat::number_of")]
    sys.stdout.write(f"{name}: {' '.join(executed) or 'nothing was executed'}\n")
    if done.returncode:
        sys.stdout.write(f"{done.stdout[-3000:]}\n{done.stderr[-1500:]}\n")
    return done.returncode == 0


def _fuzz(name: str, seconds: float, findings: Path) -> int:
    import atheris

    with atheris.instrument_imports(include=["mlembed"]):
        from fuzz.targets import CANARY, TARGETS, run, words
    seeds = (TARGETS | CANARY)[name][1]
    with tempfile.TemporaryDirectory() as folder:
        corpus, dictionary = Path(folder) / "corpus", Path(folder) / "words"
        corpus.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in words(seeds))
        dictionary.write_text("".join(f'"{word}"\n' for word in escaped), encoding="ascii")
        atheris.Setup(
            [
                "fuzz",
                str(corpus),
                f"-dict={dictionary}",
                f"-max_total_time={max(1, round(seconds))}",
                f"-max_len={_MAX_BYTES}",
                "-timeout=10",
                "-rss_limit_mb=1024",
                "-print_final_stats=1",
                f"-artifact_prefix={findings}/{name}-",
            ],
            lambda data: run(name, data),
        )
        atheris.Fuzz()  # ends the process
    return 0


if __name__ == "__main__":
    sys.exit(main())
