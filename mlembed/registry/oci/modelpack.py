"""A bundle and an alias as OCI image manifests.

A bundle is a CNCF ModelPack artifact (https://github.com/modelpack/model-spec), one raw layer a
file, so that other tools can hold, copy and mount it. An alias is one manifest with every pointer there
was, so that one request moves both the alias and its log.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

from mlembed.bundle import strictjson
from mlembed.bundle.bundle import sha256
from mlembed.bundle.manifest import (
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    MAX_SIGNATURE_BYTES,
    SIGNATURE,
    is_name,
    is_version,
)
from mlembed.errors import RegistryError
from mlembed.registry.oci.artifact import (
    MAX_DOCUMENT_BYTES,
    Layer,
    read_manifest,
    refuse,
    write_manifest,
)
from mlembed.registry.pointer import MAX_POINTER_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed.bundle.bundle import Bundle

MANIFEST = "manifest.json"
MODEL_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
ALIAS_TYPE = "application/vnd.mlembed.alias.v1+json"
POINTER_TYPE = "application/vnd.mlembed.pointer.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"

_MODEL = "application/vnd.cncf.model.weight.v1.raw"
_DATA = "application/vnd.cncf.model.weight.config.v1.raw"
_DOCUMENT = "application/vnd.cncf.model.doc.v1.raw"
_TYPES = {"model": _MODEL, "card": _DOCUMENT, "evaluation": _DOCUMENT, "proof": _DOCUMENT}

_FILE = "org.cncf.model.filepath"
_NAME = "org.opencontainers.image.title"
_VERSION = "org.opencontainers.image.version"
_CREATED = "org.opencontainers.image.created"
_BUNDLE_ID = "io.mlembed.bundle.id"
_PUBLISHED = "io.mlembed.published"
_ALIAS = "io.mlembed.alias"
_SERIAL = "io.mlembed.serial"
_MAX_LAYERS = MAX_FILES + 1  # with the manifest, and the signature
_MAX_SERIAL_DIGITS = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A published bundle.

    Attributes:
        name: Name of the model.
        version: Its version.
        files: Layers by file name: the manifest, what it lists, and the signature if there is one.
        created: Time of packing, ISO 8601; empty where the bundle says none.
        published: Time of publishing, ISO 8601 in UTC.
    """

    name: str
    version: str
    files: Mapping[str, Layer]
    created: str
    published: str

    @classmethod
    def of(cls, bundle: Bundle) -> Artifact:
        """Return *bundle*, published now."""
        manifest = bundle.manifest
        roles = {file.path: file.role for file in manifest.files}
        contents = {MANIFEST: bundle.manifest_bytes, **bundle.files}
        layers = {
            path: _file(path, _TYPES.get(roles.get(path, ""), _DATA), data)
            for path, data in contents.items()
        }
        artifact = cls(
            name=manifest.name,
            version=manifest.version,
            files=layers,
            created=manifest.created if _moment(manifest.created) is not None else "",
            published=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
        return artifact.signed(bundle.signature) if bundle.signature else artifact

    @property
    def bundle_id(self) -> str:
        """The id of the bundle: what its manifest's layer says."""
        return self.files[MANIFEST].digest

    @property
    def published_at(self) -> float | None:
        """Unix time of publishing; None where it is not known."""
        moment = _moment(self.published)
        return moment.timestamp() if moment is not None else None

    def signed(self, signature: bytes) -> Artifact:
        """Return the same with *signature* instead of the one there may be."""
        layer = _file(SIGNATURE, _DATA, signature)
        return dataclasses.replace(self, files={**self.files, SIGNATURE: layer})

    def config(self) -> bytes:
        """Write the ModelPack configuration."""
        about = {"name": self.name, "version": self.version}
        if self.created:
            about["createdAt"] = self.created
        digests = [f"sha256:{layer.digest}" for layer in self.files.values()]
        return strictjson.dumps(
            {
                "descriptor": about,
                "config": {"format": "onnx"},
                "modelfs": {"type": "layers", "diffIds": digests},
            }
        )

    def to_bytes(self) -> bytes:
        """Write the manifest; equal artifacts give equal bytes."""
        annotations = {
            _NAME: self.name,
            _VERSION: self.version,
            _BUNDLE_ID: self.bundle_id,
            _PUBLISHED: self.published,
        }
        if self.created:
            annotations[_CREATED] = self.created
        config = Layer(
            media_type=CONFIG_TYPE, digest=sha256(self.config()), size=len(self.config())
        )
        return write_manifest(MODEL_TYPE, config, list(self.files.values()), annotations)

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Artifact:
        """Read a manifest, naming *place* in errors.

        Raises:
            IntegrityError: If it is not that of a bundle.
        """
        layers, annotations = read_manifest(data, place, MODEL_TYPE, CONFIG_TYPE)
        if len(layers) > _MAX_LAYERS:
            refuse(place, f"more than {_MAX_LAYERS} layers")
        files = {layer.annotations.get(_FILE, ""): layer for layer in layers}
        if len(files) != len(layers) or not all(map(is_name, files)):
            refuse(place, f"layers whose {_FILE} is missing, repeated or malformed")
        if not {layer.media_type for layer in layers} <= {_MODEL, _DATA, _DOCUMENT}:
            refuse(place, "layers that are no raw files of a model")
        for path, most in ((MANIFEST, MAX_MANIFEST_BYTES), (SIGNATURE, MAX_SIGNATURE_BYTES)):
            if path in files and files[path].size > most:
                refuse(place, f"a {path} of more than {most} bytes")
        if MANIFEST not in files or annotations.get(_BUNDLE_ID) != files[MANIFEST].digest:
            refuse(place, f"no {MANIFEST} that its {_BUNDLE_ID} speaks of")
        name, version = annotations.get(_NAME), annotations.get(_VERSION)
        if not (is_name(name) and is_version(version)):
            refuse(place, f"no {_NAME} and {_VERSION} of a model")
        return cls(
            name=str(name),
            version=str(version),
            files=files,
            created=annotations.get(_CREATED, ""),
            published=annotations.get(_PUBLISHED, ""),
        )


def pointer_layer(serial: int, data: bytes) -> Layer:
    """Return the layer of the pointer *data* with *serial*."""
    about = {_SERIAL: str(serial)}
    return Layer(media_type=POINTER_TYPE, digest=sha256(data), size=len(data), annotations=about)


def serial_of(layer: Layer) -> int:
    """Return the serial of a pointer's layer; 0 where it has none."""
    text = layer.annotations.get(_SERIAL, "")
    whole = text.isascii() and text.isdecimal() and len(text) <= _MAX_SERIAL_DIGITS
    return int(text) if whole else 0


def write_alias(name: str, alias: str, pointers: Sequence[Layer]) -> bytes:
    """Write the manifest of *alias*: every pointer there was, the oldest first.

    Raises:
        RegistryError: If there are more than a registry takes.
    """
    config = Layer(media_type=EMPTY_TYPE, digest=sha256(EMPTY), size=len(EMPTY))
    data = write_manifest(ALIAS_TYPE, config, pointers, {_NAME: name, _ALIAS: alias})
    if len(data) > MAX_DOCUMENT_BYTES:
        raise RegistryError(
            f"the log of {name}@{alias} is full: {len(pointers) - 1} pointers fill the "
            f"{MAX_DOCUMENT_BYTES} bytes that a registry takes; go on with another alias"
        )
    return data


def read_alias(data: bytes, place: str) -> tuple[Layer, ...]:
    """Return the pointers of an alias, the oldest first, naming *place* in errors.

    Raises:
        IntegrityError: If it is no alias, or its serials do not follow one another.
    """
    layers, _ = read_manifest(data, place, ALIAS_TYPE, EMPTY_TYPE)
    for layer in layers:
        if layer.media_type != POINTER_TYPE or layer.size > MAX_POINTER_BYTES:
            refuse(place, "layers that are no pointers")
    serials = [serial_of(layer) for layer in layers]
    if serials[0] < 1 or serials != [*range(serials[0], serials[0] + len(layers))]:
        refuse(place, "pointers whose serials do not follow one another")
    return tuple(layers)


def _file(path: str, media_type: str, data: bytes) -> Layer:
    about = {_FILE: path}
    return Layer(media_type=media_type, digest=sha256(data), size=len(data), annotations=about)


def _moment(text: str) -> dt.datetime | None:
    """Return the time *text* tells with its zone, None where it tells none."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
