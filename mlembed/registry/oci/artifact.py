"""OCI image manifests that hold plain files: how they are written, and read without belief.

What is read is exactly of the type that was asked for or is refused, is bounded, and says of bytes
nothing but their digest and length.
https://github.com/opencontainers/image-spec/blob/main/manifest.md
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NoReturn

from mlembed.bundle import strictjson
from mlembed.bundle.manifest import is_sha256
from mlembed.errors import BundleError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024  # what every registry takes (distribution-spec)
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"

_MAX_SIZE = 2**53  # what every reader of JSON holds exactly


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A file of a manifest: its media type, sha256 in hex, length in bytes and annotations."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)

    def to_json(self) -> dict[str, Any]:
        """Write the descriptor."""
        about = {"mediaType": self.media_type, "digest": f"sha256:{self.digest}", "size": self.size}
        return {**about, "annotations": dict(self.annotations)} if self.annotations else about


def write_manifest(
    artifact_type: str, config: Layer, layers: Sequence[Layer], annotations: Mapping[str, str]
) -> bytes:
    """Write a manifest; equal arguments give equal bytes."""
    return strictjson.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": artifact_type,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
            "annotations": dict(annotations),
        }
    )


def read_manifest(
    data: bytes, place: str, artifact_type: str, config_type: str
) -> tuple[list[Layer], dict[str, str]]:
    """Return the layers, one at least, and the annotations of a manifest of *artifact_type*.

    Raises:
        IntegrityError: If it is no such manifest; names *place*.
    """
    try:
        raw = strictjson.loads(data, place, MAX_DOCUMENT_BYTES)
    except BundleError:
        refuse(place, "what is no JSON")
    if not isinstance(raw, dict):
        refuse(place, "what is no manifest")
    kinds = (raw.get("schemaVersion"), raw.get("mediaType"), raw.get("artifactType"))
    if kinds != (2, MANIFEST_TYPE, artifact_type):
        refuse(place, f"what is no {artifact_type}")
    config = _layer(raw.get("config"))
    if config is None or config.media_type != config_type:
        refuse(place, f"no config of the type {config_type}")
    found, annotations = raw.get("layers"), _texts(raw.get("annotations"))
    layers = [_layer(item) for item in found] if isinstance(found, list) else []
    whole = [layer for layer in layers if layer is not None]
    if not whole or len(whole) != len(layers) or annotations is None:
        refuse(place, "layers or annotations that are none")
    return whole, annotations


def refuse(place: str, found: str) -> NoReturn:
    """Say that *place* holds something else than what was stored there.

    Raises:
        IntegrityError: Always.
    """
    raise IntegrityError(
        f"{place} holds {found}; it is refused. Restore that tag from a copy of the registry; or "
        "else publish the next version, or delete the alias's tag and promote again"
    )


def _layer(raw: Any) -> Layer | None:
    """Return the descriptor *raw*, None where it is none."""
    if not isinstance(raw, dict):
        return None
    media_type, size = raw.get("mediaType"), raw.get("size")
    algorithm, _, digest = str(raw.get("digest")).partition(":")
    annotations = _texts(raw.get("annotations"))
    if not (isinstance(media_type, str) and type(size) is int and 0 <= size < _MAX_SIZE):
        return None
    if algorithm != "sha256" or not is_sha256(digest) or annotations is None:
        return None
    return Layer(media_type=media_type, digest=digest, size=size, annotations=annotations)


def _texts(raw: Any) -> dict[str, str] | None:
    """Return annotations, none where they are left out, None where they are no texts."""
    if raw is None:
        return {}
    good = isinstance(raw, dict) and all(isinstance(text, str) for text in raw.values())
    return raw if good else None
