"""Files that are parts of one table are read as one, and only as they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlembed.errors import DataError
from mlembed.training.cleaning import Cleaning
from mlembed.training.labels import Regression
from mlembed.training.sources import opened
from training.tables import AGE, read_table, write

if TYPE_CHECKING:
    from pathlib import Path

LABEL = Regression("row", unit="rows")


def parts(folder: Path, n_parts: int = 3) -> None:
    """Write Parquet parts of several row groups each, numbered through."""
    for part in range(n_parts):
        rows = list(range(part * 2500, part * 2500 + 2500))
        ages = [float(row % 100) if row % 7 else 500.0 for row in rows]
        table = pa.table({"age": ages, "row": rows, "file_row_number": rows})
        pq.write_table(table, folder / f"part-{part}.parquet", row_group_size=700)


def test_parquet_parts_are_numbered_through(tmp_path: Path) -> None:
    """Rows keep the order of parts and rows, and rejects their number in the whole."""
    parts(tmp_path)

    table = read_table(
        tmp_path / "part-*.parquet", AGE, label=LABEL, rejects=tmp_path / "rejects.csv"
    )

    wanted = [float(row) for row in range(7500) if row % 7]
    assert table.y.tolist() == wanted
    assert table.columns["age"].tolist() == [row % 100 for row in wanted]
    lines = (tmp_path / "rejects.csv").read_text().splitlines()[1:]
    assert [int(line.split(",")[0]) for line in lines] == [row + 1 for row in range(0, 7500, 7)]


def test_parts_may_differ_in_type(tmp_path: Path) -> None:
    """A column that holds numbers in one part and text in another is text, as in a file of text."""
    pq.write_table(pa.table({"age": [1, 2], "row": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"age": ["3.5", "x"], "row": [3.5, 4.0]}), tmp_path / "b.parquet")

    table = read_table(tmp_path / "?.parquet", AGE, label=LABEL)

    assert table.columns["age"].tolist() == [1.0, 2.0, 3.5]
    assert table.y.tolist() == [1.0, 2.0, 3.5]
    assert table.reasons == {"'age' is not a number": 1}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_parts_have_the_same_header(tmp_path: Path, suffix: str) -> None:
    """A part with other columns, or another order of them, is named."""
    for name, header in (("a", ("age", "row")), ("b", ("row", "age"))):
        if suffix == "csv":
            write(tmp_path / f"{name}.csv", f"{','.join(header)}\n1,2\n3,4\n")
        else:
            columns = {column: [1.0, 2.0] for column in header}
            pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")

    with pytest.raises(DataError, match=rf"b\.{suffix} has other columns than the parts before"):
        read_table(tmp_path / f"*.{suffix}", AGE, label=LABEL)


def test_parts_are_of_one_kind(tmp_path: Path) -> None:
    """Parquet and text are no parts of one table; a pattern that fits nothing is told."""
    parts(tmp_path, 1)
    write(tmp_path / "part-1.csv", "age,row\n1,2\n")

    with pytest.raises(DataError, match="names Parquet files and others"):
        read_table(tmp_path / "part*", AGE, label=LABEL)
    with pytest.raises(DataError, match=r"no file fits .*part\*\.json; expected"):
        read_table(tmp_path / "part*.json", AGE, label=LABEL)


def test_parts_that_end_early_are_refused(tmp_path: Path) -> None:
    """One part that is cut makes the whole no table."""
    parts(tmp_path)
    path = tmp_path / "part-1.parquet"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(DataError, match=r"part-1\.parquet is no Parquet file that can be read"):
        read_table(tmp_path / "part-*.parquet", AGE, label=LABEL)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """What is read in several passes is the same in each."""
    parts(tmp_path, 1)
    path = tmp_path / "part-0.parquet"

    with (
        pytest.raises(DataError, match=r"part-0\.parquet was written while it was read"),
        opened(path, Cleaning()),
    ):
        os.utime(path, (1, 1))


def test_reading_writes_nothing_to_the_console(tmp_path: Path) -> None:
    """The database shows no progress of its own in a host's output."""
    parts(tmp_path, 1)

    with opened(tmp_path / "part-0.parquet", Cleaning()) as source:
        setting = "SELECT current_setting('enable_progress_bar')"
        assert source.connection.execute(setting).fetchone() == (False,)
