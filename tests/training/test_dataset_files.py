"""Files are read whole: no row is lost, and a path means itself."""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlembed.columns import Column
from mlembed.training import delimited, textrows
from mlembed.training.labels import Binary
from training.tables import AGE, COLUMNS, FORMS, GOOD, mapping, read_table, write

PAIR = [{**GOOD, "paid": "yes"}, {**GOOD, "paid": "no"}]


def test_read_marks_ragged_rows_and_loses_none(tmp_path: Path) -> None:
    """A row that does not fit the header is set aside with its reason; its neighbours are kept."""
    text = 'age,paid\n1,yes\n2\n3,no,x,"y"\n"4"4,no\n"5,no\n6,no\n\n7,yes\n"8\n",no\n'

    table = read_table(write(tmp_path / "t.csv", text), AGE, rejects=tmp_path / "rejects.csv")

    assert table.columns["age"].tolist() == [1.0, 6.0, 7.0, 8.0]
    assert table.reasons == {
        "has too few fields": 1,
        "has too many fields": 1,
        "has a broken quote": 2,
    }
    assert (tmp_path / "rejects.csv").read_text().splitlines() == [
        "row,reason,age,paid",
        "2,has too few fields,2,",
        '3,has too many fields,3,"no,x,y"',
        '4,has a broken quote,"""4""4,no",',
        '5,has a broken quote,"""5,no",',
    ]


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 100])
def test_read_finds_the_same_rows_however_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """A quoted cell that goes over the end of a chunk, and rows that do not fit, are told alike."""
    lines = ["age,job,paid", "1,a,yes", '2,"b', "b", 'b",no', "", "3,c", '4,"d,no', '5,"e""",yes']
    path = write(tmp_path / "t.csv", "\n".join([*lines, "6,f,yes,x", '7,"g', 'g",no', "8,h,no"]))
    monkeypatch.setattr(delimited, "CHUNK", chunk)
    monkeypatch.setattr(textrows, "CHUNK", chunk)

    table = read_table(path, (COLUMNS[0], COLUMNS[3]))

    assert table.columns["age"].tolist() == [1.0, 2.0, 5.0, 7.0, 8.0]
    assert table.columns["job"].tolist() == ["a", "b\nb\nb", 'e"', "g\ng", "h"]
    assert table.reasons == {
        "has too few fields": 1,
        "has too many fields": 1,
        "has a broken quote": 1,
    }


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_read_takes_usual_text_files(tmp_path: Path, separator: str, end: str) -> None:
    """Separator, line ends, a byte order mark, spaces, quotes and blank ends do not matter."""
    lines = ["\ufeffage, job , paid", '1, "a\nb, ""c""",yes', " 2,?, no ", "", ""]
    text = end.join(line.replace(",", separator) for line in lines)

    table = read_table(write(tmp_path / "t.txt", text), (COLUMNS[0], COLUMNS[3]))

    assert table.columns["age"].tolist() == [1.0, 2.0]
    assert table.columns["job"].tolist() == [f'a\nb{separator} "c"', None]
    assert table.y.tolist() == [1.0, 0.0]


def test_read_unpacks_gzip_and_takes_urls_and_odd_names(tmp_path: Path) -> None:
    """A path is literal: quotes, globs and `key=value` folders in it mean nothing."""
    folder = tmp_path / "it's [1]*?" / "paid=9"
    folder.mkdir(parents=True)
    text = "age,paid\n1,yes\n2,no\n"
    (folder / "t [a]*.csv.gz").write_bytes(gzip.compress(text.encode()))
    write(folder / "t a.csv", "age,paid\n9,yes\n")
    FORMS["parquet"](PAIR, folder).rename(folder / "t [a]*.parquet")
    FORMS["parquet"](PAIR * 2, folder).rename(folder / "t aa.parquet")

    assert len(read_table(folder / "t [a]*.csv.gz", AGE)) == 2
    assert len(read_table((folder / "t [a]*.csv.gz").as_uri(), AGE)) == 2
    assert len(read_table(str(folder / "t [a]*.parquet"))) == 2


def test_read_needs_no_dataframe_library(tmp_path: Path) -> None:
    """Files and mappings are read where pandas, polars and pyarrow are not installed."""
    path = write(tmp_path / "t.csv", "age,paid\n1,yes\n2,no\n")
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('pandas', 'polars', 'pyarrow')))\n"
        "from mlembed.columns import Column\n"
        "from mlembed.training.cleaning import Cleaning\n"
        "from mlembed.training.dataset import read\n"
        "from mlembed.training.labels import Binary\n"
        "for data in (sys.argv[1], {'age': [1, None, 2.5], 'paid': ['yes', 'no', 'no']}):\n"
        "    columns = (Column(name='age', kind='number'),)\n"
        "    print(len(read(data, columns, Binary('paid', positive='yes'), Cleaning())))\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )

    assert result.stdout.split() == ["2", "2"]


def test_read_refuses_a_polars_table_without_arrow() -> None:
    """What is missing is named with the command that installs it."""
    script = (
        "import sys\n"
        "import polars\n"
        "sys.modules['pyarrow'] = None\n"
        "from mlembed.training.frames import stage\n"
        "import duckdb\n"
        "stage(duckdb.connect(), 't0', polars.DataFrame({'a': [1]}))\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert "DataError: the polars table is read through Arrow: pip install pyarrow" in result.stderr


@settings(max_examples=30)
@given(
    lines=st.lists(
        st.text(st.sampled_from('1,2"; \n\r'), max_size=12).map(lambda text: text + "\n"),
        max_size=12,
    )
)
def test_read_accounts_for_every_row_of_any_text(lines: list[str]) -> None:
    """Whatever a file holds, rows kept and rows set aside add up to the rows read."""
    with tempfile.TemporaryDirectory() as folder:
        path, rejects = Path(folder) / "t.csv", Path(folder) / "rejects.csv"
        write(path, "age,paid\n" + "".join(lines) + "\n1,1\n2,2\n")

        table = read_table(path, AGE, label=Binary("paid", positive="1"), rejects=rejects)

        with rejects.open(encoding="utf-8", newline="") as file:
            rejected = list(csv.DictReader(file))
    assert table.n_read == len(table) + table.n_rejected
    assert len(rejected) == table.n_rejected
    assert all(row["reason"] for row in rejected)
    assert table.columns["age"][-2:].tolist() == [1.0, 2.0]


def test_read_ignores_columns_without_a_header(tmp_path: Path) -> None:
    """Columns that nobody named, such as an index or a trailing separator, are no trouble."""
    path = write(tmp_path / "t.csv", ",age,paid,\n0,1,yes,\n1,2,no,\n")

    assert read_table(path, AGE).columns["age"].tolist() == [1.0, 2.0]


def test_read_keeps_the_order_of_many_rows(tmp_path: Path) -> None:
    """Rows stand in the order of the table, and their numbers are those of the table."""
    rejects = tmp_path / "rejects.csv"
    rows = [("bad" if i % 9999 == 0 else i, i % 2) for i in range(45_000)]
    text = "".join(f"{age},{paid}\n" for age, paid in rows)
    path = write(tmp_path / "t.csv", "age,paid\n" + text)
    columns = (Column(name="age", kind="number"),)

    table = read_table(path, columns, label=Binary("paid", positive=1), rejects=rejects)

    assert table.columns["age"].tolist() == [age for age, _ in rows if age != "bad"]
    assert table.y.tolist() == [paid for age, paid in rows if age != "bad"]
    numbers = [line.split(",")[0] for line in rejects.read_text().splitlines()[1:]]
    assert numbers == ["1", "10000", "19999", "29998", "39997"]


def test_read_finds_parquet_columns_by_their_exact_names(tmp_path: Path) -> None:
    """Columns that differ in case alone, and nested columns beside them, are told apart."""
    table = pa.table(
        {
            "AGE": [9, 9],
            "nested": [{"age": 8, "more": {"age": [7]}}] * 2,
            "age": [1, 2],
            "paid": ["yes", "no"],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")

    assert read_table(tmp_path / "t.parquet", AGE).columns["age"].tolist() == [1.0, 2.0]


def test_set_aside_keeps_the_rows_as_they_came(tmp_path: Path) -> None:
    """The rejects file has row number, reason and raw cells, for its owner alone."""
    rows = [*PAIR, {**GOOD, "age": 200.0, "job": ' a "b"\n', "sex": "m ", "paid": "no"}]
    target = tmp_path / "made" / "rejects.csv"

    for form in FORMS.values():
        read_table(form(rows, tmp_path), rejects=target)

        with target.open(encoding="utf-8", newline="") as file:
            (row,) = csv.DictReader(file)
        assert (row["row"], row["reason"]) == ("3", "'age' is outside [0, 120]")
        assert (float(row["age"]), row["job"], row["sex"]) == (200.0, ' a "b"\n', "m ")
    assert target.stat().st_mode & 0o077 == 0
    assert [path.name for path in target.parent.iterdir()] == ["rejects.csv"]


def test_set_aside_replaces_an_old_file(tmp_path: Path) -> None:
    """A run without rejected rows leaves no rows of an earlier run behind."""
    target = write(tmp_path / "rejects.csv", "stale")

    read_table(mapping(PAIR), rejects=target)

    assert target.read_text() == "row,reason,age,visits,member,job,sex,since,paid\n"
