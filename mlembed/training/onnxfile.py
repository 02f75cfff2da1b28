"""Read an ONNX file made elsewhere: its bytes, and the tensors it takes and gives.

What cannot be served is refused here, by name and with the remedy, before anything is made of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx
from onnx import TensorProto

from mlembed.errors import BundleError, DeclarationError, first_line
from mlembed.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

# What a stock onnxruntime has operators for.
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
_DTYPES = {"FLOAT": "float32", "DOUBLE": "float64"} | {
    name.upper(): name
    for name in (
        *("float16", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64", "bool", "string"),
    )
}
_COARSE = {"FLOAT16", "BFLOAT16", "INT8", "UINT8", "INT4", "UINT4"}
_KINDS = {
    "sequence_type": "a sequence",
    "map_type": "a map",
    "optional_type": "an optional value",
    "sparse_tensor_type": "a sparse tensor",
}
_MAX_BYTES = 2**31 - 1  # of one protobuf message


class OnnxFile(NamedTuple):
    """A graph that can be served.

    Attributes:
        data: The model's bytes, its weights among them.
        inputs: What it must be given.
        outputs: What it gives.
        facts: IR version and operator sets, for the manifest.
        producer: What made it, as it says itself.
        tolerance: Relative difference to expect between machines, by its coarsest weights.
    """

    data: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    facts: dict[str, Any]
    producer: str
    tolerance: float


def read_onnx(model: str | os.PathLike[str] | bytes) -> OnnxFile:
    """Read an ONNX model.

    Args:
        model: Path of the file, beside which its external data may lie, or the model's bytes.

    Raises:
        BundleError: If it is no ONNX model, or takes, gives or needs what cannot be served.
    """
    if isinstance(model, bytes):
        place, data = "the model", model
        proto = _parse(data, place)
        if _is_split(proto):
            raise BundleError(f"{place} keeps its weights in files beside it; give its path")
    else:
        place = os.fspath(model)
        data, proto = _read(Path(model))
    _check_operators(proto, place)
    given = {item.name for item in proto.graph.initializer}
    given |= {item.values.name for item in proto.graph.sparse_initializer}
    owed = [value for value in proto.graph.input if value.name not in given]
    inputs = tuple(_tensor(value, "takes") for value in owed)
    outputs = tuple(_tensor(value, "gives") for value in proto.graph.output)
    if not (inputs and outputs):
        raise BundleError(
            f"{place} is a model without {'outputs' if inputs else 'inputs'}; export it again"
        )
    return OnnxFile(
        data=data,
        inputs=inputs,
        outputs=outputs,
        facts={
            "ir_version": proto.ir_version,
            "opsets": {item.domain or "ai.onnx": item.version for item in proto.opset_import},
        },
        producer=f"{proto.producer_name} {proto.producer_version}".strip(),
        tolerance=_tolerance(proto),
    )


def _read(path: Path) -> tuple[bytes, ModelProto]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}); name an ONNX file") from error
    proto = _parse(data, str(path))
    if not _is_split(proto):
        return data, proto
    try:
        whole = onnx.load(path)
    except Exception as error:  # a path outside the folder, a file that is missing or too short
        raise BundleError(
            f"{path} keeps its weights in files beside it, which cannot be read "
            f"({first_line(error)}); put them there, or export one file"
        ) from error
    if whole.ByteSize() > _MAX_BYTES:
        raise BundleError(
            f"{path} has weights of more than {_MAX_BYTES:,} bytes, which one file cannot hold; "
            "quantise the model"
        )
    data = whole.SerializeToString(deterministic=True)
    return data, whole


def _parse(data: bytes, place: str) -> ModelProto:
    try:
        proto = onnx.load_from_string(data)
    except Exception as error:  # protobuf's own types
        raise BundleError(f"{place} is no ONNX model; export it with ONNX as the format") from error
    if not proto.ir_version or not proto.graph.node:
        raise BundleError(f"{place} is no ONNX model: it has no graph")
    return proto


def _check_operators(proto: ModelProto, place: str) -> None:
    own = {function.domain for function in proto.functions}
    nodes = [*_nodes(proto.graph), *(n for f in proto.functions for n in _flat(f.node))]
    foreign = sorted({n.domain for n in nodes} - _DOMAINS - own)
    if foreign:
        used = sorted({n.op_type for n in nodes if n.domain in foreign})
        raise BundleError(
            f"{place} needs operators of {', '.join(foreign)} ({', '.join(used[:10])}), which a "
            "stock onnxruntime does not have; export it without custom operators"
        )


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for inner in _graphs(graph):
        yield from inner.node


def _flat(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield the nodes of a function, and those of their inner graphs."""
    yield from nodes
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _weights(proto: ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor that stands in the model: in graphs, nodes and functions."""
    functions = [node for function in proto.functions for node in function.node]
    inner = [g for node in functions for a in node.attribute for g in (a.g, *a.graphs)]
    graphs = [each for graph in (proto.graph, *inner) for each in _graphs(graph)]
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in (*functions, *(node for graph in graphs for node in graph.node)):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _is_split(proto: ModelProto) -> bool:
    return any(item.data_location == TensorProto.EXTERNAL for item in _weights(proto))


def _tensor(value: ValueInfoProto, verb: str) -> Tensor:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise BundleError(
            f"the graph {verb} '{value.name}' as {_KINDS.get(kind, 'nothing known')}, and only "
            "tensors can be served; export tensors (of scikit-learn models with "
            "options={'zipmap': False})"
        )
    kind = value.type.tensor_type
    name = TensorProto.DataType.Name(kind.elem_type)
    if name not in _DTYPES:
        raise BundleError(
            f"the graph {verb} '{value.name}' as {name}, which numpy does not know; cast it inside "
            f"the graph to one of {', '.join(_DTYPES.values())}"
        )
    shape = tuple(map(_axis, kind.shape.dim)) if kind.HasField("shape") else None
    try:
        return Tensor(name=value.name, dtype=_DTYPES[name], shape=shape)
    except DeclarationError as error:
        raise BundleError(f"the graph {verb} a tensor that cannot be named: {error}") from error


def _axis(dim: Any) -> int | str | None:
    if dim.WhichOneof("value") == "dim_value":
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return str(dim.dim_param) or None


def _tolerance(proto: ModelProto) -> float:
    """Return how far machines may differ: they add floats in another order, and round them."""
    sides = (*proto.graph.input, *proto.graph.output)
    kinds = {item.data_type for item in _weights(proto)}
    names = {TensorProto.DataType.Name(kind) for kind in kinds}
    if names & _COARSE:
        return 1e-2
    names |= {TensorProto.DataType.Name(side.type.tensor_type.elem_type) for side in sides}
    if "FLOAT16" in names:
        return 1e-2
    return 1e-4 if "FLOAT" in names else 1e-9
