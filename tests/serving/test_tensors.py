"""A graph of tensors answers like any model: same fallback, limits, replacement and threads."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

import mlembed
from bundles import toy_bundle
from mlembed.bundle.bundle import pack as pack_files
from mlembed.errors import (
    BundleError,
    CircuitOpenError,
    GoldenError,
    InferenceError,
    PredictionTimeoutError,
    SchemaError,
)
from mlembed.serving import hooks
from mlembed.serving.answers import TensorBatch, TensorPrediction
from mlembed.serving.loading import Serving, serve
from mlembed.settings import Settings
from mlembed.tensors import Tensor
from mlembed.testing import InMemoryRegistry, override_model
from mlembed.training import pack
from processes import run_script
from tensorgraphs import (
    MIXED,
    data,
    identity_model,
    lookup_bundle,
    mixed_bundle,
    model,
    odds,
    pixels_bundle,
    pixels_model,
    slow_bundle,
    tensor,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle

N_THREADS = 8


def load(bundle: Bundle, settings: Settings, **options: Any) -> mlembed.Model:
    """Return a model that serves *bundle*."""
    source = InMemoryRegistry()
    source.publish(bundle)
    return mlembed.load(bundle.manifest.name, registry=source, settings=settings, **options)


def images(n: int, seed: int = 0) -> Any:
    """Return *n* images `(n, 2, 2)`."""
    return np.random.default_rng(seed).random((n, 2, 2), dtype=np.float32)


def test_predict_gives_every_output_and_the_score(settings: Settings) -> None:
    """Outputs are arrays by name, computed by the graph; the score is the declared number."""
    x = images(1)

    p = load(pixels_bundle(), settings).predict({"pixels": x}, key="k")

    assert np.allclose(p.outputs["odds"], odds(x), atol=1e-6)
    assert p.outputs["odds"].dtype == np.float32
    assert p.outputs["class"].tolist() == [int(odds(x).argmax())]
    assert p.score == float(p.outputs["odds"][0, 2])
    assert (p.label, p.reason, p.version, p.key, p.error) == (None, "ok", "1.0.0", "k", "")


def test_predict_takes_and_gives_every_kind(settings: Settings) -> None:
    """Texts, whole numbers beyond doubles, masks and half-precision scalars, without a score."""
    p = load(mixed_bundle(), settings).predict(MIXED)

    assert p.score is None
    assert p.outputs["echo"].tolist() == ["héllo", "a\0b 😀"]
    assert p.outputs["total"].tolist() == [4, 9]
    assert p.outputs["scaled"].dtype == np.float16
    assert p.outputs["scaled"].tolist() == [2.0, 4.5]


def test_numbers_beyond_doubles_stay_exact(settings: Settings) -> None:
    """Whole numbers of 64 bits never pass through a float."""
    live = load(pack(data(identity_model("uint64", ["N"])), name="same"), settings)

    assert live.predict({"x": [2**64 - 1]}).outputs["y"].tolist() == [2**64 - 1]


def test_scalars_and_empty_arrays_are_answered(settings: Settings) -> None:
    """A tensor without axes is an array too, and an axis may have no entries."""
    scalar = load(pack(data(identity_model("float32", [])), name="scalar"), settings)
    empty = load(pack(data(identity_model("string", ["N", None])), name="empty"), settings)

    assert scalar.predict({"x": 1.5}).outputs["y"].shape == ()
    assert empty.predict({"x": np.empty((0, 7), object)}).outputs["y"].shape == (0, 7)


def test_an_answer_is_the_hosts_own(settings: Settings) -> None:
    """What comes later never changes an array that was given, nor does the host's input."""
    live, x = load(pixels_bundle(), settings), images(1)
    first = live.predict({"pixels": x})
    kept = first.outputs["odds"].copy()

    x[:] = 0
    live.predict({"pixels": images(1, 9)})

    assert first.outputs["odds"].tolist() == kept.tolist()
    assert first.outputs["odds"].flags.writeable


def test_a_prediction_survives_pickling_and_json(settings: Settings) -> None:
    """It travels with its outputs; what JSON has no number for becomes null."""
    live = load(pack(data(identity_model("float32", ["N"])), name="same"), settings)
    p = live.predict({"x": [1.0, np.inf]})

    again = pickle.loads(pickle.dumps(p))  # noqa: S301  our own

    assert again == p
    assert isinstance(again, TensorPrediction)
    assert again.outputs["y"].tolist() == p.outputs["y"].tolist()
    assert json.loads(json.dumps(p.to_json()))["outputs"] == {"y": [1.0, None]}
    assert "outputs={'y': 'float32[2]'}" in repr(p)


def test_bad_input_is_refused_without_a_fallback(settings: Settings) -> None:
    """The error names the bundle, the input, what came and the remedy."""
    live = load(pixels_bundle(), settings)

    with pytest.raises(
        SchemaError, match=r"fit pixels@1\.0\.0: 'pixels' is float64\[1, 2, 2\].*astype"
    ):
        live.predict({"pixels": images(1).astype(float)})
    with pytest.raises(SchemaError, match="'pixels' is missing"):
        live.predict_batch({})


@pytest.mark.parametrize("bad", [{"pixels": "x"}, {}, None, np.zeros(3), {"pixels": [[[1e40]]]}])
def test_bad_input_gives_the_fallback(settings: Settings, bad: Any) -> None:
    """Where the host named one nothing is raised, and there are no outputs."""
    p = load(pixels_bundle(), settings, fallback=0.25).predict(bad)

    assert (p.score, p.label, p.reason, p.outputs) == (0.25, None, "fallback", {})
    assert p.error.startswith("SchemaError: ")


def test_a_batch_falls_back_as_a_whole(settings: Settings) -> None:
    """One score a record, no outputs, and why."""
    live = load(pixels_bundle(), settings, fallback=0.25)

    batch = live.predict_batch({"pixels": np.zeros((5, 3, 3), np.float32)})

    assert batch.scores.tolist() == [0.25] * 5
    assert batch.reasons == ["fallback"] * 5
    assert dict(batch.outputs) == {}
    assert batch.error.startswith("SchemaError: ")


def test_the_score_of_several_records_is_refused(settings: Settings) -> None:
    """It would be that of the first alone; `predict_batch` gives one each."""
    with pytest.raises(InferenceError, match=r"holds 2 records; give one, or all .* predict_batch"):
        load(pixels_bundle(), settings).predict({"pixels": images(2)})

    unscored = load(pixels_bundle(score=""), settings).predict({"pixels": images(2)})
    assert unscored.outputs["odds"].shape == (2, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_a_failure(settings: Settings, value: float) -> None:
    """As for columns; outputs that are no score may be anything."""
    same = data(identity_model("float32", ["N"]))
    scored = load(pack(same, name="same", score="y"), settings)

    with pytest.raises(InferenceError, match="gave no finite score"):
        scored.predict({"x": [value]})
    with pytest.raises(InferenceError, match="gave no finite score for some records"):
        scored.predict_batch({"x": [1.0, value]})
    plain = load(pack(same, name="same"), settings)
    assert not np.isfinite(plain.predict({"x": [value]}).outputs["y"]).any()


def test_a_score_whose_place_is_gone_is_a_failure(settings: Settings) -> None:
    """An output of any length may come out too short."""
    proto = identity_model("float32", ["N", "L"])
    live = load(pack(data(proto), name="same", score="y:3"), settings)

    assert live.predict({"x": [[1.0, 2.0, 3.0, 4.0]]}).score == 4.0
    with pytest.raises(InferenceError, match="has no such place"):
        live.predict({"x": [[1.0, 2.0]]})
    with pytest.raises(InferenceError, match="has no such place"):
        live.predict_batch({"x": [[1.0, 2.0]] * 2})


def test_stacked_records_are_answered_at_once(settings: Settings) -> None:
    """A batch gives what single calls give, one score and id a record."""
    live, x = load(pixels_bundle(), settings), images(600)

    batch = live.predict_batch({"pixels": x})

    assert isinstance(batch, TensorBatch)
    assert len(batch) == len(set(batch.ids)) == 600
    assert np.allclose(batch.outputs["odds"], odds(x), atol=1e-6)
    assert batch.scores.tolist() == batch.outputs["odds"][:, 2].astype(float).tolist()
    assert batch.scores[7] == pytest.approx(live.predict({"pixels": x[7:8]}).score, rel=1e-6)
    assert batch.labels[:2] == [None, None]


def test_a_list_of_records_is_stacked(settings: Settings) -> None:
    """Each as `predict` takes it."""
    live, x = load(pixels_bundle(), settings), images(3)

    batch = live.predict_batch([{"pixels": x[i : i + 1]} for i in range(3)])

    assert np.allclose(batch.outputs["odds"], odds(x), atol=1e-6)


@pytest.mark.parametrize("empty", [[], {"pixels": np.zeros((0, 2, 2), np.float32)}])
def test_no_records_are_no_answers(settings: Settings, empty: Any) -> None:
    """The graph is not run, and outputs have their dtypes."""
    batch = load(pixels_bundle(), settings).predict_batch(empty)

    assert len(batch) == 0
    assert batch.outputs["odds"].shape == (0, 3)
    assert batch.outputs["class"].dtype == np.int64


def test_a_batch_without_a_score_has_none(settings: Settings) -> None:
    """Scores are NaN; the outputs are what was asked for."""
    batch = load(pixels_bundle(score=""), settings).predict_batch({"pixels": images(2)})

    assert np.isnan(batch.scores).all()
    assert batch.outputs["odds"].shape == (2, 3)


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([{"pixels": images(1)}, {"pixels": images(2)}], r"record 1: 'pixels' has the shape \[2, 2, 2"),
        ([{"pixels": images(1)}, {"pixel": images(1)}], "record 1: 'pixels' is missing"),
        ([7], "record 0: int was given"),
        (7, "int was given, expected a mapping"),
        ({"pixels": images(1)[0]}, r"add the first axis with array\[None\]"),
    ],
)  # fmt: skip
def test_a_bad_batch_is_refused(settings: Settings, records: Any, why: str) -> None:
    """With the number of the record, where there is one."""
    with pytest.raises(SchemaError, match=why):
        load(pixels_bundle(), settings).predict_batch(records)


def two_inputs(first: tuple[Any, ...], second: tuple[Any, ...], output: tuple[Any, ...]) -> Bundle:
    """Pack a graph that adds two inputs."""
    proto = model(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        [tensor("a", "float64", first), tensor("b", "float64", second)],
        [tensor("sum", "float64", output)],
    )
    return pack(data(proto), name="sum")


def test_an_input_without_a_batch_axis_holds_for_all(settings: Settings) -> None:
    """A temperature beside the records is one for all of them."""
    live = load(two_inputs(("N",), (), ("N",)), settings)

    stacked = live.predict_batch({"a": [1.0, 2.0], "b": 10.0})
    listed = live.predict_batch([{"a": [1.0], "b": 10.0}, {"a": [2.0], "b": 10.0}])

    assert stacked.outputs["sum"].tolist() == listed.outputs["sum"].tolist() == [11.0, 12.0]
    with pytest.raises(SchemaError, match="'b' differs between records, and the graph takes one"):
        live.predict_batch([{"a": [1.0], "b": 10.0}, {"a": [2.0], "b": 11.0}])


def test_inputs_of_different_numbers_are_refused(settings: Settings) -> None:
    """Unnamed first axes must agree too."""
    live = load(two_inputs((None,), (None,), (None,)), settings)

    with pytest.raises(
        SchemaError, match=r"differ in their number of records: 'a' \[2\], 'b' \[1\]"
    ):
        live.predict_batch({"a": [1.0, 2.0], "b": [1.0]})


def test_records_of_different_shapes_are_refused(settings: Settings) -> None:
    """The remedy is to pad them, or to ask one by one."""
    live = load(pack(data(identity_model("float32", ["N", "L"])), name="same"), settings)

    with pytest.raises(SchemaError, match="'x' has another shape in some records; pad them"):
        live.predict_batch([{"x": [[1.0]]}, {"x": [[1.0, 2.0]]}])


@pytest.mark.parametrize(
    ("shape", "why"), [([1, 3], r"'y' is float32\[1, 3\]"), ([], r"'y' is float32\[\]")]
)
def test_a_graph_without_a_batch_axis_says_so(settings: Settings, shape: Any, why: str) -> None:
    """With the tensor that has none, and what to do."""
    live = load(pack(data(identity_model("float32", shape)), name="same"), settings)

    with pytest.raises(SchemaError, match=f"no batch axis: {why}; call predict for each record"):
        live.predict_batch({"x": np.zeros(shape, np.float32)})


def test_an_axis_that_counts_no_records_is_found(settings: Settings) -> None:
    """A dynamic first axis may be another: the answer would belong to nobody."""
    node = helper.make_node("NonZero", ["x"], ["places"])
    proto = model([node], [tensor("x", "float32", ["N"])], [tensor("places", "int64", [None, "K"])])

    with pytest.raises(InferenceError, match=r"'places' has the shape \[1, 3\] for 4 records"):
        load(pack(data(proto), name="places"), settings).predict_batch({"x": [0.0, 1.0, 2.0, 3.0]})


def test_a_graph_that_fails_is_an_inference_error(settings: Settings) -> None:
    """What the runtime raises never reaches the host as it is."""
    live = load(lookup_bundle(), settings)

    with pytest.raises(InferenceError, match="while predicting"):
        live.predict({"place": [7]})
    with pytest.raises(InferenceError, match="while predicting"):
        live.predict_batch({"place": [0, 7]})
    assert live.predict({"place": [2]}).score == 20.0


def test_a_graph_that_fails_again_and_again_is_left_alone(settings: Settings) -> None:
    """After a pause one call tries, and its success ends the pause; bad input is no failure."""
    settings = dataclasses.replace(settings, breaker_failures=3, breaker_seconds=0.2)
    live = load(lookup_bundle(), settings)
    for _ in range(5):
        with pytest.raises(SchemaError):
            live.predict({"place": 1.5})
    for _ in range(3):
        with pytest.raises(InferenceError):
            live.predict({"place": [7]})

    with pytest.raises(CircuitOpenError):
        live.predict({"place": [1]})
    with pytest.raises(CircuitOpenError):
        live.predict_batch({"place": [1]})

    threading.Event().wait(0.3)
    assert live.predict({"place": [1]}).score == 10.0
    assert live.predict_batch({"place": [1, 2]}).scores.tolist() == [10.0, 20.0]


def test_a_graph_that_takes_too_long_is_stopped(settings: Settings) -> None:
    """At its next operator, and it answers afterwards."""
    live = load(slow_bundle(), settings, timeout_ms=50)

    with pytest.raises(PredictionTimeoutError, match="stopped after 50 ms"):
        live.predict({"turns": 10**12})
    assert live.predict({"turns": 5}).score == 5.0
    fallen = load(slow_bundle(), settings, timeout_ms=50, fallback=-1.0).predict({"turns": 10**12})
    assert (fallen.score, fallen.reason) == (-1.0, "fallback")


async def test_coroutines_are_answered(settings: Settings) -> None:
    """Inline where the model is quick, in the library's threads where it is slow."""
    live = load(pixels_bundle(), settings)
    names = []
    end = hooks.subscribe(lambda _: names.append(threading.current_thread().name))
    try:
        await live.apredict({"pixels": images(1)})
        await live.apredict({"pixels": images(1)})
        live._handle.ready().run_seconds = 1.0
        p = await live.apredict({"pixels": images(1)}, key="k")
    finally:
        end()

    assert p.outputs["odds"].shape == (1, 3)
    assert [name.startswith("mlembed-predict") for name in names] == [True, False, True]


def test_hooks_see_predictions_with_their_outputs(settings: Settings) -> None:
    """What the host subscribed gets the very answer."""
    seen: list[Any] = []
    end = hooks.subscribe(seen.append)
    try:
        p = load(pixels_bundle(), settings).predict({"pixels": images(1)})
    finally:
        end()

    assert seen == [p]
    assert seen[0].outputs is p.outputs


def test_an_override_answers_for_it(settings: Settings) -> None:
    """A host's test needs no graph."""
    live = load(pixels_bundle(), settings)

    with override_model("pixels", returns=0.9):
        assert live.predict({"pixels": None}).score == 0.9
    assert live.predict({"pixels": images(1)}).version == "1.0.0"


def test_threads_never_mix(settings: Settings) -> None:
    """Eight threads at once get the answers of their own inputs, through a replacement."""
    source = InMemoryRegistry()
    source.publish(pixels_bundle())
    live = mlembed.load("pixels", registry=source, settings=settings)
    inputs = [images(1, seed) for seed in range(N_THREADS)]
    wanted = [odds(x) for x in inputs]
    failures: list[str] = []
    versions: set[str] = set()
    start = threading.Barrier(N_THREADS + 1)

    def work(number: int) -> None:
        start.wait()
        try:
            left = 400
            while left or "1.1.0" not in versions:
                left = max(0, left - 1)
                p = live.predict({"pixels": inputs[number]})
                versions.add(p.version)
                if not np.allclose(p.outputs["odds"], wanted[number], atol=1e-6):
                    failures.append("another answer")
        except Exception as error:  # noqa: BLE001  the assertion below shows it
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(N_THREADS)]
    for thread in threads:
        thread.start()
    start.wait()
    source.publish(pixels_bundle(version="1.1.0"))
    assert live.refresh()
    for thread in threads:
        thread.join()

    assert failures == []
    assert "1.1.0" in versions
    assert live.version == "1.1.0"


def repacked(bundle: Bundle, version: str = "2.0.0", **changes: Any) -> Bundle:
    """Return *bundle* as another version, its manifest changed."""
    manifest = dataclasses.replace(bundle.manifest, version=version, files=(), **changes)
    return pack_files(manifest, bundle.files)


WIDER = (Tensor(name="pixels", dtype="float32", shape=("N", "H", "W")),)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (
            lambda: repacked(pixels_bundle(), "0.9.0", inputs=WIDER),
            pixels_bundle,
            r"'pixels' is float32\[N, 2, 2\], not float32\[N, H, W\]",
        ),
        (
            pixels_bundle,
            lambda: pixels_bundle("2.0.0", ""),
            "it has no score",
        ),
        (
            lambda: toy_bundle(name="pixels"),
            lambda: pixels_bundle("2.0.0"),
            "'age' is gone.*'pixels' is new",
        ),
        (
            pixels_bundle,
            lambda: toy_bundle(name="pixels", version="2.0.0"),
            "'age' is new.*'pixels' is gone.*it gives no 'odds' of float32",
        ),
    ],
)
def test_a_version_the_host_does_not_fit_is_refused(
    settings: Settings, old: Callable[[], Bundle], new: Callable[[], Bundle], why: str
) -> None:
    """The old one goes on serving; the error names what the host would have to change."""
    source = InMemoryRegistry()
    source.publish(old())
    live = mlembed.load("pixels", registry=source, settings=settings)
    before = live.version

    source.publish(new())

    assert not live.refresh()
    assert live.version == before
    with pytest.raises(BundleError, match=why):
        raise live.error or AssertionError


def test_a_version_that_takes_more_replaces_the_old_one(settings: Settings) -> None:
    """Every array that fitted before fits still."""
    source = InMemoryRegistry()
    source.publish(pixels_bundle())
    live = mlembed.load("pixels", registry=source, settings=settings)
    live.predict({"pixels": images(1)})

    source.publish(repacked(pixels_bundle(), inputs=WIDER))

    assert live.refresh()
    assert live.predict({"pixels": images(1)}).version == "2.0.0"


def test_a_graph_that_is_not_the_manifests_is_refused() -> None:
    """Names and dtypes are compared before anything is run."""
    other = pixels_model()
    other.graph.output[0].name = "chances"
    other.graph.node[2].output[0] = other.graph.node[3].input[0] = "chances"
    bundle = pack_files(
        dataclasses.replace(pixels_bundle().manifest, files=()),
        {**pixels_bundle().files, "model.onnx": data(other)},
    )

    with pytest.raises(
        BundleError, match=r"the graph gives chances float32.*the manifest says odds"
    ):
        serve(bundle, Serving(Settings(log=False)))


def test_a_graph_that_answers_otherwise_is_refused(settings: Settings) -> None:
    """Golden calls stand before service, and the last good version goes on."""
    wrong = pack_files(
        dataclasses.replace(pixels_bundle().manifest, version="1.2.0", files=()),
        {**pixels_bundle().files, "model.onnx": data(pixels_model(3.0))},
    )
    source = InMemoryRegistry()
    source.publish(pixels_bundle())
    live = mlembed.load("pixels", registry=source, settings=settings)
    live.predict({"pixels": images(1)})

    source.publish(wrong)

    assert not live.refresh()
    assert isinstance(live.error, GoldenError)
    assert live.predict({"pixels": images(1)}).version == "1.0.0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_answers(tmp_path: Path) -> None:
    """From the session it inherited, or one of its own, and writes its own log."""
    script = """
        import os, sys, threading
        import numpy as np
        import mlembed
        from mlembed.settings import Settings
        from mlembed.testing import InMemoryRegistry
        from tensorgraphs import pixels_bundle

        settings = Settings(log_dir=sys.argv[1], poll_seconds=0)
        source = InMemoryRegistry()
        source.publish(pixels_bundle())
        model = mlembed.load("pixels", registry=source, settings=settings)
        x = {"pixels": np.ones((1, 2, 2), np.float32)}
        wanted = model.predict(x).score
        if sys.argv[2] == "threads":
            thread = threading.Thread(target=model.predict, args=(x,))
            thread.start()
            thread.join()
        model.flush()
        child = os.fork()
        if child == 0:
            same = model.predict(x).score == wanted and model.flush()
            os._exit(0 if same else 1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), model.predict(x).score == wanted)
        model.close()
    """
    for kind in ("alone", "threads"):
        folder = tmp_path / kind
        assert run_script(script, folder, kind).split() == ["0", "True"]
        pids = {path.name.split("-")[-2] for path in folder.rglob("*.jsonl*")}
        assert len(pids) == 2


def test_threads_inside_the_graph_do_not_abort_the_end(tmp_path: Path) -> None:
    """A process ends in order while daemon threads predict tensors."""
    script = """
        import sys, threading, time
        import mlembed
        from mlembed.settings import Settings
        from mlembed.testing import InMemoryRegistry
        from tensorgraphs import slow_bundle

        source = InMemoryRegistry()
        source.publish(slow_bundle())
        model = mlembed.load("slow", registry=source, settings=Settings(log_dir=sys.argv[1]))
        model.predict({"turns": 1})

        def predict_forever():
            while True:
                model.predict({"turns": 2000})

        for _ in range(4):
            threading.Thread(target=predict_forever, daemon=True).start()
        time.sleep(0.2)
        print("over")
    """
    for _ in range(3):
        assert run_script(script, tmp_path) == "over\n"
