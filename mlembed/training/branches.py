"""Rows that reach the splits of a graph's trees, one split after the other.

A held-out row with another value in one column passes few of the splits on that column: the
others lie deeper, behind splits on other columns. These rows are led there by the path itself.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, numpy_helper

from mlembed.training.lowering.graph import INPUT
from mlembed.training.probes import Probe, spread
from mlembed.training.treewalk import MEMBER, attributes, member_sets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto

    Matrix = NDArray[np.float64]

N_SPLITS = 2_000
_N_BASES = 97
# The values that a comparison lets through, as steps from its threshold to the inner end:
# (is upper end, steps where true, is upper end, steps where false).
_ENDS = {
    0: (True, 0, False, 1),
    1: (True, -1, False, 0),
    2: (False, 0, True, -1),
    3: (False, 1, True, 0),
}


@dataclasses.dataclass
class _Way:
    """What a path asks of one feature."""

    low: float = -math.inf
    high: float = math.inf
    wanted: set[float] | None = None
    barred: set[float] = dataclasses.field(default_factory=set)
    takes_missing: bool = True

    def allows(self, value: float) -> bool:
        if math.isnan(value):
            return self.takes_missing
        listed = self.wanted is None or value in self.wanted
        return self.low <= value <= self.high and listed and value not in self.barred

    def value(self, usual: float) -> float | None:
        """Return a value that takes the path, the usual one if it does; None where none does."""
        ends = [end for end in (self.low, self.high, 0.0) if math.isfinite(end)]
        ends = [*map(math.ceil, ends), *map(math.floor, ends), *ends]  # codes are whole
        codes = sorted(self.wanted or ()) or [max(self.barred, default=0.0) + 1.0]
        tries = (usual, *ends, *codes, math.nan)
        return next((value for value in tries if self.allows(value)), None)


def branch_probes(model: ModelProto, features: Matrix, codes: Collection[int] = ()) -> list[Probe]:
    """Return rows at both sides of splits that they reach, and with a missing value there.

    Args:
        model: A graph from features to score.
        features: Features of usual rows, `(n_records, n_features)`.
        codes: Positions of the categories, which take whole numbers alone.

    Returns:
        `branches`, at most four or six rows a split, of at most 2,000 splits, evenly spaced; and
        `branches_missing`, those with a missing value that no usual row has there. Empty where no
        tree reads the features themselves.
    """
    bases = spread(features, _N_BASES)
    found = [
        reached
        for trees, source in _ensembles(model)
        for reached in _reached(trees, bases, source, codes)
    ]
    known = np.atleast_1d(np.isnan(features).any(axis=0))
    foreign = [
        bool((np.isnan(row) > known).any() or (math.isnan(value) and not known[feature]))
        for row, feature, value in found
    ]
    return [
        _probe(name, [item for item, is_own in zip(found, foreign, strict=True) if is_own is flag])
        for name, flag in (("branches", False), ("branches_missing", True))
        if flag in foreign
    ]


def _probe(name: str, found: Sequence[tuple[Matrix, int, float]]) -> Probe:
    rows, positions, values = zip(*found, strict=True)
    return Probe(
        name,
        np.array(rows),
        np.arange(len(rows)),
        np.array(positions, np.intp)[:, np.newaxis],
        np.array(values)[:, np.newaxis],
        is_foreign=name == "branches_missing",
    )


@dataclasses.dataclass(frozen=True)
class _Source:
    """How what trees read relates to the input.

    Attributes:
        shift: What was added to each feature, zero for all but codes.
        is_single: Whether the sum was rounded to floats.
    """

    shift: Matrix
    is_single: bool = False


def _ensembles(model: ModelProto) -> Iterator[tuple[dict[str, Any], _Source]]:
    """Yield the trees that read the input, numbers as they are, codes perhaps shifted."""
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    sources = {INPUT: _Source(np.zeros(1))}
    for node in model.graph.node:
        read = [name for name in node.input if name in sources]
        if not read:
            continue
        source = sources[read[-1]]
        if node.op_type == "TreeEnsemble":
            yield attributes(node), source
        elif node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT:
            sources[node.output[0]] = dataclasses.replace(source, is_single=True)
        elif node.op_type == "Add" and node.input[1] in constants:
            shift = source.shift + constants[node.input[1]]
            sources[node.output[0]] = dataclasses.replace(source, shift=shift)
        elif node.op_type == "Cast" or (node.op_type == "Where" and node.input[2] == read[-1]):
            sources[node.output[0]] = source  # the missing are filled, numbers pass


def _reached(
    trees: dict[str, Any], bases: Matrix, source: _Source, codes: Collection[int]
) -> Iterator[tuple[Matrix, int, float]]:
    """Yield rows that reach a split, the feature it compares, and a value to try there."""
    shift = np.broadcast_to(source.shift, bases.shape[1])
    bases = bases + shift
    sets = member_sets(trees)
    parents = {
        int(child): (index, side)
        for side in (True, False)
        for index, (child, is_leaf) in enumerate(
            zip(
                trees[f"nodes_{_WORD[side]}nodeids"],
                trees[f"nodes_{_WORD[side]}leafs"],
                strict=True,
            )
        )
        if not is_leaf
    }
    n = len(trees["nodes_modes"])
    for turn, index in enumerate(spread(np.arange(float(n)), N_SPLITS)):
        row = _lead(trees, sets, parents, int(index), bases[turn % len(bases)].copy())
        if row is None:
            continue
        feature = int(trees["nodes_featureids"][int(index)])
        values = _values(trees, sets, int(index), is_single=source.is_single)
        if feature in codes:
            values = [whole for v in values for whole in _whole(v) if not whole < 0.0]
        for value in values:
            yield row - shift, feature, value - float(shift[feature])


def _whole(value: float) -> list[float]:
    return [value] if math.isnan(value) else [float(math.floor(value)), float(math.ceil(value))]


_WORD = {True: "true", False: "false"}


def _lead(
    trees: dict[str, Any],
    sets: list[set[float]],
    parents: dict[int, tuple[int, bool]],
    index: int,
    row: Matrix,
) -> Matrix | None:
    """Change *row* until it reaches the split; None where nothing does."""
    ways: dict[int, _Way] = {}
    while index in parents:
        index, side = parents[index]
        _narrow(
            ways.setdefault(int(trees["nodes_featureids"][index]), _Way()),
            trees,
            sets,
            index,
            side=side,
        )
    for feature, way in ways.items():
        value = way.value(float(row[feature]))
        if value is None:
            return None
        row[feature] = value
    return row


def _narrow(
    way: _Way, trees: dict[str, Any], sets: list[set[float]], index: int, *, side: bool
) -> None:
    """Let *way* hold only what takes this side of the split."""
    missing = trees.get("nodes_missing_value_tracks_true")
    way.takes_missing &= side == (missing is not None and bool(missing[index]))
    mode, threshold = int(trees["nodes_modes"][index]), float(trees["nodes_splits"][index])
    if mode == MEMBER:
        own = sets[index]
        if side:
            way.wanted = own if way.wanted is None else way.wanted & own
        else:
            way.barred = way.barred | own
    elif mode in _ENDS:
        is_upper, step = _ENDS[mode][:2] if side else _ENDS[mode][2:]
        end = math.nextafter(threshold, step * math.inf) if step else threshold
        way.high = min(way.high, end) if is_upper else way.high
        way.low = way.low if is_upper else max(way.low, end)


def _values(
    trees: dict[str, Any], sets: list[set[float]], index: int, *, is_single: bool
) -> list[float]:
    """Return what to put into the split's feature: both sides, in the type compared, and NaN."""
    if int(trees["nodes_modes"][index]) == MEMBER:
        return [min(sets[index], default=0.0), max(sets[index], default=0.0) + 1.0, math.nan]
    threshold = float(trees["nodes_splits"][index])
    if not math.isfinite(threshold):
        return [math.nan]
    sides = [math.nextafter(threshold, -math.inf), threshold, math.nextafter(threshold, math.inf)]
    if is_single:
        near = np.float32(threshold)
        sides += [float(np.nextafter(near, np.float32(end))) for end in (-np.inf, np.inf)]
    return [*sides, math.nan]
