"""Find the first node of a graph that goes wrong.

Two witnesses: the tensors whose right value the estimator's own code computes (checkpoints), and
the standard's reference implementation, which repeats each node on the very inputs it had.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import NodeProto, ValueInfoProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mlembed.serving.session import TensorSession
from mlembed.training.difference import errors
from mlembed.training.treewalk import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto

    from mlembed.training.lowering import Checkpoint

    Matrix = NDArray[np.float64]

N_REPEATED = 16  # rows the reference implementation repeats; it takes milliseconds for each
_ROUNDING = {"float32": 1e-5, "float64": 1e-9}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """The first node that differs.

    Attributes:
        node: Tensor that the node makes, by which it is named.
        op: Its operator.
        what: What the tensor should be.
        difference: Largest difference, relative to max(1, |value|).
    """

    node: str
    op: str
    what: str
    difference: float

    def __str__(self) -> str:
        return f"{self.op} node '{self.node}', by {self.difference:.3g}: {self.what}"


def find_blame(
    model: bytes,
    x: Matrix,
    checkpoints: Sequence[Checkpoint],
    features_of: Callable[[Matrix], Matrix],
    *,
    names: Sequence[str] = (),
    tolerance: float = 1e-9,
) -> Blame | None:
    """Name the first node that gives something else than it should.

    Args:
        model: Bytes of the graph.
        x: Rows on which its score is wrong, `(n_records, n_columns)`.
        checkpoints: Tensors whose right value is known, in the order they are computed.
        features_of: Computes from such rows what the checkpoints are computed from.
        names: Names of those features.
        tolerance: Largest difference allowed, relative to max(1, |value|).

    Returns:
        The node, or None where every tensor is what it should be, as far as is known.
    """
    graph = onnx.load_from_string(model)
    tensors = all_tensors(graph, x)
    known = {name for node in graph.graph.node for name in node.output}
    with np.errstate(all="ignore"):
        features = features_of(x)
        found, rounded = _first(checkpoints, tensors, known, features, names, tolerance)
    within = _before(graph, found[0].tensor) if found else list(graph.graph.node)
    broken = unrepeated(graph, within, tensors)
    if broken or not found:
        return broken
    node = next(node for node in graph.graph.node if found[0].tensor in node.output)
    what, difference = found[1]
    if any(node.op_type == "TreeEnsemble" for node in within):
        what += rounded  # which only a split makes more of
    return Blame(node=found[0].tensor, op=node.op_type, what=what, difference=difference)


def _first(
    checkpoints: Sequence[Checkpoint],
    tensors: Mapping[str, NDArray[Any]],
    known: set[str],
    features: Matrix,
    names: Sequence[str],
    tolerance: float,
) -> tuple[tuple[Checkpoint, tuple[str, float]] | None, str]:
    """Return the first checkpoint that is wrong, and what before it is wrong by rounding."""
    rounded = ""
    for item in checkpoints:
        if item.tensor not in known:
            continue
        fault = _compare(item, tensors[item.tensor], features, names, tolerance)
        if fault:
            return (item, fault), rounded
        slight = None if rounded else _compare(item, tensors[item.tensor], features, names, 0.0)
        if slight:
            rounded = f"; before it {item.what} differs by {slight[1]:.1g}, which a split can tell"
    return None, ""


def all_tensors(graph: ModelProto, x: Matrix) -> dict[str, NDArray[Any]]:
    """Return every tensor of a graph, constants among them, as the runtime computes it.

    Args:
        graph: The graph.
        x: Rows, `(n_records, n_columns)`.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(graph)
    outputs = {item.name for item in graph.graph.output}
    watched.graph.output.extend(
        ValueInfoProto(name=name)
        for node in graph.graph.node
        for name in node.output
        if name not in outputs
    )
    source = graph.graph.input[0].name
    tensors = TensorSession(watched.SerializeToString()).run({source: np.ascontiguousarray(x)})
    constants = {item.name: numpy_helper.to_array(item) for item in graph.graph.initializer}
    return {source: x} | constants | tensors


def _compare(
    item: Checkpoint,
    tensor: NDArray[Any],
    features: Matrix,
    names: Sequence[str],
    tolerance: float,
) -> tuple[str, float] | None:
    """Return what *tensor* should be and how far it is from it; None where it is right."""
    right = np.asarray(item.of(features), np.float64).reshape(len(features), -1)
    ours = np.asarray(tensor, np.float64).reshape(len(tensor), -1)
    if ours.shape != right.shape:
        return f"should be {item.what}, {right.shape[1]} wide, and is {ours.shape[1]}", np.inf
    apart = [errors(ours[:, i], right[:, i], relative=True).max() for i in range(right.shape[1])]
    wrong = [i for i, error in enumerate(apart) if error > tolerance]
    if not wrong:
        return None
    where = ""
    if len(wrong) < len(apart) or len(apart) > 1:
        words = [names[i] if len(names) == len(apart) else str(i) for i in wrong[:5]]
        more = ", ..." if len(wrong) > len(words) else ""
        where = f", column {', '.join(words)}{more}"
    return f"should be {item.what}{where}", float(max(apart))


def _before(graph: ModelProto, tensor: str) -> list[NodeProto]:
    """Return the nodes that *tensor* is made of, in the order they run."""
    needed, kept = {tensor}, []
    for node in reversed(graph.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    return kept[::-1]


def unrepeated(
    graph: ModelProto, nodes: Sequence[NodeProto], tensors: Mapping[str, NDArray[Any]]
) -> Blame | None:
    """Return the first node that another implementation does not repeat on the same inputs.

    Args:
        graph: The graph.
        nodes: Nodes to repeat, in the order they run.
        tensors: Every tensor of the graph, as the runtime computed it.
    """
    for node in nodes:
        for name, theirs in _repeat(graph, node, tensors).items():
            ours = tensors[name][: len(theirs)]
            bound = _ROUNDING.get(str(theirs.dtype), 0.0)
            apart = errors(ours.astype(np.float64), theirs.astype(np.float64), relative=True)
            difference = float(apart.max(initial=0.0))
            if difference > bound:
                what = "the runtime gives another value than the ONNX standard"
                return Blame(node=name, op=node.op_type, what=what, difference=difference)
    return None


def _repeat(
    graph: ModelProto, node: NodeProto, tensors: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Compute the outputs of *node* again; none where there is no second implementation."""
    constants = {item.name for item in graph.graph.initializer}
    feed = {
        name: tensors[name] if name in constants else tensors[name][:N_REPEATED]
        for name in node.input
        if name
    }
    if node.op_type == "TreeEnsemble":
        return {node.output[0]: walk(node, feed[node.input[0]])}
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in feed.items()
    ]
    outputs = [ValueInfoProto(name=name) for name in node.output]
    model = helper.make_model(
        helper.make_graph([node], "node", inputs, outputs),
        opset_imports=graph.opset_import,
        ir_version=graph.ir_version,
    )
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, feed)
    except Exception:  # noqa: BLE001  operators and types it lacks are left unjudged
        return {}
    return dict(zip(node.output, results, strict=True))
