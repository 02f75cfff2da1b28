"""Find the files of a table, and put them into DuckDB by what they hold.

A file that is there by exactly that name is meant, whatever its name holds; only else is it a
pattern of parts.
"""

from __future__ import annotations

import codecs
import dataclasses
import glob
import gzip
import os
import urllib.parse
import urllib.request
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import DataError
from mlembed.training import delimited, json_files, parquet
from mlembed.training.staged import Staged, described
from mlembed.training.textrows import TextRows

if TYPE_CHECKING:
    import duckdb

    from mlembed.training.cleaning import Cleaning

EXPECTED = "a CSV, JSON or Parquet file"
_GZIP = b"\x1f\x8b"
_SNIFFED = 4096
_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of one table, in order.

    Attributes:
        title: The table as people name it.
        paths: Where they are.
    """

    title: str
    paths: tuple[Path, ...]

    def prints(self) -> tuple[tuple[int, int, int], ...]:
        """Return what tells whether one of the files was written since."""
        stats = [path.stat() for path in self.paths]
        return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)


def find(text: str) -> Files:
    """Return the files that a path, a file:// URL or a pattern of parts names.

    Raises:
        DataError: If there are none, or one cannot be read.
    """
    url = urllib.parse.urlsplit(text)
    if "://" in text:
        if url.scheme != "file" or url.netloc not in ("", "localhost"):
            raise DataError(
                "a table is read from a path or from s3://, gs://, az://, https:// or file://: "
                "download it, then name its path"
            )
        text = urllib.request.url2pathname(url.path)
    path = Path(os.path.abspath(text))  # noqa: PTH100  resolve() would follow links
    try:
        if not path.exists() and glob.has_magic(text):
            parts = sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207  an absolute pattern
            parts = [part for part in parts if part.is_file()]
            if not parts:
                raise DataError(f"no file fits {path}; expected {EXPECTED}: check the pattern")
            return Files(str(path), tuple(map(_checked, parts)))
        return Files(str(path), (_checked(path),))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check permissions") from error


def _checked(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path} does not exist; expected {EXPECTED}: check it")
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "no ordinary file"
        raise DataError(f"{path} is {kind}; expected {EXPECTED}: name one")
    with path.open("rb") as file:
        empty = not file.read(1)
    if empty:
        raise DataError(f"{path} is empty (0 bytes); expected a header and rows: write it again")
    return path


def stage(
    connection: duckdb.DuckDBPyConnection, name: str, files: Files, cleaning: Cleaning
) -> Staged:
    """Make the table or view *name* of *files*.

    Raises:
        DataError: If one cannot be read to its end, has no rows, or differs from the others.
    """
    kinds = {_is_parquet(path) for path in files.paths}
    if len(kinds) > 1:
        raise DataError(f"{files.title} names Parquet files and others: name those of one kind")
    if kinds == {True}:
        return described(
            connection, name, files.title, parquet.stage(connection, name, files.paths)
        )
    rows = TextRows(connection, name)
    headers: list[str] = []
    nested: set[str] = set()
    for path in files.paths:
        nested |= _stage_text(rows, path, headers, cleaning)
    return described(connection, name, files.title, headers, nested)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == parquet.MAGIC or path.suffix.lower() in (".parquet", ".pq")


def _stage_text(rows: TextRows, path: Path, headers: list[str], cleaning: Cleaning) -> set[str]:
    """Append the file's rows and return the columns that hold nested values."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    unpacked = gzip.open if packed else open
    try:
        with unpacked(path, "rb") as file:
            is_json = json_files.is_json(file.read(_SNIFFED)) or _named_json(path)
        encoding = codecs.lookup(cleaning.encoding).name
        encoding = "utf-8-sig" if encoding == "utf-8" else encoding  # a byte order mark is no text
        with unpacked(path, "rt", encoding=encoding, newline="") as text:
            if is_json:
                return json_files.stage(rows, path, text, headers)
            delimited.stage(rows, path, text, headers, trim=cleaning.trim)
            return set()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not {cleaning.encoding.upper()} text: convert it, such as with 'iconv -f "
            "WINDOWS-1252 -t UTF-8', or say what it is, such as Cleaning(encoding='cp1252')"
        ) from error
    except UnicodeError as error:
        raise DataError(
            f"{path} holds half a character (a lone surrogate): write it again as UTF-8"
        ) from error
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path} cannot be read to its end: copy or pack it again") from error


def _named_json(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(_JSON_SUFFIXES)
