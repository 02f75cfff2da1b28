"""What is fuzzed: every parser of bytes that come from elsewhere, and real bytes to begin with.

A target may raise mlembed's own errors and nothing else, and what it accepts must be written as it
was read.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bundles import toy_bundle
from mlembed.bundle import strictjson
from mlembed.bundle.bundle import sha256
from mlembed.bundle.dsse import Envelope
from mlembed.bundle.keys import PublicKey, Signer, new_key
from mlembed.bundle.manifest import Manifest
from mlembed.bundle.signature import sign, verify
from mlembed.bundle.single import read_single, write_single
from mlembed.errors import MlembedError
from mlembed.registry.issue import Issuer
from mlembed.registry.modelpack import Artifact, pointer_layer, read_alias, write_alias
from mlembed.registry.pointer import Target, read_entry
from tensorgraphs import pixels_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

TOY = dataclasses.replace(toy_bundle(), signature=b"")
_PRIVATE, _PUBLIC = new_key()
_KEY = PublicKey.from_pem(_PUBLIC)
_SIGNER = Signer.from_pem(_PRIVATE)
_FOLDER = Path(tempfile.mkdtemp(prefix="mlembed-fuzz-"))


def manifest(data: bytes) -> None:
    """Read a manifest; what is accepted keeps its meaning when it is written again."""
    read = Manifest.from_bytes(data)
    assert Manifest.from_bytes(read.to_bytes()) == read


def json(data: bytes) -> None:
    """Read JSON; what is accepted can be written and read again."""
    value = strictjson.loads(data, "fuzz", 1_000_000)
    assert strictjson.loads(strictjson.dumps(value), "fuzz") == value


def single(data: bytes) -> None:
    """Read a single-file bundle; what is accepted is, byte for byte, what would be written."""
    path = _FOLDER / "fuzz.mlb"
    path.write_bytes(data)
    bundle = read_single(path)
    again = _FOLDER / "again.mlb"
    again.unlink(missing_ok=True)
    write_single(bundle, again)
    written = again.read_bytes()
    assert written == data
    assert read_single(again) == bundle


def pointer(data: bytes) -> None:
    """Read a stored pointer; what is accepted is just as it was written."""
    entry = read_entry(data, "fuzz")
    assert entry.envelope.to_bytes() == data
    assert entry.pointer.to_bytes() == entry.envelope.payload
    assert not entry.envelope.signed_by([_KEY]) or data == _SEALED


def envelope(data: bytes) -> None:
    """Read an envelope and judge its signatures."""
    read = Envelope.from_bytes(data, "fuzz", 1_000_000)
    assert Envelope.from_bytes(read.to_bytes(), "fuzz", 2_000_000) == read
    read.signed_by([_KEY])


def signature(data: bytes) -> None:
    """Judge a bundle's signature; only what the key signed is accepted."""
    verify(dataclasses.replace(TOY, signature=data), [_KEY])


def oci_artifact(data: bytes) -> None:
    """Read an OCI manifest of a bundle."""
    Artifact.from_bytes(data, "fuzz")


def oci_alias(data: bytes) -> None:
    """Read an OCI manifest of an alias."""
    read_alias(data, "fuzz")


_POINTER = Issuer(by="fuzz").issue(
    Target("toy", "1.0.0", TOY.id), "champion", "promote", "because", None
)
_SEALED = _POINTER.sealed(_SIGNER)


def _single_file() -> bytes:
    path = _FOLDER / "seed.mlb"
    write_single(TOY, path)
    return path.read_bytes()


TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "manifest": (manifest, [TOY.manifest_bytes, pixels_bundle().manifest_bytes]),
    "json": (json, [b'{"a":[1,2.5,null,true,"\\u00e4"]}', TOY.files["golden.json"][:2000]]),
    "single": (single, [_single_file()]),
    "pointer": (pointer, [_SEALED, _POINTER.sealed()]),
    "envelope": (envelope, [_SEALED]),
    "signature": (signature, [sign(TOY, _SIGNER)]),
    "oci-artifact": (oci_artifact, [Artifact.of(TOY).to_bytes()]),
    "oci-alias": (oci_alias, [write_alias("toy", "champion", [pointer_layer(1, _SEALED)])]),
}


def run(name: str, data: bytes) -> None:
    """Give *data* to a target.

    Raises:
        Exception: Whatever is a fault.
    """
    try:
        TARGETS[name][0](data)
    except MlembedError:
        pass  # refused, in our own words
    except RecursionError as error:  # never a host's problem
        raise AssertionError(f"{sha256(data)[:12]} exhausts the stack") from error
