"""JSON is read like text, and never in part."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlembed.columns import Column
from mlembed.errors import DataError
from mlembed.training import json_files
from training.tables import AGE, COLUMNS, GOOD, TABLES, as_csv, read_table, write

PAIR = [{**GOOD, "paid": "yes"}, {**GOOD, "paid": "no"}]
JOB = (COLUMNS[0], COLUMNS[3])


def lines(rows: list[dict[str, Any]]) -> str:
    """Return *rows* as JSON lines."""
    return "".join(json.dumps(row, default=str) + "\n" for row in rows)


@settings(max_examples=15)
@given(rows=TABLES, indent=st.sampled_from([None, 1]))
def test_read_takes_json_as_it_takes_csv(rows: list[dict[str, Any]], indent: int | None) -> None:
    """An array, lines and CSV of the same rows give the same dataset."""
    rows = [{k: v if v == v else None for k, v in row.items()} for row in rows]  # noqa: PLR0124  not NaN
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = json.dumps(rows, indent=indent, default=str, ensure_ascii=bool(indent))
        (folder / "t.jsonl.gz").write_bytes(gzip.compress(lines(rows).encode()))
        datasets = [
            read_table(as_csv(rows, folder)),
            read_table(write(folder / "t.json", text)),
            read_table(folder / "t.jsonl.gz"),
        ]

    assert len({dataset.digest for dataset in datasets}) == 1
    assert datasets[0].reasons == datasets[1].reasons == datasets[2].reasons


def test_read_takes_json_by_what_it_holds(tmp_path: Path) -> None:
    """Neither a name nor a byte order mark matters; CSV that looks a bit alike stays CSV."""
    path = write(tmp_path / "data", '\ufeff [ {"age": 1, "paid": "yes"}, {"age":2,"paid":"no"} ]\n')
    assert read_table(path, AGE).columns["age"].tolist() == [1.0, 2.0]

    path = write(tmp_path / "t.csv", '"age","[paid]"\n1,yes\n2,no\n')
    with pytest.raises(DataError, match="lacks 1 column: 'paid'"):
        read_table(path, AGE)


def test_read_takes_keys_that_some_objects_lack(tmp_path: Path) -> None:
    """A key that comes late or never is a missing value; mixed types are text."""
    rows = [{"paid": "yes", "age": 1}] * 3 + [{"age": "2.5", "job": 1.50, "paid": "no"}]
    rows += [{"paid": "no", "age": 3, "job": value} for value in ("a", True, None)]

    table = read_table(write(tmp_path / "t.jsonl", lines(rows)), JOB)

    assert table.columns["age"].tolist() == [1, 1, 1, 2.5, 3, 3, 3]
    assert table.columns["job"].tolist() == [None] * 3 + ["1.5", "a", "true", None]


def test_read_keeps_numbers_of_json_as_they_are_written(tmp_path: Path) -> None:
    """A number that no double holds is told, not rounded; no number is too long to be read."""
    values = ["9223372036854775808", "9" * 5000, "1e400", "NaN", "7"]
    body = ",".join(f'{{"visits": {value}, "paid": "yes"}}' for value in values)
    path = write(tmp_path / "t.json", f'[{body}, {{"visits": 1, "paid": "no"}}]')

    table = read_table(path, COLUMNS[1:2])

    assert str(table.columns["visits"].tolist()) == "[nan, 7.0, 1.0]"
    assert table.reasons == {"'visits' is beyond 2**53": 1, "'visits' is not finite": 2}


def test_read_refuses_nested_columns_by_name(tmp_path: Path) -> None:
    """Objects and arrays in cells are refused where the column is wanted, and no value is shown."""
    rows = [
        {"age": 1, "paid": "yes", "job": None},
        {"age": 2, "paid": "no", "job": {"a": "secret"}},
    ]
    path = write(tmp_path / "t.json", json.dumps(rows))

    assert len(read_table(path, AGE)) == 2
    with pytest.raises(DataError, match=r"'job' holds nested JSON \(flatten it") as raised:
        read_table(path, JOB)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("is_array", [True, False])
@pytest.mark.parametrize("is_packed", [True, False])
def test_read_refuses_json_that_is_cut_anywhere(
    tmp_path: Path,
    is_array: bool,  # noqa: FBT001  a parameter
    is_packed: bool,  # noqa: FBT001  idem
) -> None:
    """Wherever an array is cut it is refused; lines are refused unless cut between two of them."""
    rows = [{"age": i, "paid": "yes" if i % 2 else 'no \u00e9\\"'} for i in range(4)]
    text = json.dumps(rows, indent=1) if is_array else lines(rows)
    whole = {len(lines(rows[:n])) - end for n in range(1, 5) for end in (0, 1)}

    for size in range(1, len(text)):
        if not is_array and size in whole:
            continue
        data = text[:size].encode()
        path = tmp_path / ("t.json" if is_array else "t.jsonl")
        path.write_bytes(gzip.compress(data) if is_packed else data)
        with pytest.raises(DataError, match=r"(line \d+: the JSON ends early|has no rows)"):
            read_table(path, AGE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"age": 1}\n\n{"age": 2,}\n{"age": 3}\n', "line 3: the JSON is malformed"),
        ('[{"age": 1},\n{"age": 2}\n{"age": 3}]', "line 3: the JSON is malformed"),
        ('[{"age": 1},\n]', "line 2: the JSON is malformed"),
        ('[{"age": 1}]\n[{"age": 1}]', "line 2: the JSON is malformed"),
        ('{"age": 1}\n[1]\n', "line 2: the JSON is no object"),
        ('{"age": 1}\n{"age": 1, "age": 2}\n', "line 2: the JSON names a key twice"),
        ('{"age": 1}\n{"age": ' + "[" * 100_000, "line 2: the JSON is nested too deeply"),
        ('{"age": 1}\n{"age": "\\ud800"}', "half a character"),
        ("[]", "has no rows"),
        ("[1, 2]", "line 1: the JSON is no object"),
    ],
)
def test_read_names_the_line_of_bad_json(tmp_path: Path, text: str, message: str) -> None:
    """What is wrong is told with its line."""
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / "t.json", text), AGE)


def test_read_refuses_json_without_a_scheme(tmp_path: Path) -> None:
    """Objects whose keys are values are no table."""
    text = "".join(f'{{"id{i}": {i}}}\n' for i in range(5_001))

    with pytest.raises(DataError, match="more than 5,000 keys"):
        read_table(write(tmp_path / "t.json", text), AGE)


@settings(max_examples=20)
@given(size=st.integers(1, 40))
def test_read_decodes_json_whatever_it_reads_at_once(size: int) -> None:
    """Where the buffer ends has no influence."""
    rows = [
        {"age": 10 + i, "job": f'é"\\{i}\n', "paid": "yes" if i % 2 else "no"} for i in range(9)
    ]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_files, "_CHUNK", size)
        path = write(Path(folder) / "t.json", json.dumps(rows, indent=2))
        table = read_table(path, (Column(name="age", kind="number"), COLUMNS[3]))

    assert table.columns["age"].tolist() == [10.0 + i for i in range(9)]
    assert table.columns["job"].tolist() == [f'é"\\{i}' for i in range(9)]


def test_read_takes_a_pattern_of_parts(tmp_path: Path) -> None:
    """Parts are one table, in the order of their names; keys of objects may differ."""
    write(tmp_path / "b.jsonl", '{"age": 3, "paid": "no", "job": "x"}\n')
    write(tmp_path / "a.jsonl", '{"age": 1, "paid": "yes"}\n{"paid": "no", "age": 2}\n')

    table = read_table(tmp_path / "*.jsonl", JOB)

    assert table.columns["age"].tolist() == [1.0, 2.0, 3.0]
    assert table.columns["job"].tolist() == [None, None, "x"]
