"""A file that cannot be read is refused, and no other file or host is reached."""

from __future__ import annotations

import contextlib
import gzip
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from mlembed.errors import DataError, DeclarationError
from mlembed.training import frames
from mlembed.training.cleaning import Cleaning
from mlembed.training.sources import opened
from mlembed.training.staged import is_interruption, lent
from training.tables import AGE, COLUMNS, FORMS, GOOD, mapping, read_table, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PAIR = [{**GOOD, "paid": "yes"}, {**GOOD, "paid": "no"}]


def test_interrupt_between_a_query_and_its_rows_is_an_interrupt() -> None:
    """DuckDB lets go of no table whose rows are still to come: that is no fault of the table."""

    def read(connection: duckdb.DuckDBPyConnection) -> None:
        with lent(connection, "batch", {"c0": np.arange(1000)}):
            connection.execute("SELECT c0 FROM batch")
            raise KeyboardInterrupt

    with contextlib.closing(duckdb.connect()) as connection, pytest.raises(KeyboardInterrupt):
        read(connection)


def test_interrupt_is_told_from_what_failed_for_it() -> None:
    """What closes a cursor that was cut short may fail in its own words."""
    error = OSError("the statement is busy")
    error.__context__ = RuntimeError("Query interrupted")

    assert is_interruption(error)
    assert not is_interruption(OSError("the statement is busy"))


def test_interrupt_that_duckdb_tells_in_words_alone_is_one() -> None:
    """Ctrl-C in Python that DuckDB runs comes as an error of its own, without a cause."""
    schema = pa.schema([("c0", pa.int64())])

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([pa.array([1])], schema=schema)
        raise KeyboardInterrupt

    def read(connection: duckdb.DuckDBPyConnection) -> None:
        given = pa.RecordBatchReader.from_batches(schema, batches())
        with lent(connection, "batch", given):
            connection.execute("SELECT c0 FROM batch").fetchall()

    with contextlib.closing(duckdb.connect()) as connection, pytest.raises(duckdb.Error) as caught:
        read(connection)

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert is_interruption(caught.value)
    assert is_interruption(duckdb.Error("KeyboardInterrupt: "))
    assert is_interruption(duckdb.Error("Invalid Input Error: it failed: KeyboardInterrupt: "))
    assert not is_interruption(duckdb.Error("no KeyboardInterrupt: could not convert 'x'"))


def test_read_refuses_a_missing_file(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(DataError, match=r"gone\.csv does not exist; expected .*: check it"):
        read_table(tmp_path / "gone.csv")


def test_read_refuses_a_directory(tmp_path: Path) -> None:
    """A directory is no table."""
    with pytest.raises(
        DataError, match="is a directory; expected a CSV, JSON or Parquet file: name one"
    ):
        read_table(tmp_path)


@pytest.mark.parametrize("url", ["http://example.com/t.csv", "ftp://b/t", "file://host/t.csv"])
def test_read_refuses_places_that_it_does_not_know(url: str) -> None:
    """What is neither this machine nor an encrypted store is not fetched."""
    with pytest.raises(DataError, match="download it, then name its path"):
        read_table(url)


def test_read_refuses_a_file_it_may_not_open(tmp_path: Path) -> None:
    """Permissions are named."""
    path = write(tmp_path / "t.csv", "age,paid\n1,yes\n2,no\n")
    tmp_path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)

    try:
        with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
            read_table(path)
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o700)


def test_read_refuses_a_pipe(tmp_path: Path) -> None:
    """What cannot be read twice is no table, and waiting for it would never end."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(DataError, match="is no ordinary file"):
        read_table(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "has no header line"),
        ("age,paid\n", "has no rows"),
        ("age,paid\n\n\n", "has no rows"),
        ("PK\0\0binary", "has no header line"),
    ],
)
def test_read_refuses_a_table_without_rows(tmp_path: Path, text: str, message: str) -> None:
    """Zero bytes, a header alone and what is no text are told apart."""
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / "t.csv", text), AGE)


@pytest.mark.parametrize("damage", [slice(0, -20), slice(0, 200), slice(0, 4), slice(4, 20)])
def test_read_refuses_corrupt_parquet(tmp_path: Path, damage: slice) -> None:
    """A cut or damaged Parquet file is named as such."""
    path = FORMS["parquet"](PAIR * 50, tmp_path)
    path.write_bytes(path.read_bytes()[damage])

    with pytest.raises(DataError, match=r"table\.parquet is no Parquet file that can be read"):
        read_table(path)


def test_read_refuses_parquet_with_a_damaged_page(tmp_path: Path) -> None:
    """Damage in the data is found too, not only in the footer."""
    path = FORMS["parquet"](PAIR * 5000, tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[:60] + b"\xff" * 200 + data[260:])

    with pytest.raises(DataError, match="is no Parquet file that can be read"):
        read_table(path)


def test_read_refuses_text_that_is_not_utf8(tmp_path: Path) -> None:
    """The remedy is a command."""
    path = tmp_path / "t.csv"
    path.write_bytes("age,paid\n1,yes\n2,naïve\n".encode("latin-1"))

    with pytest.raises(
        DataError, match=r"t\.csv is not UTF-8 text: convert it, such as with 'iconv"
    ):
        read_table(path, AGE)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "UTF8", "utf-8-sig"])
@pytest.mark.parametrize("packed", [gzip.compress, bytes])
def test_read_takes_text_in_the_encoding_that_is_declared(
    tmp_path: Path, encoding: str, packed: Callable[[bytes], bytes]
) -> None:
    """What the bytes mean is declared, for CSV and for JSON."""
    (tmp_path / "t.csv").write_bytes(packed("job,paid\nnaïve,yes\né,no\n".encode(encoding)))
    lines = '{"job": "naïve", "paid": "yes"}\n{"job": "é", "paid": "no"}\n'
    (tmp_path / "t.jsonl").write_bytes(packed(lines.encode(encoding)))

    for name in ("t.csv", "t.jsonl"):
        table = read_table(tmp_path / name, COLUMNS[3:4], cleaning=Cleaning(encoding=encoding))
        assert table.columns["job"].tolist() == ["naïve", "é"]


def test_cleaning_refuses_an_encoding_that_nobody_knows() -> None:
    """A name that is none is refused where it is declared."""
    with pytest.raises(DeclarationError, match="no such encoding; expected a name such as"):
        Cleaning(encoding="klingon")


def test_read_refuses_a_cut_archive(tmp_path: Path) -> None:
    """A gzip file that ends early is not taken for a shorter table."""
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"age,paid\n1,yes\n2,no\n" * 1000)[:-20])

    with pytest.raises(DataError, match="cannot be read to its end"):
        read_table(path, AGE)


def test_read_reaches_no_network_and_no_other_file(tmp_path: Path) -> None:
    """The connection reads one file; extensions, other files and settings are shut."""
    path = FORMS["parquet"](PAIR, tmp_path)
    script = (
        "import sys, duckdb\n"
        "from mlembed.training.cleaning import Cleaning\n"
        "from mlembed.training.sources import opened\n"
        "with opened(sys.argv[1], Cleaning()) as source:\n"
        "    run = source.connection.execute\n"
        "    for sql in sys.argv[2:]:\n"
        "        try:\n"
        "            print(run(sql).fetchall())\n"
        "        except duckdb.Error as error:\n"
        "            print(type(error).__name__)\n"
    )
    statements = [
        f"FROM read_csv('{write(tmp_path / 'other.csv', 'a')}')",
        "SELECT count(*) FROM 'http://127.0.0.1:9/t.parquet'",
        "INSTALL httpfs",
        "SET threads = 8",
        f"COPY raw TO '{tmp_path}/out.csv'",
        "SELECT current_setting('threads'), current_setting('temp_directory')",
    ]

    result = subprocess.run(
        [sys.executable, "-c", script, str(path), *statements],
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout.splitlines()[:-1] == [
        "PermissionException",
        "PermissionException",
        "PermissionException",
        "InvalidInputException",
        "PermissionException",
    ]
    assert result.stdout.splitlines()[-1] == "[(2, '')]"


def test_opened_tells_when_memory_runs_out() -> None:
    """Whatever step runs out of memory, the remedy is a smaller table."""
    with (
        pytest.raises(DataError, match="does not fit into memory: train on fewer rows"),
        opened(mapping(PAIR), Cleaning()),
    ):
        np.zeros(2**55)


def test_stage_does_not_take_a_lack_of_memory_for_a_bad_table() -> None:
    """A table too large to hold is not called malformed."""
    big = {"a": np.arange(2_000_000)}

    with (
        contextlib.closing(
            duckdb.connect(config={"memory_limit": "8MB", "temp_directory": ""})
        ) as connection,
        pytest.raises(duckdb.OutOfMemoryException),
    ):
        frames.stage(connection, "t0", big)
