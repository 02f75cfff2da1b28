"""A bundle's weights are its own verified bytes, never a file of the host's."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper

from mlembed.errors import BundleError
from mlembed.training.onnxfile import read_onnx
from processes import pip_install, unmeasured
from serving.servers import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

OLDEST = "onnxruntime==1.27.0"  # the first that pyproject.toml allows
LOCATIONS = {
    "beside": "secret.bin",
    "above": "../above.bin",
    "absolute": "{folder}/secret.bin",
    "symlink": "symlink.bin",
    "hardlink": "hardlink.bin",
}
KINDS = ("weights", "function", "attribute", "sparse")
# Sessions of a model that is given as bytes, in the directory where the weights lie, and one that
# the runtime reads from its path, to show that there is something to read.
ATTEMPTS = """
import json, sys
from pathlib import Path
import onnxruntime
from mlembed.errors import BundleError
from mlembed.serving.session import Session, TensorSession
opened, refused, from_paths = [], [], []
for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
    for kind in (Session, TensorSession):
        try:
            kind(path.read_bytes())
        except BundleError as error:
            refused.append(str(error))
        else:
            opened.append(path.name)
    try:
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception:
        continue
    from_paths.append(path.stem)
print(json.dumps([onnxruntime.__version__, opened, refused, from_paths]))
"""


def external(location: str) -> TensorProto:
    """Return four weights that stand in a file of the host's."""
    weights = TensorProto(name="w", data_type=TensorProto.DOUBLE, dims=[4])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    return weights


def of_graph(kind: str, location: str) -> ModelProto:
    """Return a model that adds what stands there, as one *kind* of weights or another."""
    x = helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["N", 4])
    opsets = [helper.make_opsetid("", 17)]
    add = helper.make_node("Add", ["x", "w"], ["y"])
    constant = helper.make_node("Constant", [], ["w"])
    constant.attribute.add(name="value", type=4).t.CopyFrom(external(location))
    if kind == "function":
        leak = [constant, helper.make_node("Add", ["a", "w"], ["b"])]
        functions = [helper.make_function("own", "Leak", ["a"], ["b"], leak, opsets)]
        opsets = [*opsets, helper.make_opsetid("own", 1)]
        nodes = [helper.make_node("Leak", ["x"], ["y"], domain="own")]
    else:
        functions = []
        nodes = [constant, add] if kind == "attribute" else [add]
    graph = helper.make_graph(
        nodes, "g", [x], [y], [external(location)] if kind == "weights" else []
    )
    if kind == "sparse":
        places = helper.make_tensor("w_places", TensorProto.INT64, [4], [0, 1, 2, 3])
        graph.sparse_initializer.append(helper.make_sparse_tensor(external(location), places, [4]))
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory with weights in all places, and a model for each way to name them."""
    folder = tmp_path / "host"
    folder.mkdir()
    for path in (folder / "secret.bin", tmp_path / "above.bin"):
        path.write_bytes(np.arange(4.0).tobytes())
    (folder / "symlink.bin").symlink_to(tmp_path / "above.bin")
    (folder / "hardlink.bin").hardlink_to(tmp_path / "above.bin")
    for kind, (name, location) in itertools.product(KINDS, LOCATIONS.items()):
        model = of_graph(kind, location.format(folder=folder))
        (folder / f"{kind}-{name}.onnx").write_bytes(model.SerializeToString())
    return folder


@pytest.fixture(scope="session")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the oldest supported runtime is; skip where it cannot be had."""
    folder = tmp_path_factory.mktemp("oldest")
    pip_install(sys.executable, "--no-deps", "--target", folder, OLDEST)
    return folder


@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_files_of_the_host_are_no_weights(
    folder: Path, which: str, request: pytest.FixtureRequest
) -> None:
    """Wherever they lie, however they are named and used, on the oldest and the newest runtime."""
    place = [request.getfixturevalue("oldest")] if which == "oldest" else []
    run = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, str(folder)],
        env={**unmeasured(), "PYTHONPATH": os.pathsep.join(map(str, (*place, ROOT)))},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    version, opened, refused, from_paths = json.loads(run.stdout.splitlines()[-1])

    assert (version == OLDEST.partition("==")[2]) is (which == "oldest")
    assert opened == []
    assert len(refused) == 2 * len(KINDS) * len(LOCATIONS)
    assert all("cannot load the model" in text for text in refused)
    assert {"weights-beside", "weights-hardlink"} <= {*from_paths}


@pytest.mark.parametrize("kind", KINDS)
def test_trainer_says_where_weights_lie(kind: str) -> None:
    """`mlembed pack` names the cause before anything is published."""
    with pytest.raises(BundleError, match="keeps its weights in files beside it"):
        read_onnx(of_graph(kind, "secret.bin").SerializeToString())
