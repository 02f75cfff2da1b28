"""What a model takes and gives, as the protocol's tensors.

A graph of columns takes a tensor a column. Beside the outputs of a graph of its own there is what
this library makes of them, unless the graph has an output of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mlembed.endpoints.v2.datatypes import DATATYPES, datatype_of

if TYPE_CHECKING:
    from mlembed.serving.loading import Served
    from mlembed.tensors import Tensor


class Described(NamedTuple):
    """One tensor of the protocol; -1 stands for an axis of any length."""

    name: str
    datatype: str
    shape: tuple[int, ...] = (-1,)

    def to_json(self) -> dict[str, Any]:
        """Describe it as the protocol does."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


def inputs_of(served: Served | None) -> list[Described]:
    """Return what the version takes; nothing is known of what stands in for it in a test."""
    if served is None:
        return []
    if served.manifest.inputs:
        return [_described(tensor) for tensor in served.manifest.inputs]
    return [Described(column.name, datatype_of(column)) for column in served.manifest.columns]


def outputs_of(served: Served | None) -> list[Described]:
    """Return what the version gives."""
    ours = [Described("score", "FP64"), Described("label", "BYTES")]
    ours += [Described("id", "BYTES"), Described("reason", "BYTES")]
    if served is None:
        return ours
    manifest, task = served.manifest, served.manifest.task
    graphs = [_described(tensor) for tensor in manifest.outputs]
    absent = {output.name for output in graphs}
    if manifest.inputs and manifest.score is None:
        absent |= {"score", "label"}
    if task.kind == "regression":
        absent.add("label")
    if task.classes:
        ours.append(Described("probabilities", "FP64", (-1, len(task.classes))))
    if task.interval is not None:
        ours.append(Described("interval", "FP64", (-1, 2)))
    return graphs + [output for output in ours if output.name not in absent]


def counts_records(served: Served) -> bool:
    """Tell whether the first axis of a graph's tensors counts records, as far as can be known."""
    manifest = served.manifest
    counted = [tensor for tensor in manifest.inputs if tensor.may_batch]
    if not counted or not all(tensor.may_batch for tensor in manifest.outputs):
        return False
    axes = {None if t.shape is None else t.shape[0] for t in (*counted, *manifest.outputs)}
    return len(axes) == 1


def _described(tensor: Tensor) -> Described:
    shape = (None,) if tensor.shape is None else tensor.shape
    axes = tuple(axis if isinstance(axis, int) else -1 for axis in shape)
    return Described(tensor.name, DATATYPES[tensor.dtype], axes)
