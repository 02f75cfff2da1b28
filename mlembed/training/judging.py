"""Read every row by the declared rules and say which rules it breaks.

A row is kept or set aside, never changed to fit: so the numbers of rows kept and set aside always
add up to the number read.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from mlembed.errors import DataError
from mlembed.training import rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed.columns import Column
    from mlembed.training.cleaning import Cleaning
    from mlembed.training.labels import Binary, Multiclass, Regression
    from mlembed.training.rules import Family
    from mlembed.training.sources import Source

    Label = Binary | Multiclass | Regression
    Classes = tuple[tuple[str, ...], tuple[str, ...]]
    Problem = tuple[str, str]  # SQL that tells whether a row has it, and its name

_EXTRA_FAMILIES: tuple[Family, ...] = ("text", "integer", "real", "boolean", "time")


def judge(
    source: Source,
    columns: Sequence[Column],
    label: Label | None,
    cleaning: Cleaning,
    extra: Sequence[str] = (),
) -> Classes:
    """Make the views and the table by which rows are read.

    The table `faults` has `n` and `reason` of the rows to set aside. Each of `v0`, ... (columns),
    `y` (the label) and `e0`, ... (extra) is a view: `n` and the value `v`; of a text `v0_cells` has
    `n` and the raw cell `c`, and `v0_texts` the different cells with their values. So rows stay
    where they are, and what is read of ten million of them is a column at a time. Extra columns are doubles where all their values are
    numbers or times, and text otherwise.

    Args:
        source: The raw table.
        columns: The record's columns.
        label: What is predicted; None for a table without a label.
        cleaning: How cells are read.
        extra: Further columns that a split needs.

    Returns:
        The values of a binary label that are its positive class, and the others; of a label of
        several classes the classes, learnt where they are not declared, and none.

    Raises:
        DataError: If a column is missing, or holds another kind of values than declared.
    """
    families = {column.name: rules.FITS[column.kind] for column in columns}
    if label is not None:
        families[label.column] = rules.FITS["boolean" if _is_classified(label) else "number"]
    families = dict.fromkeys(extra, _EXTRA_FAMILIES) | families
    values = {column.name: f"v{i}" for i, column in enumerate(columns)}
    wanted = [*values, *([label.column] if label is not None else []), *extra, *cleaning.unique]
    asked = dict.fromkeys(cleaning.unique, "Cleaning(unique=...)")
    asked |= dict.fromkeys(extra, "the split, the entity, the threshold or Leakage(known_at=...)")
    asked |= {} if label is None else {label.column: "the label"}
    named_by = {name: who for name, who in asked.items() if name not in values}
    positions = source.find(wanted, cleaning.rename, named_by)
    cells = _Cells(source, positions, cleaning)
    cells.require(families)
    classes = _classify(cells, label)
    fields = {f"v{i}": cells.of_column(column, f"v{i}") for i, column in enumerate(columns)}
    fields["y"] = cells.of_label(label) if label is not None else _Field("NULL::DOUBLE", ())
    for i, name in enumerate(extra):
        fields[f"e{i}"] = (
            dataclasses.replace(fields[values[name]], problems=())
            if name in values
            else cells.of_extra(name, f"e{i}")
        )
    problems = [problem for field in fields.values() for problem in field.problems]
    problems += [cells.missing(name) for name in (*extra, *cleaning.unique)]
    for name, field in fields.items():
        cells.show(name, field, "classes" if name == "y" and _is_classified(label) else "")
    _write(cells, {name: field.sql for name, field in fields.items()}, problems, label)
    if cleaning.unique:
        keys = [values.get(name, f"x{positions[name]}") for name in cleaning.unique]
        _mark_duplicates(source, keys, cleaning)
    return classes


@dataclasses.dataclass(frozen=True)
class _Field:
    sql: str
    problems: Sequence[Problem]
    x: str = ""
    is_text: bool = False


class _Cells:
    """The view `cleaned`: `n`, `problem`, and a cell `x3` for each wanted column `c3`."""

    def __init__(self, source: Source, positions: dict[str, int], cleaning: Cleaning) -> None:
        self.source, self._positions = source, positions
        self.names = [f"x{position}" for position in sorted(set(positions.values()))]
        self._kinds = {name: rules.family(source.types[i]) for name, i in positions.items()}
        self._cells = {
            f"x{i}": rules.cell(f"c{i}", source.types[i], cleaning)
            for i in sorted(set(positions.values()))
        }
        self._show()

    def _show(self) -> None:
        query = rules.query({"n": "n", "problem": "problem"} | self._cells, "raw")
        self.source.connection.execute(f"CREATE OR REPLACE VIEW cleaned AS {query}").fetchall()

    def x(self, name: str) -> str:
        """Return the cell of *name*."""
        return f"x{self._positions[name]}"

    def show(self, name: str, field: _Field, classes: str = "") -> None:
        """Make the views of *field*; only its own column is read by them."""
        if not field.x:
            return
        run, c = self.source.connection.execute, f"c{field.x[1:]}"
        own = {"n": "n", field.x: self._cells[field.x]}
        source = f"({rules.query(own, 'raw')})"
        if classes:
            source += f" LEFT JOIN classes ON classes.x = CAST({field.x} AS VARCHAR)"
        run(f"CREATE VIEW {name} AS {rules.query({'n': 'n', 'v': field.sql}, source)}").fetchall()
        if field.is_text:
            different = rules.query({c: f"DISTINCT {c}"}, "raw")
            read = rules.query({"c": c, field.x: self._cells[field.x]}, f"({different})")
            texts = rules.query({"c": "c", "v": field.sql}, f"({read})")
            run(f"CREATE VIEW {name}_texts AS {texts}").fetchall()
            run(f"CREATE VIEW {name}_cells AS {rules.query({'n': 'n', 'c': c}, 'raw')}").fetchall()

    def require(self, families: Mapping[str, tuple[Family, ...]]) -> None:
        """Refuse columns that hold another kind of values; one without values fits everywhere."""
        unfit = []
        for name, wanted in families.items():
            if self._kinds[name] in wanted:
                continue
            if self.count(f"count({self.x(name)})"):
                held = self.source.types[self._positions[name]]
                unfit.append(f"'{name}' holds {held}, expected {' or '.join(wanted)}")
            else:
                self._cells[self.x(name)] = "CAST(NULL AS VARCHAR)"
                self._kinds[name] = "text"
                self._show()
        if unfit:
            raise DataError(
                f"{self.source.title}: {'; '.join(unfit)}. Convert these columns in the table, or "
                "change the record"
            )

    def count(self, expression: str) -> int:
        """Return the number that *expression* gives over the rows that could be read."""
        query = rules.query({"counted": expression}, "cleaned")
        row = self.source.connection.execute(f"{query} WHERE problem IS NULL").fetchone()
        return int(row[0]) if row else 0

    def missing(self, name: str) -> Problem:
        """Return the rule that *name* must be there."""
        return f"{self.x(name)} IS NULL", f"'{name}' is missing"

    def of_column(self, column: Column, v: str) -> _Field:
        """Return how a column of the record is read, as *v*."""
        x, name = self.x(column.name), column.name
        problems = [(when, f"'{name}' {what}") for when, what in rules.problems(column, x, v)]
        read = rules.value(column, x, self._kinds[name])
        return _Field(read, problems, x, is_text=column.kind == "category")

    def of_label(self, label: Label) -> _Field:
        """Return how the label is read, as `y`."""
        x = self.x(label.column)
        missing = (f"{x} IS NULL", "label is missing")
        unreadable = f"{x} IS NOT NULL AND y IS NULL"
        if label.kind != "regression":
            what = "neither class" if label.kind == "binary" else "none of its classes"
            return _Field("classes.y", [missing, (unreadable, f"label is {what}")], x)
        return _Field(
            rules.number(x, self._kinds[label.column]),
            [missing, (unreadable, "label is not a number"), _infinite("y", "label")],
            x,
        )

    def of_extra(self, name: str, e: str) -> _Field:
        """Return how a column that a split needs is read, as *e*."""
        x, kind = self.x(name), self._kinds[name]
        if kind != "text":
            return _Field(f"CAST({x} AS DOUBLE)", [_infinite(e, f"'{name}'")], x)
        for read in (rules.number(x, kind), rules.time(x, kind)):
            if not self.count(f"count(*) FILTER ({x} IS NOT NULL AND {read} IS NULL)"):
                return _Field(read, [_infinite(e, f"'{name}'")], x)
        return _Field(x, [], x, is_text=True)


def _is_classified(label: Label | None) -> bool:
    return label is not None and label.kind != "regression"


def _infinite(value: str, name: str) -> Problem:
    return f"NOT isfinite({value})", f"{name} is not finite"


def _classify(cells: _Cells, label: Label | None) -> Classes:
    """Make the table `classes`, from the text of a label to its code; return the sides or classes."""
    run = cells.source.connection.execute
    run("CREATE TABLE classes (x VARCHAR, y DOUBLE)").fetchall()
    if label is None or label.kind == "regression":
        return (), ()
    x = cells.x(label.column)
    query = rules.query({"text": f"CAST({x} AS VARCHAR)", "x": x}, "cleaned")
    readable = f"{query} WHERE problem IS NULL AND {x} IS NOT NULL GROUP BY ALL ORDER BY text"
    codes: dict[str, float | None] = {}
    found = run(readable).fetchall()
    if label.kind == "multiclass":
        label = label.learn(value for _, value in found)
    for text, value in found:
        try:
            codes[text] = label.of(value)
        except DataError:
            codes[text] = None
    if codes:
        columns = "unnest(?::VARCHAR[]), unnest(?::DOUBLE[])"
        run(f"INSERT INTO classes SELECT {columns}", [[*codes], [*codes.values()]]).fetchall()
    if label.kind == "multiclass":
        return tuple(str(name) for name in label.classes or ()), ()
    positive = tuple(text for text, code in codes.items() if code == 1.0)
    return positive, tuple(text for text in codes if text not in positive)


def _write(
    cells: _Cells,
    fields: dict[str, str],
    problems: list[Problem],
    label: Label | None,
) -> None:
    """Make the view `judged` and the table `faults` of `cleaned`."""
    joined = "cleaned"
    if label is not None and _is_classified(label):
        joined += f" LEFT JOIN classes ON classes.x = CAST({cells.x(label.column)} AS VARCHAR)"
    kept = {name: name for name in ("n", "problem", *cells.names)}
    read = rules.query(kept | fields, joined)
    cases = ", ".join(
        f"CASE WHEN {when} THEN {rules.literal(what)} END" for when, what in dict.fromkeys(problems)
    )
    reason = {"reason": f"coalesce(problem, concat_ws('; ', {cases}))"}
    names = {name: name for name in ("n", *cells.names, *fields)}
    # Not materialised, each cell is cleaned once for the filter and once for the words.
    of_all = rules.query({"n": "n", "reason": "reason"}, "judged")
    of_some = rules.query({"n": "n", "reason": "reason"}, "told WHERE reason <> ''")
    faults = f"WITH told AS MATERIALIZED ({of_all}) {of_some}"
    run = cells.source.connection.execute
    run(f"CREATE VIEW judged AS {rules.query(names | reason, f'({read})')}").fetchall()
    run(f"CREATE TABLE faults AS {faults}").fetchall()


def _mark_duplicates(source: Source, keys: Sequence[str], cleaning: Cleaning) -> None:
    """Set aside all but one of the good rows that share their keys."""
    order = "n DESC" if cleaning.keep == "last" else "n"
    window = f"row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY {order})"
    good = "judged WHERE n NOT IN (SELECT n FROM faults)"
    ranked = rules.query({"n": "n", "nth": window}, good)
    what = rules.literal(f"duplicate of key ({', '.join(cleaning.unique)})")
    surplus = rules.query({"n": "n", "reason": what}, f"({ranked}) WHERE nth > 1")
    source.connection.execute(f"INSERT INTO faults {surplus}").fetchall()
