"""Fuzz the parsers of bytes that come from elsewhere.

    python -m tests.fuzz [TARGET...] [--seconds 60] [--findings DIRECTORY]

The seconds are shared among the targets, each in a process of its own, forked from this one so that
what is slow to import is imported once. What makes a target raise anything but mlembed's errors is
written to a file, and the exit code is 1; 2 where atheris, which mutates under coverage, is not
installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

_MAX_BYTES = 100_000
_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own in it


def main() -> int:
    """Run every target in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=60.0, help="of all targets together")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    try:
        atheris = importlib.import_module("atheris")
    except ImportError as error:
        sys.stderr.write(f"atheris cannot be imported ({error}); pip install -e '.[dev]'\n")
        return 2
    if _MEMORY.is_dir():
        tempfile.tempdir = str(_MEMORY)
    with atheris.instrument_imports(include=["mlembed"]):
        from fuzz.targets import CANARY, TARGETS

    if unknown := set(options.targets) - {*TARGETS, *CANARY}:
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {[*TARGETS]}")
    names = options.targets or [*TARGETS]
    options.findings.mkdir(parents=True, exist_ok=True)
    seconds = max(1.0, options.seconds / len(names))
    failed = [name for name in names if not _passes(name, seconds, options.findings)]
    for path in sorted(options.findings.glob("*")):
        sys.stdout.write(f"{path}: {path.read_bytes()[:200]!r}\n")
    sys.stdout.write(f"{len(names)} targets, {len(failed)} failed{': ' * bool(failed)}")
    sys.stdout.write(f"{', '.join(failed)}\n")
    return int(bool(failed))


def _passes(name: str, seconds: float, findings: Path) -> bool:
    """Fuzz the target *name* in a process, say how it went and return whether it went well."""
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        child = multiprocessing.get_context("fork").Process(
            target=_fuzz, args=(name, seconds, findings, Path(folder))
        )
        child.start()
        child.join(seconds * 3 + 120)
        child.kill()
        child.join()
        said = output.read_text("utf-8", "replace")
    executed = [line for line in said.splitlines() if line.startswith("stat::number_of")]
    sys.stdout.write(f"{name}: {' '.join(executed) or 'nothing was executed'}\n")
    if child.exitcode:
        sys.stdout.write(f"{said[-3000:]}\n")
    return child.exitcode == 0 and bool(executed)


def _fuzz(name: str, seconds: float, findings: Path, folder: Path) -> None:
    """Fuzz the target *name* until the time is over or it fails, and end the process."""
    import atheris

    from fuzz.targets import CANARY, TARGETS, run, words

    with (folder / "output").open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    seeds = (TARGETS | CANARY)[name][1]

    def once(data: bytes) -> None:
        try:
            run(name, data)
        except BaseException:  # the fuzzer itself keeps only what hangs, crashes or takes memory
            (findings / f"{name}-error-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise

    corpus, dictionary = folder / "corpus", folder / "words"
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
        once,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
