"""A bundle and an alias are written as other tools expect them, and read without belief."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.bundle import strictjson
from mlembed.bundle.bundle import sha256
from mlembed.errors import IntegrityError, MlembedError, RegistryError
from mlembed.registry.oci import modelpack
from mlembed.registry.oci.artifact import MAX_DOCUMENT_BYTES
from mlembed.registry.oci.modelpack import (
    Artifact,
    pointer_layer,
    read_alias,
    serial_of,
    write_alias,
)
from registry.stock import bundle

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = "oci://host/toy:1.0.0"
SIGNED = dataclasses.replace(bundle(), signature=b'{"signature":1}')
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def manifest() -> Any:
    """Return the parsed manifest of a signed bundle, to be spoilt."""
    return json.loads(Artifact.of(SIGNED).to_bytes())


def alias(*numbers: int) -> Any:
    """Return the parsed manifest of an alias with pointers of these serials, to be spoilt."""
    layers = [pointer_layer(number, b"pointer %d" % number) for number in numbers]
    return json.loads(write_alias("toy", "champion", layers))


def test_artifact_is_a_modelpack() -> None:
    """The manifest has the types, annotations and layers of the ModelPack specification."""
    artifact = Artifact.of(SIGNED)
    found = manifest()

    files = {"manifest.json": SIGNED.manifest_bytes, **SIGNED.files}
    files["bundle.sig.json"] = SIGNED.signature
    kinds = {"model.onnx": "weight.v1.raw", "card.md": "doc.v1.raw"}
    assert found == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.cncf.model.config.v1+json",
            "digest": f"sha256:{sha256(artifact.config())}",
            "size": len(artifact.config()),
        },
        "layers": [
            {
                "mediaType": f"application/vnd.cncf.model.{kinds.get(path, 'weight.config.v1.raw')}",
                "digest": f"sha256:{sha256(data)}",
                "size": len(data),
                "annotations": {"org.cncf.model.filepath": path},
            }
            for path, data in files.items()
        ],
        "annotations": {
            "io.mlembed.bundle.id": SIGNED.id,
            "io.mlembed.published": artifact.published,
            "org.opencontainers.image.created": SIGNED.manifest.created,
            "org.opencontainers.image.title": "toy",
            "org.opencontainers.image.version": "1.0.0",
        },
    }


def test_artifact_has_the_three_sections_of_its_config() -> None:
    """The configuration has a descriptor, a format, and the digest of each layer in order."""
    config = json.loads(Artifact.of(SIGNED).config())

    assert config == {
        "descriptor": {
            "name": "toy",
            "version": "1.0.0",
            "createdAt": SIGNED.manifest.created,
        },
        "config": {"format": "onnx"},
        "modelfs": {"type": "layers", "diffIds": [x["digest"] for x in manifest()["layers"]]},
    }


def test_artifact_is_read_as_it_was_written() -> None:
    """Reading a manifest gives the artifact, and writing that gives the same bytes."""
    artifact = Artifact.of(SIGNED)
    data = artifact.to_bytes()

    read = Artifact.from_bytes(data, HERE)
    assert read == artifact
    assert read.to_bytes() == data
    assert read.bundle_id == SIGNED.id
    assert read.published_at is not None


def test_artifact_is_signed_again() -> None:
    """A signature is added or replaced, and nothing else of the artifact changes."""
    plain = Artifact.of(bundle())
    signed = dataclasses.replace(Artifact.of(SIGNED), published=plain.published)

    assert plain.signed(SIGNED.signature) == signed
    assert plain.signed(b"other").signed(SIGNED.signature) == signed
    assert signed.config() != plain.config()


def test_artifact_without_times() -> None:
    """A bundle that tells no time of packing has none, and a bad time of publishing is none."""
    unknown = dataclasses.replace(
        bundle(), manifest=dataclasses.replace(bundle().manifest, created="")
    )
    artifact = Artifact.of(unknown)
    spoilt = manifest()
    for text in ("yesterday", "2026-01-01T00:00:00"):
        spoilt["annotations"]["io.mlembed.published"] = text
        assert Artifact.from_bytes(strictjson.dumps(spoilt), HERE).published_at is None

    assert "createdAt" not in json.loads(artifact.config())["descriptor"]
    assert "org.opencontainers.image.created" not in json.loads(artifact.to_bytes())["annotations"]
    assert Artifact.from_bytes(artifact.to_bytes(), HERE) == artifact


def _drop(*keys: str | int) -> Callable[[Any], object]:
    def spoil(raw: Any) -> object:
        for key in keys[:-1]:
            raw = raw[key]
        return raw.pop(keys[-1])

    return spoil


def _set(value: Any, *keys: str | int) -> Callable[[Any], object]:
    def spoil(raw: Any) -> object:
        for key in keys[:-1]:
            raw = raw[key]
        raw[keys[-1]] = value
        return raw

    return spoil


FILE = "org.cncf.model.filepath"
BAD: dict[str, Callable[[Any], object]] = {
    "another media type": _set("application/vnd.oci.image.index.v1+json", "mediaType"),
    "another artifact": _set(modelpack.ALIAS_TYPE, "artifactType"),
    "no artifact type": _drop("artifactType"),
    "another schema": _set(1, "schemaVersion"),
    "no config": _drop("config"),
    "another config": _set("application/vnd.oci.empty.v1+json", "config", "mediaType"),
    "a config that is text": _set("sha256:0", "config"),
    "no layers": _set([], "layers"),
    "layers that are text": _set("layers", "layers"),
    "a layer that is text": _set("layer", "layers", 1),
    "a digest of another kind": _set(f"sha512:{'0' * 64}", "layers", 1, "digest"),
    "a digest that is short": _set("sha256:00", "layers", 1, "digest"),
    "no digest": _drop("layers", 1, "digest"),
    "a negative size": _set(-1, "layers", 1, "size"),
    "a size that is true": _set(True, "layers", 1, "size"),  # noqa: FBT003  JSON's true
    "a huge size": _set(10**30, "layers", 1, "size"),
    "a tar": _set("application/vnd.cncf.model.weight.v1.tar", "layers", 1, "mediaType"),
    "a media type that is none": _set(None, "layers", 1, "mediaType"),
    "a file twice": lambda raw: raw["layers"].append(raw["layers"][1]),
    "two manifests": _set("manifest.json", "layers", 1, "annotations", FILE),
    "a file elsewhere": _set("../model.onnx", "layers", 1, "annotations", FILE),
    "a file without a name": _drop("layers", 1, "annotations"),
    "annotations that are a list": _set([], "layers", 1, "annotations"),
    "annotations that are numbers": _set({FILE: 1}, "layers", 1, "annotations"),
    "no manifest.json": _drop("layers", 0),
    "a huge manifest.json": _set(2**30, "layers", 0, "size"),
    "a huge signature": _set(2**30, "layers", -1, "size"),
    "another bundle": _set("0" * 64, "annotations", "io.mlembed.bundle.id"),
    "no annotations": _drop("annotations"),
    "a bad name": _set("../toy", "annotations", "org.opencontainers.image.title"),
    "a bad version": _set("latest", "annotations", "org.opencontainers.image.version"),
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
def test_artifact_refuses(spoil: Callable[[Any], object]) -> None:
    """A manifest that is anything but a bundle's is refused, with its place and a remedy."""
    raw = manifest()
    assert len({layer["annotations"][FILE] for layer in raw["layers"]}) == len(raw["layers"])
    spoil(raw)

    with pytest.raises(IntegrityError, match=r"oci://host/toy:1\.0\.0 holds .*refused\. Restore"):
        Artifact.from_bytes(strictjson.dumps(raw), HERE)


def test_artifact_refuses_thousands_of_layers() -> None:
    """More files than a bundle may have are refused, and more bytes are not even parsed."""
    raw = manifest()
    raw["layers"] += [{**raw["layers"][1], "annotations": {FILE: f"file{n}"}} for n in range(5_000)]

    with pytest.raises(IntegrityError, match="more than 17 layers"):
        Artifact.from_bytes(strictjson.dumps(raw), HERE)
    with pytest.raises(IntegrityError, match="what is no JSON"):
        Artifact.from_bytes(b" " * (MAX_DOCUMENT_BYTES + 1), HERE)


def test_alias_holds_its_log() -> None:
    """An alias is one artifact whose layers are its pointers, the oldest first."""
    raw = alias(4, 5)

    assert raw["artifactType"] == "application/vnd.mlembed.alias.v1+json"
    assert raw["config"] == {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": f"sha256:{sha256(b'{}')}",
        "size": 2,
    }
    assert raw["annotations"] == {
        "io.mlembed.alias": "champion",
        "org.opencontainers.image.title": "toy",
    }
    assert raw["layers"][0] == {
        "mediaType": "application/vnd.mlembed.pointer.v1+json",
        "digest": f"sha256:{sha256(b'pointer 4')}",
        "size": 9,
        "annotations": {"io.mlembed.serial": "4"},
    }
    layers = read_alias(strictjson.dumps(raw), HERE)
    assert [(serial_of(x), x.digest) for x in layers] == [
        (n, sha256(b"pointer %d" % n)) for n in (4, 5)
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        *[_set(serial, "layers", 1, "annotations", "io.mlembed.serial") for serial in ("1", "3")],
        *[
            _set(serial, "layers", 0, "annotations", "io.mlembed.serial")
            for serial in ("", "0", "-1", "1.0", "²", "9" * 40)
        ],
        _drop("layers", 0, "annotations"),
        _set(2**20, "layers", 0, "size"),
        _set("application/json", "layers", 0, "mediaType"),
        _set(modelpack.MODEL_TYPE, "artifactType"),
        _set(modelpack.CONFIG_TYPE, "config", "mediaType"),
        _set([], "layers"),
    ],
)
def test_alias_refuses(spoil: Callable[[Any], object]) -> None:
    """A log with a gap, a repeat or something else in it is refused."""
    raw = alias(1, 2)
    spoil(raw)

    with pytest.raises(IntegrityError, match="delete the alias's tag and promote again"):
        read_alias(strictjson.dumps(raw), HERE)


def test_alias_has_an_end() -> None:
    """A log that no registry would take is refused before it is sent; 16 000 pointers fit."""
    layers = [pointer_layer(number, b"x") for number in range(1, 25_000)]

    assert len(read_alias(write_alias("toy", "champion", layers[:16_000]), HERE)) == 16_000
    with pytest.raises(RegistryError, match="the log of toy@champion is full: 24998 pointers"):
        write_alias("toy", "champion", layers)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    """Whatever a server sends as a manifest, the error is one of mlembed's."""
    for read in (Artifact.from_bytes, read_alias):
        with pytest.raises(MlembedError):
            read(data, HERE)


@given(st.data())
def test_manifests_with_arbitrary_parts_are_refused_or_read(data: st.DataObject) -> None:
    """Whatever stands in one place of a manifest, it is read or refused."""
    model = data.draw(st.booleans())
    raw: Any = manifest() if model else alias(1, 2, 3)
    node: Any = raw
    while True:
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(list(keys)))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(JSON)

    try:
        read = Artifact.from_bytes if model else read_alias
        found: Any = read(json.dumps(raw).encode(), HERE)
        if model:
            assert found.signed(b"").to_bytes()
            assert found.published_at != 0
    except MlembedError:
        pass
