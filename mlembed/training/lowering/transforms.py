"""Lower declared transforms: the row matrix in, the feature matrix out.

Transforms of one kind are computed together, one chain of nodes for all of them, because at
serving a node costs about a microsecond whatever its width. Missing in, missing out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from mlembed.training.lowering.ensemble import Ensemble, Mode
from mlembed.training.lowering.graph import INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlembed.features import Transform
    from mlembed.training.lowering.ensemble import Child
    from mlembed.training.lowering.graph import Builder

Source: TypeAlias = "str | tuple[Transform, int]"

_UNIX_WEEKDAY = 3  # 1970-01-01 was a Thursday, Monday being 0
_HOUR_SECONDS = 3_600.0
_DAY_SECONDS = 86_400.0


class Slots:
    """A matrix under construction and where in it each column or transform stands."""

    def __init__(self, builder: Builder, columns: Sequence[str]) -> None:
        self.builder = builder
        self.matrix = INPUT
        self._positions: dict[Source, int] = {name: i for i, name in enumerate(columns)}

    def position(self, item: str | Transform) -> int:
        """Return the position of a column, or of a transform that yields one feature."""
        return self._positions[item if isinstance(item, str) else (item, 0)]

    def operand(self, transforms: Sequence[Transform], index: int = 0) -> str:
        """Return a matrix of the inputs at *index*, one column a transform."""
        return self.gather([self.position(item.inputs[index]) for item in transforms])

    def gather(self, positions: Sequence[int]) -> str:
        """Return the matrix of the columns at *positions*."""
        return self.builder.select(self.matrix, positions, len(self._positions))

    def read(self, sources: Sequence[Source]) -> str:
        """Return the matrix of *sources*, in order."""
        return self.gather([self._positions[source] for source in sources])

    def append(self, computed: Sequence[tuple[str, Sequence[Transform]]]) -> None:
        """Append matrices, each with the transforms whose features it holds."""
        for _, transforms in computed:
            for item in transforms:
                for k in range(item.width):
                    self._positions[item, k] = len(self._positions)
        self.matrix = self.builder.node(
            "Concat", self.matrix, *(name for name, _ in computed), axis=1
        )


def lower_transforms(
    builder: Builder,
    columns: Sequence[str],
    transforms: Mapping[str, Transform],
    features: Sequence[str],
) -> str:
    """Add the nodes that compute *features* and return their matrix, double[N, n_features].

    The names must have been checked: each feature is a column or a transform's feature.
    """
    sources: dict[str, Source] = {name: name for name in columns}
    for name, item in transforms.items():
        sources |= {feature: (item, k) for k, feature in enumerate(item.feature_names(name))}
    wanted = [sources[name] for name in features]
    slots = Slots(builder, columns)
    for level in _levels([source[0] for source in wanted if not isinstance(source, str)]):
        groups: dict[Callable[[Slots, list[Transform]], str], list[Transform]] = {}
        for item in level:
            groups.setdefault(_LOWERINGS[item.op], []).append(item)
        slots.append([(lower(slots, group), group) for lower, group in groups.items()])
    return slots.read(wanted)


def _levels(wanted: Sequence[Transform]) -> list[list[Transform]]:
    """Sort transforms, their inputs included and each once, so that inputs come a level earlier."""
    depths: dict[Transform, int] = {}

    def depth(item: str | Transform) -> int:
        if isinstance(item, str):
            return 0
        if item not in depths:
            depths[item] = 1 + max(depth(child) for child in item.inputs)
        return depths[item]

    for item in wanted:
        depth(item)
    return [
        [item for item, level in depths.items() if level == wanted_level]
        for wanted_level in range(1, max(depths.values(), default=0) + 1)
    ]


def _params(slots: Slots, transforms: Sequence[Transform], name: str) -> str:
    return slots.builder.constant([item.param(name) for item in transforms])


def _log1p(slots: Slots, transforms: list[Transform]) -> str:
    node, constant = slots.builder.node, slots.builder.constant
    shifted = node("Add", slots.operand(transforms), constant(1.0))
    positive = node("Greater", shifted, constant(0.0))
    return node("Log", node("Where", positive, shifted, constant(math.nan)))


def _clip(slots: Slots, transforms: list[Transform]) -> str:
    node = slots.builder.node
    raised = node("Max", slots.operand(transforms), _params(slots, transforms, "lower"))
    return node("Min", raised, _params(slots, transforms, "upper"))


def _ratio(slots: Slots, transforms: list[Transform]) -> str:
    """Divide; what is not finite is missing, so a tiny denominator cannot yield an infinity."""
    return _finite(slots, "Div", transforms)


def _product(slots: Slots, transforms: list[Transform]) -> str:
    return _finite(slots, "Mul", transforms)


def _finite(slots: Slots, op: str, transforms: list[Transform]) -> str:
    node = slots.builder.node
    result = node(op, slots.operand(transforms, 0), slots.operand(transforms, 1))
    return node("Where", node("IsInf", result), slots.builder.constant(math.nan), result)


def _difference(slots: Slots, transforms: list[Transform]) -> str:
    return slots.builder.node("Sub", slots.operand(transforms, 0), slots.operand(transforms, 1))


def _bucket(slots: Slots, transforms: list[Transform]) -> str:
    """Search the edges as a balanced tree, one operator for all buckets."""
    ensemble = Ensemble()
    for target, item in enumerate(transforms):
        edges, feature = item.param("edges"), slots.position(item.inputs[0])
        counted = _search(ensemble, feature, edges, 0, len(edges), target)
        missing = ensemble.leaf(math.nan, target)
        ensemble.add(ensemble.split(feature, Mode.GTE, -math.inf, counted, missing))
    return ensemble.lower(slots.builder, slots.matrix, n_targets=len(transforms))


def _search(
    ensemble: Ensemble, feature: int, edges: Sequence[float], low: int, high: int, target: int
) -> Child:
    if low == high:
        return ensemble.leaf(float(low), target)
    middle = (low + high) // 2
    above = _search(ensemble, feature, edges, middle + 1, high, target)
    below = _search(ensemble, feature, edges, low, middle, target)
    return ensemble.split(feature, Mode.GTE, edges[middle], above, below)


def _calendar(slots: Slots, transforms: list[Transform]) -> str:
    """Count whole hours or days since 1970, modulo the day or week; floors hold before 1970."""
    node, constant = slots.builder.node, slots.builder.constant
    daily = [item.op == "day_of_week" for item in transforms]
    shift = [
        item.param("utc_offset_hours") * _HOUR_SECONDS + day * _UNIX_WEEKDAY * _DAY_SECONDS
        for item, day in zip(transforms, daily, strict=True)
    ]
    seconds = node("Add", slots.operand(transforms), constant(shift))
    units = constant([_DAY_SECONDS if day else _HOUR_SECONDS for day in daily])
    period = constant([7.0 if day else 24.0 for day in daily])
    whole = node("Floor", node("Div", seconds, units))
    rounds = node("Floor", node("Div", whole, period))
    return node("Sub", whole, node("Mul", rounds, period))


def _cyclic(slots: Slots, transforms: list[Transform]) -> str:
    """Take the cosine as a sine a quarter period later: one operator for both."""
    node, constant = slots.builder.node, slots.builder.constant
    twice = slots.gather([slots.position(item.inputs[0]) for item in transforms for _ in "sc"])
    speeds = constant([2 * math.pi / item.param("period") for item in transforms for _ in "sc"])
    phases = constant([0.0, math.pi / 2] * len(transforms))
    return node("Sin", node("Add", node("Mul", twice, speeds), phases))


_LOWERINGS: dict[str, Callable[[Slots, list[Transform]], str]] = {
    "log1p": _log1p,
    "clip": _clip,
    "ratio": _ratio,
    "difference": _difference,
    "product": _product,
    "bucket": _bucket,
    "hour_of_day": _calendar,
    "day_of_week": _calendar,
    "cyclic": _cyclic,
}
