"""Packing a graph made elsewhere: what is read of it, what proves it, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlembed.bundle.calls import read_calls
from mlembed.errors import BundleError, DataError, GoldenError, SchemaError
from mlembed.serving.loading import Serving, serve
from mlembed.settings import Settings
from mlembed.tensors import DTYPES, Score
from mlembed.training import pack
from mlembed.training.examples import read_examples
from mlembed.training.onnxfile import read_onnx
from tensorgraphs import (
    MIXED,
    data,
    identity_model,
    lookup_model,
    mixed_bundle,
    mixed_model,
    model,
    odds,
    pixels_bundle,
    pixels_model,
    slow_model,
    tensor,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from onnx import ModelProto


def packed(proto: ModelProto, **options: Any) -> Any:
    """Pack a model."""
    return pack(data(proto), name="m", **options)


def test_the_manifest_says_what_the_graph_takes_and_gives() -> None:
    """Names, dtypes and shapes come from the graph, dynamic axes with their names."""
    manifest = mixed_bundle().manifest

    assert [(t.name, t.text) for t in manifest.inputs] == [
        ("text", "string[N]"),
        ("ids", "int64[N, L]"),
        ("mask", "bool[N, L]"),
        ("scale", "float16[]"),
    ]
    assert [(t.name, t.text) for t in manifest.outputs] == [
        ("echo", "string[N]"),
        ("total", "int64[N]"),
        ("scaled", "float16[N]"),
    ]
    assert manifest.score is None
    assert manifest.columns == ()
    assert manifest.onnx == {"ir_version": 9, "opsets": {"ai.onnx": 17}}
    assert manifest.training["producer"] == "tests"


def test_golden_calls_hold_what_the_graph_makes_of_the_example() -> None:
    """The given arrays stand there, and the outputs of this very machine."""
    ((inputs, outputs),) = read_calls(mixed_bundle()).calls

    assert inputs["text"].tolist() == MIXED["text"].tolist()
    assert inputs["ids"].tolist() == MIXED["ids"].tolist()
    assert outputs["echo"].tolist() == MIXED["text"].tolist()
    assert outputs["total"].tolist() == [4, 9]
    assert outputs["scaled"].tolist() == [2.0, 4.5]


def test_made_up_calls_are_one_record_and_two() -> None:
    """Without an example the graph is run on made-up arrays, the same at every packing."""
    calls = read_calls(pixels_bundle()).calls
    again = pack(data(pixels_model()), name="pixels", score="odds:2")

    assert [inputs["pixels"].shape for inputs, _ in calls] == [(1, 2, 2), (2, 2, 2)]
    assert again.files["golden.json"] == pixels_bundle().files["golden.json"]
    for inputs, outputs in calls:
        assert np.allclose(outputs["odds"], odds(inputs["pixels"]), atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [("N", 3), (), (2, 2), (None, None), None])
def test_every_dtype_and_shape_is_packed_and_served(dtype: str, shape: Any) -> None:
    """From scalars to graphs that name no shape at all."""
    served = serve(packed(identity_model(dtype, shape)), Serving(Settings(log=False)))

    ((_, outputs), *_) = read_calls(served._bundle).calls
    assert served.manifest.inputs[0].dtype == dtype
    assert served.manifest.inputs[0].shape == shape
    assert outputs["y"].dtype.name == ("object" if dtype == "string" else dtype)


def test_made_up_values_are_tried_until_the_graph_runs() -> None:
    """Axes that must have some length, and numbers that must not be 0, are found."""
    pads = model(
        [
            helper.make_node("Reshape", ["x", "shape"], ["tiles"]),
            helper.make_node("Div", ["one", "n"], ["d"]),
            helper.make_node("Cast", ["d"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["tiles", "f"], ["y"]),
        ],
        [tensor("x", "float32", ["N", "L"]), tensor("n", "int64", [])],
        [tensor("y", "float32", None)],
        {"shape": np.array([-1, 16]), "one": np.array(1)},
    )

    ((inputs, _), *_) = read_calls(packed(pads)).calls

    assert inputs["x"].size % 16 == 0


def test_a_graph_that_runs_on_nothing_made_up_asks_for_an_example() -> None:
    """The message has the runtime's reason and the way to give one."""
    picky = model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [tensor("x", "float32", ["L"])],
        [tensor("y", "float32", [None, 37])],
        {"shape": np.array([-1, 37])},
    )

    with pytest.raises(
        BundleError, match=r"takes none of the inputs that were made up .*--example"
    ):
        packed(picky)
    bundle = packed(picky, examples=[{"x": np.ones(74, np.float32)}])
    assert read_calls(bundle).calls[0][1]["y"].shape == (2, 37)


def test_an_example_that_does_not_fit_is_refused() -> None:
    """With the input, what was wanted and the remedy."""
    with pytest.raises(SchemaError, match=r"'pixels' is float64\[1, 2, 2\], expected float32"):
        packed(pixels_model(), examples=[{"pixels": np.ones((1, 2, 2))}])


def test_an_example_on_which_the_graph_fails_is_refused() -> None:
    """With the runtime's reason."""
    with pytest.raises(BundleError, match=r"the graph fails on the example: .*indices.*"):
        packed(lookup_model(), examples=[{"place": [7]}])


def test_several_examples_are_several_golden_calls() -> None:
    """Each is replayed before the bundle may serve."""
    bundle = packed(lookup_model(), examples=[{"place": [0]}, {"place": [2, 1]}], score="value")

    assert [o["value"].tolist() for _, o in read_calls(bundle).calls] == [[0.0], [20.0, 10.0]]


@pytest.mark.parametrize(
    ("score", "declared"),
    [
        ("odds:0", Score(output="odds")),
        ("odds:2", Score(output="odds", index=2)),
        ("class", Score(output="class")),
        ("", None),
    ],
)
def test_the_score_is_an_output_and_a_place(score: str, declared: Score | None) -> None:
    """The place may be left out where there is one alone."""
    assert packed(pixels_model(), score=score).manifest.score == declared


@pytest.mark.parametrize(
    ("score", "why"),
    [
        ("odd", "the score must be a number of an output; 'odd' is none.* odds, class"),
        ("odd:1", "'odd' is none"),
        ("odds", "'odds' holds 3 numbers a record; name the one .*odds:0 to odds:2"),
        ("odds:-1", "the index from 0 on"),
        ("odds:x", "the index from 0 on"),
        ("odds:", "the index from 0 on"),
        ("odds:3", "'odds' holds 3 numbers a record, so there is no number 3; .*odds:0 to 2"),
        ("class:1", "'class' holds 1 numbers a record"),
    ],
)
def test_a_score_that_is_none_is_refused(score: str, why: str) -> None:
    """The outputs that could be one are named."""
    with pytest.raises(BundleError, match=why):
        packed(pixels_model(), score=score)


def test_a_text_is_no_score() -> None:
    """Only numbers can be."""
    with pytest.raises(BundleError, match=r"'echo' is none. Outputs with numbers: total, scaled"):
        packed(mixed_model(), examples=[MIXED], score="echo")


def test_a_name_with_a_colon_is_an_output() -> None:
    """As TensorFlow names them."""
    node = helper.make_node("Identity", ["x:0"], ["y:0"])
    proto = model(
        [node], [tensor("x:0", "float32", ["N", 2])], [tensor("y:0", "float32", ["N", 2])]
    )

    assert packed(proto, score="y:0").manifest.score == Score(output="y:0")
    assert packed(proto, score="y:0:1").manifest.score == Score(output="y:0", index=1)


def test_a_sequence_of_maps_is_refused_with_the_remedy() -> None:
    """What scikit-learn models give by default cannot be served; the option that helps is named."""
    node = helper.make_node(
        "ZipMap", ["x"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
    )
    kind = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    output = helper.make_value_info("probabilities", helper.make_sequence_type_proto(kind))
    proto = model([node], [tensor("x", "float32", ["N", 2])], [output], ai_onnx_ml=1)

    with pytest.raises(BundleError, match=r"gives 'probabilities' as a sequence.*'zipmap': False"):
        packed(proto)


def test_a_sequence_input_is_refused() -> None:
    """Only tensors can be given."""
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    node = helper.make_node("ConcatFromSequence", ["xs"], ["y"], axis=0)
    proto = model([node], [helper.make_value_info("xs", kind)], [tensor("y", "float32", [None])])

    with pytest.raises(BundleError, match="takes 'xs' as a sequence"):
        packed(proto)


def test_a_dtype_that_numpy_does_not_know_is_refused() -> None:
    """With those that may be used."""
    value = helper.make_tensor_value_info("x", TensorProto.BFLOAT16, [1])
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    proto = model([node], [value], [tensor("y", "float32", [1])])

    with pytest.raises(BundleError, match=r"takes 'x' as BFLOAT16.*cast it inside the graph"):
        packed(proto)


def test_operators_of_others_are_refused() -> None:
    """A stock runtime would not load them, on any host."""
    node = helper.make_node("Magic", ["x"], ["y"], domain="acme")
    x, y = tensor("x", "float32", [1]), tensor("y", "float32", [1])

    with pytest.raises(BundleError, match=r"needs operators of acme \(Magic\), which a stock"):
        packed(model([node], [x], [y], acme=1))


def test_operators_of_others_in_an_inner_graph_are_refused() -> None:
    """Also where a branch hides them."""
    magic = helper.make_node("Magic", ["x"], ["inner"], domain="acme")
    branch = helper.make_graph([magic], "branch", [], [tensor("inner", "float32", [1])])
    node = helper.make_node("If", ["go"], ["y"], then_branch=branch, else_branch=branch)
    inputs = [tensor("go", "bool", []), tensor("x", "float32", [1])]

    with pytest.raises(BundleError, match="needs operators of acme"):
        packed(model([node], inputs, [tensor("y", "float32", [1])], acme=1))


def test_functions_of_the_model_itself_are_its_own() -> None:
    """Their domain is no foreign one."""
    x, y = tensor("x", "float32", [1]), tensor("y", "float32", [1])
    proto = model([helper.make_node("Twice", ["x"], ["y"], domain="mine")], [x], [y], mine=1)
    twice = helper.make_function(
        *("mine", "Twice", ["a"], ["b"]),
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    proto.functions.append(twice)

    ((inputs, outputs),) = read_calls(packed(proto)).calls

    assert outputs["y"].tolist() == (inputs["x"] * 2).tolist()


def test_a_random_graph_is_refused() -> None:
    """Its golden calls could never be reproduced."""
    node = helper.make_node("RandomUniformLike", ["x"], ["y"], dtype=TensorProto.FLOAT)
    x, y = tensor("x", "float32", ["N", 3]), tensor("y", "float32", ["N", 3])

    with pytest.raises(GoldenError, match=r"does not reproduce its golden calls.*is random"):
        packed(model([node], [x], [y]))


def test_a_graph_without_inputs_is_refused() -> None:
    """There is nothing it could be asked."""
    node = helper.make_node("Identity", ["w"], ["y"])
    proto = model([node], [], [tensor("y", "float64", [])], {"w": np.array(1.0)})

    with pytest.raises(BundleError, match="a model without inputs"):
        packed(proto)


def test_weights_that_are_listed_as_inputs_are_none() -> None:
    """Old exporters list them; a host is not asked for them."""
    proto = pixels_model()
    proto.graph.input.append(tensor("w", "float32", [4, 3]))

    assert [t.name for t in packed(proto).manifest.inputs] == ["pixels"]


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"PK\x03\x04 no model", b"{}", b"\x08\x09"])
def test_what_is_no_onnx_model_is_refused(content: bytes, tmp_path: Path) -> None:
    """By the name of the file."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(BundleError, match=r"model\.onnx is no ONNX model"):
        pack(path, name="m")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(BundleError, match=r"gone\.onnx cannot be read \(No such file"):
        pack(tmp_path / "gone.onnx", name="m")


def test_weights_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    """A bundle is whole: what lay in a file of its own lies in the model."""
    weights = np.random.default_rng(0).random((2, 300)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    x, y = tensor("x", "float32", ["N", 2]), tensor("y", "float32", ["N", 300])
    proto = model([node], [x], [y], {"w": weights})
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert len(path.read_bytes()) < weights.nbytes

    ((inputs, outputs), *_) = read_calls(pack(path, name="m")).calls

    assert np.allclose(outputs["y"], inputs["x"] @ weights, rtol=1e-5)
    with pytest.raises(BundleError, match="keeps its weights in files beside it; give its path"):
        pack(path.read_bytes(), name="m")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(BundleError, match="which cannot be read"):
        pack(path, name="m")


def test_weights_outside_the_folder_are_never_read(tmp_path: Path) -> None:
    """A model cannot name a file of the machine that packs it."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(48))
    (tmp_path / "models").mkdir()
    proto = pixels_model()
    weight = proto.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../secret.bin")
    path = tmp_path / "models" / "model.onnx"
    path.write_bytes(data(proto))

    with pytest.raises(BundleError, match="which cannot be read"):
        pack(path, name="m")


def test_a_file_is_packed_byte_for_byte(tmp_path: Path) -> None:
    """What was exported is what serves."""
    path = tmp_path / "pixels.onnx"
    path.write_bytes(data(pixels_model()))

    bundle = pack(path, name="m", description="odds of pixels")

    assert bundle.files["model.onnx"] == path.read_bytes()
    assert bundle.manifest.training["source"] == "pixels.onnx"
    assert b"odds of pixels" in bundle.files["card.md"]
    assert b"| `pixels` | float32[N, 2, 2] |" in bundle.files["card.md"]


@pytest.mark.parametrize(
    ("make", "tolerance"),
    [
        (lambda: identity_model("float64", [2]), 1e-9),
        (lambda: identity_model("float32", [2]), 1e-4),
        (lambda: identity_model("float16", [2]), 1e-2),
        (lambda: identity_model("int64", [2]), 1e-9),
        (lambda: identity_model("uint8", [2]), 1e-9),
        (pixels_model, 1e-4),
        (mixed_model, 1e-2),
        (slow_model, 1e-9),
    ],
)
def test_the_tolerance_follows_the_coarsest_numbers(
    make: Callable[[], ModelProto], tolerance: float
) -> None:
    """Machines differ by what their floats can hold."""
    assert read_onnx(data(make())).tolerance == tolerance


def test_quantised_weights_widen_the_tolerance() -> None:
    """Their sums overflow differently on different processors."""
    proto = identity_model("float32", [2])
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int8), "q"))

    assert read_onnx(data(proto)).tolerance == 1e-2
    golden = json.loads(packed(proto, tolerance=0.5).files["golden.json"])
    assert golden["tolerance"] == 0.5


@pytest.mark.parametrize("tolerance", [-1, 1, float("nan")])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    """A share between 0 and 1."""
    with pytest.raises(BundleError, match="give 0 to 1"):
        packed(pixels_model(), tolerance=tolerance)


@pytest.mark.parametrize(
    ("name", "version"), [("Bad Name", "1.0.0"), ("m", "1.0"), ("../m", "1.0.0")]
)
def test_a_bad_name_or_version_is_refused(name: str, version: str) -> None:
    """Before anything is run."""
    with pytest.raises(BundleError, match=r"its version major\.minor\.patch"):
        pack(b"", name=name, version=version)


def test_fixed_shapes_that_are_huge_are_refused() -> None:
    """Nothing is allocated for what golden calls could not hold."""
    with pytest.raises(BundleError, match=r"take 4,000,000,000,000 bytes at least"):
        packed(identity_model("float32", [1_000_000, 1_000_000]))


def test_examples_are_read_from_npz(tmp_path: Path) -> None:
    """One array an input."""
    path = tmp_path / "example.npz"
    np.savez(path, **{**MIXED, "text": np.array(["a", "b"])})

    bundle = packed(mixed_model(), examples=read_examples(path))

    ((inputs, _),) = read_calls(bundle).calls
    assert inputs["text"].tolist() == ["a", "b"]
    assert inputs["scale"].tolist() == 0.5


def test_examples_are_read_from_json(tmp_path: Path) -> None:
    """One object, or a list of them."""
    path = tmp_path / "example.json"
    call = {"place": [1]}
    path.write_text(json.dumps(call), encoding="utf-8")
    assert read_examples(path) == [call]

    path.write_text(json.dumps([call, call]), encoding="utf-8")

    assert len(read_calls(packed(lookup_model(), examples=read_examples(path))).calls) == 2


class Bomb:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run",))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("gone.npz", lambda path: None),  # noqa: ARG005
        ("x.npz", lambda path: path.write_bytes(b"PK no zip")),
        ("x.npz", lambda path: np.savez(path, x=np.array([Bomb()], dtype=object))),
        ("x.npz", lambda path: path.write_bytes(b"\x80\x04N.")),
        ("x.json", lambda path: path.write_text("{")),
        ("x.json", lambda path: path.write_bytes(b"\xff")),
    ],
)
def test_an_example_that_cannot_be_read_is_refused(
    name: str, write: Callable[[Path], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pickled objects are never loaded."""
    path = tmp_path / name
    write(path)

    with pytest.raises(DataError, match=r"cannot be read .*pickled objects are never read"):
        read_examples(path)
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize("text", ["[]", "7", "[7]", '"x"'])
def test_an_example_without_inputs_is_refused(text: str, tmp_path: Path) -> None:
    """It must be an object of inputs, or a list of them."""
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match="is no object of inputs"):
        read_examples(path)
