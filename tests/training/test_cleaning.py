"""Cleaning is declared, and does what it declares to every kind of table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mlembed.columns import Column
from mlembed.errors import DataError, DeclarationError
from mlembed.training.cleaning import MISSING_WORDS, Cleaning
from training.tables import AGE, COLUMNS, read_table, write

if TYPE_CHECKING:
    from pathlib import Path

JOB = (COLUMNS[3],)
KEYED = {
    "id": ["a", " a ", "b", "a", "b", None],
    "age": [1, 2, 999, 3, 4, 5],
    "paid": ["yes", "no", "no", "yes", "no", "yes"],
}


@pytest.mark.parametrize("word", MISSING_WORDS)
def test_cleaning_reads_usual_words_as_missing(word: str) -> None:
    """A value that stands for nothing is missing, spaces around it ignored."""
    table = read_table({"job": [word, f" {word}\t"], "paid": ["yes", "no"]}, JOB)

    assert table.columns["job"].tolist() == [None, None]


def test_cleaning_takes_other_words_for_missing() -> None:
    """The words are the user's choice; without any, nothing but None is missing."""
    data = {"job": ["-", "?", "'", "", None], "paid": ["yes", "no", "no", "no", "no"]}

    chosen = read_table(data, JOB, cleaning=Cleaning(missing=("-", "'")))
    none = read_table(data, JOB, cleaning=Cleaning(missing=()))

    assert chosen.columns["job"].tolist() == [None, "?", None, "", None]
    assert none.columns["job"].tolist() == ["-", "?", "'", "", None]


@pytest.mark.parametrize(("trim", "job"), [(True, "a b"), (False, "  a b\u3000")])
def test_cleaning_trims_as_declared(tmp_path: Path, trim: bool, job: str) -> None:  # noqa: FBT001  a parameter of the test
    """White space of any script around text is dropped, or kept where the text is exact."""
    path = write(tmp_path / "t.csv", "job,paid\n  a b\u3000,yes\nc,no\n")

    assert read_table(path, JOB, cleaning=Cleaning(trim=trim)).columns["job"][0] == job


def test_cleaning_renames_headers() -> None:
    """A header becomes a field of the record; names the table does not have are ignored."""
    cleaning = Cleaning(rename={"age-in-years": "age", "gone": "sex", "Paid": "paid"})

    table = read_table({"age-in-years": [1, 2], "Paid": ["yes", "no"]}, AGE, cleaning=cleaning)

    assert table.columns["age"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(("keep", "ages"), [("first", [1.0, 4.0]), ("last", [3.0, 4.0])])
def test_cleaning_keeps_one_row_of_a_key(keep: Any, ages: list[float]) -> None:
    """Of good rows that share a key one is kept; a bad row never displaces a good one."""
    cleaning = Cleaning(unique=("id",), keep=keep)

    table = read_table(KEYED, AGE, cleaning=cleaning)

    assert table.columns["age"].tolist() == ages
    assert table.reasons == {
        "duplicate of key (id)": 2,
        "'age' is outside [0, 120]": 1,
        "'id' is missing": 1,
    }


def test_cleaning_compares_keys_of_several_columns_as_values() -> None:
    """A key may be of columns of the record, which are compared as what they mean."""
    columns = (*AGE, Column(name="since", kind="timestamp"))
    data = {
        "age": ["1", "1.0", "1", "2"],
        "since": ["2024-01-01", "2024-01-01T00:00:00Z", "2024-01-02", "2024-01-02"],
        "paid": ["yes", "no", "no", "no"],
    }

    table = read_table(data, columns, cleaning=Cleaning(unique=("age", "since")))

    assert table.reasons == {"duplicate of key (age, since)": 1}


def test_cleaning_asks_for_its_key_columns() -> None:
    """A key column that the table lacks is an error, not an empty rule."""
    with pytest.raises(DataError, match="lacks 1 column: 'id'"):
        read_table({"age": [1], "paid": ["yes"]}, AGE, cleaning=Cleaning(unique=("id",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing": "NA"}, r"Cleaning\(missing=\.\.\.\): expected several texts"),
        ({"unique": "id"}, r"Cleaning\(unique=\.\.\.\): expected several texts"),
        ({"keep": "any"}, "expected 'first' or 'last'"),
    ],
)
def test_cleaning_refuses_what_it_cannot_mean(options: dict[str, Any], message: str) -> None:
    """One text where several are meant would be read letter by letter."""
    with pytest.raises(DeclarationError, match=message):
        Cleaning(**options)
