"""Find the files of a prediction log and read their lines, while hosts go on writing.

A file is opened once under whatever name it has at that moment, `.jsonl.open`, `.jsonl` or
`.jsonl.gz`, so a host that closes or compresses it meanwhile can neither lose nor double a line.
"""

from __future__ import annotations

import gzip
import re
import zlib
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from mlembed.errors import MonitoringError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# In the order a file lives through them: what was renamed after one try is found by the next.
_SUFFIXES = (".jsonl.open", ".jsonl", ".jsonl.gz")
_DAY = re.compile(r"dt=(\d{4}-\d{2}-\d{2})")


class Line(NamedTuple):
    """A line of a log, its newline included.

    Attributes:
        data: The bytes; empty where the rest of a compressed file cannot be read.
        whole: Whether it was written to its end.
    """

    data: bytes
    whole: bool


def stems(folder: Path, first_day: str = "") -> list[Path]:
    """List the files under *folder*, each once and without its suffix, the oldest day first.

    Args:
        folder: Directory of one model.
        first_day: Day (YYYY-MM-DD, UTC) before which nothing is of interest.

    Raises:
        MonitoringError: If a directory cannot be read.
    """
    found: set[Path] = set()
    for day in _names(folder):
        match = _DAY.fullmatch(day)
        if match is None or match[1] < first_day:
            continue
        for name in _names(folder / day):
            stem = next((name.removesuffix(s) for s in _SUFFIXES if name.endswith(s)), "")
            if stem:
                found.add(folder / day / stem)
    return sorted(found)


def lines(stem: Path) -> Iterator[Line]:
    """Yield the lines of the file *stem*; none where it was deleted meanwhile.

    Raises:
        MonitoringError: If the file may not be read.
    """
    try:
        file = _open(stem)
        if file is None:
            return
        with file:
            for data in file:
                yield Line(data, data.endswith(b"\n"))
    except EOFError:
        yield Line(b"", whole=False)
    except (gzip.BadGzipFile, zlib.error):
        yield Line(b"", whole=True)
    except OSError as error:
        raise _unreadable(stem, error) from error


def _open(stem: Path) -> BinaryIO | None:
    for suffix in _SUFFIXES:
        path = stem.with_name(stem.name + suffix)
        try:
            if suffix == ".jsonl.gz":
                return gzip.open(path, "rb")  # type: ignore[return-value]  # iterates like a file
            return path.open("rb")
        except FileNotFoundError:
            continue
    return None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(path: Path, error: OSError) -> MonitoringError:
    return MonitoringError(
        f"cannot read {path}: {error.strerror or error}. Log files are readable by the user that "
        "wrote them; run the monitor as that user"
    )
