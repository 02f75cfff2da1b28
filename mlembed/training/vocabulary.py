"""Learn the vocabularies of the categories, from training rows alone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from mlembed.columns import MAX_CODES
from mlembed.errors import DataError
from mlembed.training.distinct import count_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed.columns import Column
    from mlembed.training.dataset import Dataset

_MAX_LENGTH = 10_000


def learn(columns: Sequence[Column], dataset: Dataset) -> tuple[Column, ...]:
    """Return *columns* with the vocabularies that their rules make of *dataset*.

    A value's code follows its frequency, the most frequent first, ties in alphabetical order. A
    declared vocabulary stays as it is. A column that may be missing and always is gets no codes:
    whatever it holds when served is missing to the model too.

    Raises:
        DataError: If a category has no value to learn, or too many where none may be unknown.
    """
    held = dataset.held()
    return tuple(
        _learn(column, count_texts(held[column.name]))
        if column.kind == "category" and not column.declared
        else column
        for column in columns
    )


def require_known(columns: Sequence[Column], dataset: Dataset) -> None:
    """Refuse rows that hold values without a code where none may be unknown.

    Args:
        columns: Columns as `learn` returned them.
        dataset: Rows they were not learnt from, such as those held out.

    Raises:
        DataError: If there are such values; lists the columns.
    """
    held = dataset.held()
    problems = []
    for column in columns:
        if column.kind == "category" and column.unknown_code is None:
            counts = count_texts(held[column.name])
            n = sum(counts[text] for text in set(counts) - set(column.vocabulary))
            if n:
                problems.append(f"'{column.name}' ({n:,} rows)")
    if problems:
        raise DataError(
            f"no training row has some of the values held out in {', '.join(problems)}, where no "
            "value may be unknown. Declare Category(unknown='rare') or 'missing', declare the "
            "vocabulary with Literal, or hold out other rows"
        )


def _require_short(name: str, vocabulary: Sequence[str]) -> None:
    """Refuse what a manifest cannot hold, before the time of a whole run is spent on it."""
    longest = max(map(len, vocabulary), default=0)
    if longest > _MAX_LENGTH:
        raise DataError(
            f"category '{name}' has a value of {longest:,} characters, expected at most "
            f"{_MAX_LENGTH:,}: it describes rather than names. Shorten it, or leave the column out"
        )
    if any("\0" in text for text in vocabulary):
        raise DataError(f"category '{name}' has a value with a NUL character: clean the table")


def _learn(column: Column, counts: Mapping[str, int]) -> Column:
    rule = column.rule
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    if rule.unknown == "error":
        if len(ranked) > rule.max_size:
            raise DataError(
                f"'{column.name}' has {len(ranked):,} values and no value may be unknown, but "
                f"Category(max_size={rule.max_size}): raise max_size (to {MAX_CODES} at most), or "
                "declare Category(unknown='rare')"
            )
        frequent = ranked
    else:
        frequent = [value for value in ranked if counts[value] >= rule.min_count][: rule.max_size]
    rare = rule.unknown == "rare" and len(frequent) < len(ranked)
    if not ranked and column.nullable and rule.unknown != "error":
        return column
    if not frequent and not rare:
        raise DataError(
            f"category '{column.name}' has no value to learn: none of the training rows holds one "
            f"{rule.min_count} times. Lower Category(min_count=...), or leave the column out"
        )
    _require_short(column.name, frequent)
    return dataclasses.replace(column, vocabulary=tuple(frequent), rare=rare)
