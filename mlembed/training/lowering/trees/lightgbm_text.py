"""Read the text that LightGBM saves a model as: its trees as flat arrays, every double whole.

The text is what LightGBM loads itself, with 17 digits a number; its JSON nests a level a split,
which deep trees break.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from mlembed.errors import LoweringError

_CATEGORY, _DEFAULT_LEFT = 1, 2
_WORD_BITS = 32


@dataclasses.dataclass(frozen=True, slots=True)
class Split:
    """One split.

    Attributes:
        feature: Position of the feature.
        threshold: What the value is compared with, unless it is a category.
        codes: Codes that go left, if it is a category.
        default_left: Whether the missing go left, where any are told.
        missing: What counts as missing: `none`, `zero` or `nan`.
        left: Child, a split or, where negative, the leaf `~left`.
        right: The other child.
    """

    feature: int
    threshold: float
    codes: tuple[float, ...] | None
    default_left: bool
    missing: str
    left: int
    right: int


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    """One tree; the root is the first split, or the only leaf."""

    splits: tuple[Split, ...]
    leaves: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """What a saved model says.

    Attributes:
        objective: Name of the objective.
        options: Settings of the objective by name; a flag is an empty text.
        n_scores: Trees an iteration, one a score.
        is_average: Whether the trees are averaged rather than summed.
        trees: The trees, the scores in turn.
    """

    objective: str
    options: dict[str, str]
    n_scores: int
    is_average: bool
    trees: tuple[Tree, ...]


def read(text: str) -> Model:
    """Read what `Booster.model_to_string` gives.

    Raises:
        LoweringError: If its leaves hold linear models.
    """
    head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    fields = _fields(head)
    objective, *options = fields.get("objective", "").split(" ")
    return Model(
        objective=objective,
        options=dict(option.partition(":")[::2] for option in options),
        n_scores=int(fields["num_tree_per_iteration"]),
        is_average="average_output" in fields,
        trees=tuple(_tree(_fields(block)) for block in blocks),
    )


def _fields(block: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in block.splitlines())


def _tree(fields: dict[str, str]) -> Tree:
    if fields["is_linear"] != "0":
        raise LoweringError("lightgbm: leaves hold linear models; leave linear_tree at False")
    leaves = tuple(float(value) for value in fields["leaf_value"].split(" "))
    if len(leaves) == 1:
        return Tree((), leaves)
    names = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
    columns = zip(*(fields[name].split(" ") for name in names), strict=True)
    return Tree(tuple(_split(column, fields) for column in columns), leaves)


def _split(column: tuple[str, ...], fields: dict[str, str]) -> Split:
    feature, threshold, decision, left, right = column
    bits = int(decision)
    return Split(
        feature=int(feature),
        threshold=float(threshold),
        codes=_codes(int(float(threshold)), fields) if bits & _CATEGORY else None,
        default_left=bool(bits & _DEFAULT_LEFT),
        missing=("none", "zero", "nan")[bits >> 2 & 3],
        left=int(left),
        right=int(right),
    )


def _codes(position: int, fields: dict[str, str]) -> tuple[float, ...]:
    """Return the members of a set of codes, a bit each in 32-bit words."""
    ends = [int(end) for end in fields["cat_boundaries"].split(" ")]
    words = fields["cat_threshold"].split(" ")[ends[position] : ends[position + 1]]
    bits = np.array([int(word) for word in words], dtype=np.uint32)
    codes = np.arange(len(bits) * _WORD_BITS)
    goes_left = bits[codes // _WORD_BITS] >> (codes % _WORD_BITS).astype(np.uint32) & 1
    return tuple(codes[goes_left == 1].astype(np.float64).tolist())
