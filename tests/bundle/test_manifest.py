"""A manifest has one form: its bytes never drift, and any other form is refused by name."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import toy_bundle
from mlembed.bundle.bundle import pack
from mlembed.bundle.manifest import (
    MAX_MANIFEST_BYTES,
    Interval,
    Manifest,
    Task,
    is_name,
    is_version,
)
from mlembed.columns import Category, Column
from mlembed.errors import BundleError
from mlembed.features import cyclic, hour_of_day, log1p

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[1] / "golden" / "manifest.json"
UPDATE = "MLEMBED_UPDATE_GOLDEN"
FILES = {"model.onnx": b"a graph", "golden.json": b"{}", "card.md": b"# Card"}
MANIFEST = Manifest(
    name="income",
    version="1.2.0",
    created="2026-01-02T03:04:05+00:00",
    columns=(
        Column(name="age", kind="number", minimum=0.0, maximum=120.0, unit="years"),
        Column(
            name="job",
            kind="category",
            nullable=True,
            vocabulary=("clerk", "été"),
            rare=True,
            rule=Category(min_count=5),
        ),
        Column(name="seen", kind="timestamp"),
    ),
    transforms={
        "hour": cyclic(hour_of_day("seen", 1), 24).to_json(),
        "log": log1p("age").to_json(),
    },
    features=("age", "job", "hour_sin", "hour_cos", "log"),
    task=Task(kind="binary", label="income", positive=">50K", abstain=(0.4, 0.6)),
    metrics={"roc_auc": 0.9271, "error": 1e-7},
    training={"estimator": "LogisticRegression", "seed": 7, "versions": {"numpy": "2.3"}},
    onnx={"ir_version": 10, "opsets": {"": 21, "ai.onnx.ml": 5}},
    runtime={"onnxruntime": ">=1.24"},
)


def changed(**values: Any) -> bytes:
    """Return the bytes of a good manifest with some keys replaced; None removes one."""
    data = json.loads(toy_bundle().manifest_bytes) | values
    return json.dumps({key: value for key, value in data.items() if value is not ...}).encode()


def one_file(**values: Any) -> bytes:
    """Return the bytes of a manifest whose first file's entry is changed."""
    files = json.loads(toy_bundle().manifest_bytes)["files"]
    return changed(files=[files[0] | values, *files[1:]])


def file_entry(path: str) -> dict[str, Any]:
    """Return a well-formed entry for a card at *path*."""
    return {"path": path, "size": 1, "sha256": "0" * 64, "role": "card"}


def within(kind: str = "regression", **values: Any) -> dict[str, Any]:
    """Return a task with an interval, parts of which are replaced."""
    interval = {"level": 0.9, "below": 1.2, "above": 3.4} | values
    return {"task": {"kind": kind, "label": "y", "interval": interval}}


def test_manifest_holds_an_interval_only_where_there_is_one() -> None:
    """An interval is written and read; without one the task has the keys it always had."""
    told = Interval(level=0.9, below=1.2, above=3.4)
    task = Task(kind="regression", label="rides", interval=told)
    bundle = pack(dataclasses.replace(MANIFEST, task=task), FILES)

    raw = json.loads(bundle.manifest_bytes)["task"]
    assert raw["interval"] == {"level": 0.9, "below": 1.2, "above": 3.4}
    assert Manifest.from_bytes(bundle.manifest_bytes).task == task
    plain = json.loads(pack(MANIFEST, FILES).manifest_bytes)["task"]
    assert plain.keys() == raw.keys() - {"interval"}


def among(classes: Any, kind: str = "multiclass") -> dict[str, Any]:
    """Return a task with *classes*."""
    return {"task": {"kind": kind, "label": "y", "classes": classes}}


def test_manifest_holds_classes_only_of_a_multiclass() -> None:
    """Classes are written and read in their order; without them the task has the keys it had."""
    task = Task(kind="multiclass", label="mode", classes=("tram", "bus", "été"))
    bundle = pack(dataclasses.replace(MANIFEST, task=task), FILES)

    raw = json.loads(bundle.manifest_bytes)["task"]
    assert raw["classes"] == ["tram", "bus", "été"]
    assert Manifest.from_bytes(bundle.manifest_bytes).task == task
    plain = json.loads(pack(MANIFEST, FILES).manifest_bytes)["task"]
    assert plain.keys() == raw.keys() - {"classes"}


def test_manifest_bytes_are_golden() -> None:
    """The bytes that digests stand for stay the same from release to release.

    Set MLEMBED_UPDATE_GOLDEN=1 to accept new bytes: every published bundle then gets another id.
    """
    data = pack(MANIFEST, FILES).manifest_bytes
    if os.environ.get(UPDATE):
        GOLDEN.write_bytes(data)

    assert data == GOLDEN.read_bytes()


def test_manifest_round_trip() -> None:
    """A manifest reads back equal and writes the same bytes again."""
    bundle = pack(MANIFEST, FILES)

    again = Manifest.from_bytes(bundle.manifest_bytes)

    assert again == bundle.manifest
    assert again.to_bytes() == bundle.manifest_bytes
    assert dataclasses.replace(again, files=()) == MANIFEST


@given(order=st.permutations(list(FILES)))
def test_manifest_bytes_ignore_the_order_of_files(order: list[str]) -> None:
    """The same files give the same id, however they are handed over."""
    assert pack(MANIFEST, {name: FILES[name] for name in order}).id == pack(MANIFEST, FILES).id


@pytest.mark.parametrize("schema", [2, 0, "1", 1.0, True, None])
def test_manifest_refuses_another_schema(schema: Any) -> None:
    """A newer format asks for a newer mlembed, before anything else of it is read."""
    with pytest.raises(BundleError, match="expected schema 1; a newer bundle needs a newer"):
        Manifest.from_bytes(json.dumps({"schema": schema, "future": []}).encode())


@pytest.mark.parametrize("data", [b"[]", b"5", b"null", b'"manifest"'])
def test_manifest_refuses_what_is_no_object(data: bytes) -> None:
    """JSON that is no object is no manifest."""
    with pytest.raises(BundleError, match="expected schema 1"):
        Manifest.from_bytes(data)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"requires": ["teleport"]}, r"requires \['teleport'\], unknown to this mlembed"),
        ({"colour": "red"}, r"keys differ by \['colour'\]"),
        ({"metrics": ...}, r"keys differ by \['metrics'\]"),
        ({"name": "../toy"}, "the name must be"),
        ({"name": "Toy"}, "the name must be"),
        ({"name": "nul"}, "the name must be"),
        ({"name": 5}, "name must be text"),
        ({"version": "1.0"}, "version must be major.minor.patch"),
        ({"version": "01.0.0"}, "version must be major.minor.patch"),
        ({"version": "1.0.0-rc1"}, "version must be major.minor.patch"),
        ({"version": "1.0.0\n"}, "version must be major.minor.patch"),
        ({"version": "1٢.0.0"}, "version must be major.minor.patch"),
        ({"version": None}, "version must be text"),
        ({"created": 5}, "created must be text"),
        ({"created": "yesterday"}, "created must be a time in UTC"),
        ({"created": "2026-01-02T03:04:05"}, "created must be a time in UTC"),
        ({"created": "2026-01-02T03:04:05+02:00"}, "created must be a time in UTC"),
        ({"created": "2026-13-02T03:04:05+00:00"}, "created must be a time in UTC"),
        ({"created": "2026-01-02\x1b03:04:05+00:00"}, "created must be a time in UTC"),
        ({"created": "20260102T030405Z"}, "created must be a time in UTC"),
        ({"created": "2026-01-02T03:04:05Z\n"}, "created must be a time in UTC"),
        ({"columns": []}, "columns must be there"),
        ({"columns": {}}, "columns must be a list of objects"),
        ({"columns": ["age"]}, "columns must be a list of objects"),
        ({"columns": [{"name": "a", "kind": "number"}] * 2}, "each once"),
        ({"columns": [{"name": "a", "kind": "tensor"}]}, "a column is malformed: kind must be"),
        ({"columns": [{"name": "a"}]}, "name and kind are owed"),
        ({"training": {"note": ["a\0b"]}}, "a text holds NUL; clean the data"),
        ({"metrics": {"a\0b": 1}}, "a text holds NUL; clean the data"),
        ({"features": "age"}, "features must be a list of texts"),
        ({"features": [1]}, "features must be a list of texts"),
        ({"requires": "teleport"}, "requires must be a list of texts"),
        ({"transforms": []}, "transforms must be an object"),
        ({"metrics": {"roc_auc": "0.9"}}, "metrics must be numbers"),
        ({"metrics": {"roc_auc": None}}, "metrics must be numbers"),
        ({"training": None}, "training must be an object"),
        ({"onnx": 10}, "onnx must be an object"),
        ({"runtime": ["onnxruntime"]}, "runtime must be an object"),
        ({"task": "binary"}, "task must be an object"),
        ({"task": {"kind": "binary"}}, "malformed.*label"),
        ({"task": {"kind": "binary", "label": "y", "colour": 1}}, "malformed.*colour"),
        ({"task": {"kind": "ranking", "label": "y"}}, "task must be binary or regression"),
        ({"task": {"kind": [], "label": "y"}}, "task must be binary or regression"),
        ({"task": {"kind": "binary", "label": 5}}, "label, positive class and unit must be text"),
        ({"task": {"kind": "binary", "label": "y", "threshold": "0.5"}}, "threshold must be"),
        ({"task": {"kind": "binary", "label": "y", "abstain": 5}}, "malformed"),
        ({"task": {"kind": "binary", "label": "y", "abstain": [0.5]}}, "abstain band must be two"),
        ({"task": {"kind": "binary", "label": "y", "abstain": [0.6, 0.4]}}, "the lower first"),
        ({"task": {"kind": "binary", "label": "y", "abstain": "ab"}}, "abstain band must be two"),
        (within(level=1.0), "interval must be a level between 0 and 1"),
        (within(level=True), "interval must be a level between 0 and 1"),
        (within(below="1"), "interval must be a level between 0 and 1 and two numbers"),
        (within(above=-1.3), "the lower end not above the upper"),
        (within("binary"), "interval must be .* of a regression"),
        (within(middle=0.0), "malformed.*middle"),
        ({"task": {"kind": "regression", "label": "y", "interval": {}}}, "empty interval"),
        ({"task": {"kind": "regression", "label": "y", "interval": None}}, "empty interval"),
        ({"task": {"kind": "regression", "label": "y", "interval": [1, 2, 3]}}, "malformed"),
        (among(["a"]), "classes must be 2 to 1000 texts"),
        (among([f"{number}" for number in range(1001)]), "classes must be 2 to 1000 texts"),
        (among(["a", "b", "a"]), "classes must be .* each once"),
        (among(["a", ""]), "classes must be 2 to 1000 texts"),
        (among(["a", 5, []]), "classes must be 2 to 1000 texts"),
        (among(["a", "b\0"]), "a text holds NUL"),
        (among(["a", "b"], "binary"), "of a multiclass, and of no other"),
        (among([]), "or no classes; leave them out"),
        (among("ab"), "classes must be a list of texts"),
        ({"task": {"kind": "multiclass", "label": "y"}}, "classes must be 2 to 1000 texts"),
    ],
    ids=str,
)
def test_manifest_refuses(values: dict[str, Any], words: str) -> None:
    """Every key has one type and one meaning; what differs is named."""
    with pytest.raises(BundleError, match=words):
        Manifest.from_bytes(changed(**values))


@pytest.mark.parametrize(
    "path",
    [
        *("../x", "/etc/passwd", "a/b", "a\\b", "..", ".", "", "a\0b", "a\nb", "A.md", ".hidden"),
        *("con", "nul.json", "com1.md", "x.", "é.md", "x" * 65, "manifest.json", 5, None, ["x"]),
    ],
    ids=repr,
)
def test_manifest_refuses_file_names_that_leave_the_bundle(path: Any) -> None:
    """A file's name is one plain word, on every operating system."""
    files = [*json.loads(toy_bundle().manifest_bytes)["files"], file_entry(path)]

    with pytest.raises(BundleError, match=r"files must be 1 to 15, each once, named|holds NUL"):
        Manifest.from_bytes(changed(files=files))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (lambda: one_file(role="script"), "golden.json: unknown role"),
        (lambda: one_file(role=[]), "golden.json: unknown role"),
        (lambda: one_file(size=-1), "golden.json: size or sha256"),
        (lambda: one_file(size=2**31), "golden.json: it is larger than 2147483647 bytes"),
        (lambda: one_file(size=1.5), "golden.json: size or sha256"),
        (lambda: one_file(size=True), "golden.json: size or sha256"),
        (lambda: one_file(sha256="0" * 63), "golden.json: size or sha256"),
        (lambda: one_file(sha256="A" * 64), "golden.json: size or sha256"),
        (lambda: one_file(sha256=None), "golden.json: size or sha256"),
        (lambda: one_file(path="model.onnx"), "each once"),
        (lambda: one_file(role="card"), "model.onnx and golden.json are owed"),
        (lambda: one_file(mode=0o777), "malformed.*mode"),
        (lambda: changed(files=[]), "files must be 1 to 15"),
        (lambda: changed(files=[file_entry("card.md")]), "are owed"),
        (lambda: changed(files=["model.onnx"]), "files must be a list of objects"),
    ],
)
def test_manifest_refuses_bad_file_entries(data: Callable[[], bytes], words: str) -> None:
    """A file has a role, a size and a digest, and model and golden rows are always there."""
    with pytest.raises(BundleError, match=words):
        Manifest.from_bytes(data())


def test_manifest_refuses_seventeen_files() -> None:
    """A bundle holds sixteen files at most, its manifest among them."""
    files = json.loads(toy_bundle().manifest_bytes)["files"]
    cards = [file_entry(f"card{number}.md") for number in range(16 - len(files))]

    assert len(Manifest.from_bytes(changed(files=[*files, *cards[1:]])).files) == 15
    with pytest.raises(BundleError, match="files must be 1 to 15"):
        Manifest.from_bytes(changed(files=[*files, *cards]))


def test_manifest_refuses_more_than_one_file_could_hold() -> None:
    """Files are bounded one by one, as a graph's format is, and together."""
    good = json.loads(toy_bundle().manifest_bytes)["files"]
    large = [file | {"size": 2**31 - 1} for file in good]

    Manifest.from_bytes(changed(files=[*large[:1], *good[1:]]))
    with pytest.raises(BundleError, match="larger than 4292870144 bytes together"):
        Manifest.from_bytes(changed(files=[*large[:2], *good[2:]]))


@pytest.mark.parametrize("created", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123+00:00"])
def test_manifest_takes_a_time_in_utc(created: str) -> None:
    """Zulu or an offset of zero, with or without parts of a second."""
    assert Manifest.from_bytes(changed(created=created)).created == created


@pytest.mark.parametrize(
    "values",
    [
        {"x" * 500_000: 1},
        {"requires": ["x" * 500_000]},
        {"requires": ["x"] * 100_000},
        {"task": {"kind": "binary", "label": "y", "x" * 500_000: 1}},
        {"score": {"x" * 500_000: 1}, "inputs": [], "outputs": []},
    ],
    ids=lambda values: min(values)[:8],
)
def test_manifest_refuses_briefly(values: dict[str, Any]) -> None:
    """What a stranger wrote fills no log."""
    with pytest.raises(BundleError) as caught:
        Manifest.from_bytes(changed(**values))

    assert len(str(caught.value)) < 2_000


def test_manifest_lists_every_problem() -> None:
    """All that is wrong stands in one message."""
    data = changed(version="x", requires=["a"], task={"kind": "x", "label": "y"}, files=[])

    with pytest.raises(BundleError) as caught:
        Manifest.from_bytes(data)

    words = ("requires", "version", "task must be", "files must be", "are owed")
    assert all(word in str(caught.value) for word in words)


def test_manifest_refuses_more_than_a_mebibyte() -> None:
    """A huge manifest is refused unread."""
    data = changed(training={"note": "x" * MAX_MANIFEST_BYTES})

    with pytest.raises(BundleError, match=r"manifest.json is larger than 1048576 bytes"):
        Manifest.from_bytes(data)


def test_pack_refuses_a_manifest_nobody_could_read() -> None:
    """A bundle that grew too large is refused where it is packed, with the remedy."""
    vocabulary = tuple(f"{number:05}" + "x" * 10_000 for number in range(150))
    columns = (Column(name="job", kind="category", vocabulary=vocabulary),)

    with pytest.raises(BundleError, match="learn smaller vocabularies"):
        pack(dataclasses.replace(MANIFEST, columns=columns), FILES)


def test_pack_refuses_files_without_a_role() -> None:
    """Only the files a bundle knows go into it."""
    with pytest.raises(BundleError, match=r"not \['notes.txt'\]"):
        pack(MANIFEST, FILES | {"notes.txt": b""})


@given(
    data=st.dictionaries(
        st.sampled_from(sorted(json.loads(MANIFEST.to_bytes()))),
        st.none() | st.booleans() | st.integers() | st.text() | st.just([[]]) | st.just([{}]),
        max_size=3,
    )
)
def test_manifest_from_bytes_raises_nothing_but_bundle_error(data: dict[str, Any]) -> None:
    """Whatever stands under whatever key, it is a manifest or a `BundleError`."""
    try:
        manifest = Manifest.from_bytes(changed(**data))
    except BundleError:
        return

    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


@pytest.mark.parametrize("text", ["a", "a-b_c.d", "0", "x" * 64, "console", "com", "aux1"])
def test_is_name_allows(text: str) -> None:
    """Plain words are names."""
    assert is_name(text)


@pytest.mark.parametrize("text", ["", "-a", "a b", "con", "con.json", "lpt9", "a.", "ä", 5, None])
def test_is_name_refuses(text: Any) -> None:
    """What no file system may hold is no name."""
    assert not is_name(text)


@pytest.mark.parametrize("text", ["1.0", "1.0.0.0", "v1.0.0", "1.0.00", "1.0.0 ", "", None, 1.0])
def test_is_version_refuses(text: Any) -> None:
    """A version is three numbers without leading zeros."""
    assert not is_version(text)
