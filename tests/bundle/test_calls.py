"""Golden calls: every dtype survives, every difference is found, and nothing else is believed."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlembed.bundle import calls
from mlembed.bundle.bundle import pack
from mlembed.bundle.calls import GoldenCalls, difference, read_calls
from mlembed.errors import BundleError, GoldenError, IntegrityError
from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import Ref
from mlembed.serving.loading import Serving, serve
from mlembed.settings import Settings
from mlembed.tensors import DTYPES, Tensor
from tensorgraphs import MIXED, mixed_bundle, pixels_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle

QUIET = Serving(Settings(log=False))


def with_golden(change: Callable[[Any], None], bundle: Bundle | None = None) -> Bundle:
    """Return a bundle whose golden.json was changed before it was packed."""
    bundle = bundle or pixels_bundle()
    golden = json.loads(bundle.files["golden.json"])
    change(golden)
    manifest = dataclasses.replace(bundle.manifest, files=())
    return pack(manifest, {**bundle.files, "golden.json": json.dumps(golden).encode()})


def array_of(dtype: str) -> NDArray[Any]:
    """Return an array with the ends of a dtype's range."""
    if dtype == "string":
        return np.array([["", "a\0b", "😀"]], dtype=object)
    if dtype == "bool":
        return np.array([[True, False]])
    if dtype.startswith("float"):
        top = np.finfo(dtype).max
        return np.array([[0.1, -0.0, top, np.nan, np.inf, -np.inf]], dtype=dtype)
    return np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("empty", [False, True])
def test_every_dtype_survives(dtype: str, empty: bool) -> None:  # noqa: FBT001
    """What is read back is the very same: dtype, shape and every bit."""
    array = array_of(dtype)[:0] if empty else array_of(dtype)
    tensor = Tensor(name="x", dtype=dtype, shape=None)
    manifest = dataclasses.replace(
        pixels_bundle().manifest, inputs=(tensor,), outputs=(tensor,), score=None
    )
    written = GoldenCalls((({"x": array}, {"x": array}),), 0.0).to_bytes()

    ((inputs, outputs),) = read_calls(
        pack(
            dataclasses.replace(manifest, files=()),
            {**pixels_bundle().files, "golden.json": written},
        )
    ).calls

    for found in (inputs["x"], outputs["x"]):
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.tolist() == array.tolist() or difference(found, array, 0.0) == ""


def test_bundle_that_reproduces_its_calls_serves() -> None:
    """Loading replays each call; a bundle as packed passes."""
    for bundle in (pixels_bundle(), mixed_bundle()):
        assert serve(bundle, QUIET).version == "1.0.0"


def change_number(golden: Any) -> None:
    """Change one output float beyond what machines may differ."""
    written = golden["calls"][0]["outputs"]["odds"]
    values = np.frombuffer(base64.b64decode(written["base64"]), "<f4") + np.float32(0.01)
    written["base64"] = base64.b64encode(values.tobytes()).decode()


def change_class(golden: Any) -> None:
    """Change one whole number by one."""
    written = golden["calls"][0]["outputs"]["class"]
    values = np.frombuffer(base64.b64decode(written["base64"]), "<i8") + 1
    written["base64"] = base64.b64encode(values.tobytes()).decode()


def change_shape(golden: Any) -> None:
    """Give an output another axis."""
    golden["calls"][0]["outputs"]["odds"]["shape"] = [3]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (change_number, r"'odds' of call 0 is off by up to 0\.01"),
        (change_class, r"'class' of call 0 differs in 1 of 1 places"),
        (change_shape, r"'odds' of call 0 is float32\[1, 3\], expected float32\[3\]"),
    ],
)
def test_other_answers_are_not_put_in_service(change: Callable[[Any], None], why: str) -> None:
    """A graph that answers otherwise here is refused, with the output that differs."""
    with pytest.raises(GoldenError, match=why):
        serve(with_golden(change), QUIET)


def test_another_text_is_not_put_in_service() -> None:
    """Texts must be equal."""

    def change(golden: Any) -> None:
        golden["calls"][0]["outputs"]["echo"]["texts"][0] = "hello"

    with pytest.raises(GoldenError, match=r"'echo' of call 0 differs in 1 of 2 places"):
        serve(with_golden(change, mixed_bundle()), QUIET)


def test_a_golden_input_that_does_not_fit_is_told() -> None:
    """An input of another shape is no golden call of this graph."""

    def change(golden: Any) -> None:
        golden["calls"][0]["inputs"]["pixels"]["shape"] = [4]

    with pytest.raises(GoldenError, match=r"does not fit: .*'pixels' is float32\[4\]"):
        serve(with_golden(change), QUIET)


@pytest.mark.parametrize(
    "change",
    [
        lambda golden: golden.update(calls=[]),
        lambda golden: golden.update(calls={"a": 1}),
        lambda golden: golden.update(tolerance=True),
        lambda golden: golden.update(extra=1),
        lambda golden: golden.pop("tolerance"),
        lambda golden: golden["calls"].append(7),
        lambda golden: golden["calls"][0].pop("outputs"),
        lambda golden: golden["calls"][0]["inputs"].update(other={}),
        lambda golden: golden["calls"][0]["inputs"]["pixels"].update(dtype="float64"),
        lambda golden: golden["calls"][0]["inputs"]["pixels"].update(dtype="object"),
        lambda golden: golden["calls"][0]["inputs"]["pixels"].update(base64="not base64!"),
        lambda golden: golden["calls"][0]["inputs"]["pixels"].update(base64="AAAA"),
        lambda golden: golden["calls"][0]["inputs"]["pixels"].update(shape=[2**62, 2**62]),
        lambda golden: golden["calls"][0]["inputs"]["pixels"].update(shape=[-1, -2, 2]),
        lambda golden: golden["calls"][0]["inputs"]["pixels"].update(shape="N"),
    ],
)
def test_malformed_calls_are_refused(change: Callable[[Any], None]) -> None:
    """Whatever stands there instead of calls is an error that says to pack again."""
    with pytest.raises(BundleError, match=r"golden\.json holds no calls as its graph takes them"):
        serve(with_golden(change), QUIET)


def test_texts_must_be_texts() -> None:
    """A string tensor of numbers is refused."""

    def change(golden: Any) -> None:
        golden["calls"][0]["inputs"]["text"]["texts"] = [1, 2]

    with pytest.raises(BundleError, match="'text' holds no texts"):
        serve(with_golden(change, mixed_bundle()), QUIET)


def test_tampered_golden_file_is_never_read(tmp_path: Path) -> None:
    """A byte changed in the registry is found before the calls are looked at."""
    store = FileRegistry(tmp_path)
    store.publish(pixels_bundle())
    target = store.resolve(Ref("pixels", "1.0.0"))
    golden = pixels_bundle().files["golden.json"]
    (blob,) = [p for p in tmp_path.rglob("*") if p.is_file() and p.read_bytes() == golden]
    blob.chmod(0o644)
    blob.write_bytes(golden.replace(b'"tolerance":', b'"tolerance" :'))

    with pytest.raises(IntegrityError, match=r"golden\.json is not the file that was published"):
        store.fetch(target)


@pytest.mark.parametrize(
    ("given", "wanted", "why"),
    [
        ([1.0, 2.0], [1.0, 2.0 + 1e-4], ""),
        ([1.0, 2.0], [1.0, 2.001], "off by up to 0.001"),
        ([1e-9, 2e-9], [1e-9, 2.1e-9], "off by up to 1e-10"),
        ([0.0, 0.0], [0.0, 0.0], ""),
        ([np.nan, 1.0], [np.nan, 1.0], ""),
        ([np.nan, 1.0], [1.0, 1.0], "off by up to nan"),
        ([1.0, 1.0], [np.nan, 1.0], "infinite or no number in other places"),
        ([np.inf, 1.0], [-np.inf, 1.0], "infinite or no number in other places"),
        ([], [], ""),
    ],
)
def test_floats_may_differ_by_a_share_of_the_largest(
    given: list[float], wanted: list[float], why: str
) -> None:
    """The tolerance scales with the output, so small outputs are proved too."""
    found = difference(np.array(given), np.array(wanted), 1e-4)

    assert found == "" if not why else why in found


def test_too_large_calls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden calls are replayed at every start, so they stay small."""
    monkeypatch.setattr(calls, "MAX_BYTES", 10)

    with pytest.raises(BundleError, match=r"golden calls would take 32 bytes, at most 10"):
        GoldenCalls((({"x": np.zeros(4)}, {}),), 0.0).to_bytes()


def test_equal_calls_give_equal_bytes() -> None:
    """The order of arrays in memory, and their byte order, leave no trace."""
    big = {name: np.asarray(value) for name, value in MIXED.items()}
    big["ids"] = np.asfortranarray(big["ids"]).astype(">i8")

    plain = GoldenCalls((({n: np.asarray(v) for n, v in MIXED.items()}, {}),), 0.0)

    assert GoldenCalls(((big, {}),), 0.0).to_bytes() == plain.to_bytes()
