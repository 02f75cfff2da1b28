"""A bundle's weights are its own verified bytes, never a file of the host's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from mlembed.errors import BundleError
from mlembed.serving.session import Session, TensorSession
from mlembed.training.onnxfile import read_onnx

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto


def external() -> TensorProto:
    """Return weights that stand in the host's file secret.bin."""
    weights = TensorProto(name="w", data_type=TensorProto.DOUBLE, dims=[1, 4])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="secret.bin")
    return weights


def of_graph(*, inside_function: bool) -> ModelProto:
    """Return a model that gives out what stands there."""
    x = helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["N", 4])
    opsets = [helper.make_opsetid("", 17)]
    if not inside_function:
        graph = helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [external()]
        )
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)
    constant = helper.make_node("Constant", [], ["w"])
    constant.attribute.add(name="value", type=4).t.CopyFrom(external())
    function = helper.make_function(
        "own", "Leak", ["a"], ["b"], [constant, helper.make_node("Add", ["a", "w"], ["b"])], opsets
    )
    graph = helper.make_graph([helper.make_node("Leak", ["x"], ["y"], domain="own")], "g", [x], [y])
    return helper.make_model(
        graph,
        opset_imports=[*opsets, helper.make_opsetid("own", 1)],
        ir_version=9,
        functions=[function],
    )


@pytest.mark.parametrize("inside_function", [False, True])
def test_files_of_the_host_are_no_weights(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inside_function: bool,  # noqa: FBT001  a parameter
) -> None:
    """Neither in the directory the host runs in, nor behind a function of the model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(np.arange(4.0).tobytes())
    data = of_graph(inside_function=inside_function).SerializeToString()

    for kind in (Session, TensorSession):
        with pytest.raises(BundleError, match="cannot load the model"):
            kind(data)
    with pytest.raises(BundleError, match="keeps its weights in files beside it"):
        read_onnx(data)
