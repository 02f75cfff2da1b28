"""What is fuzzed: every parser of bytes that come from elsewhere, and real bytes to begin with.

A target may raise mlembed's own errors and nothing else, and what it accepts must be written as it
was read. A parser more is a function and a line in `TARGETS`.
"""

from __future__ import annotations

import atexit
import dataclasses
import re
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from bundles import toy_bundle
from mlembed.bundle import strictjson
from mlembed.bundle.bundle import sha256
from mlembed.bundle.calls import read_calls
from mlembed.bundle.dsse import Envelope
from mlembed.bundle.golden import read_golden
from mlembed.bundle.keys import PublicKey, Signer, new_key
from mlembed.bundle.manifest import Manifest
from mlembed.bundle.signature import sign, verify
from mlembed.bundle.single import _laid_out, _table, read_single, write_single
from mlembed.errors import MlembedError
from mlembed.registry.issue import Issuer
from mlembed.registry.oci.modelpack import Artifact, pointer_layer, read_alias, write_alias
from mlembed.registry.pointer import Target, read_entry
from tensorgraphs import pixels_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

TOY = dataclasses.replace(toy_bundle(), signature=b"")
_PRIVATE, _PUBLIC = new_key()
_KEY = PublicKey.from_pem(_PUBLIC)
_SIGNER = Signer.from_pem(_PRIVATE)
PIXELS = pixels_bundle()
_FOLDER = Path(tempfile.mkdtemp(prefix="mlembed-fuzz-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_NEXT = b"\xff\xfe\xfd"


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


def layout(data: bytes) -> None:
    """Read a file that is laid out well, whatever it holds: names and contents come from *data*."""
    parts = [part.partition(b"\n") for part in data.split(_NEXT)]
    contents = [
        (name[:100].decode("latin-1").encode("ascii", "replace").decode(), rest)
        for name, _, rest in parts
    ]
    members = _laid_out((name, zlib.crc32(rest), len(rest)) for name, rest in contents)
    written = (member.local() + rest for member, (_, rest) in zip(members, contents, strict=True))
    single(b"".join(written) + _table(members))


def golden(data: bytes) -> None:
    """Read the golden rows of a bundle; what is accepted can be written and read again."""
    read = read_golden(dataclasses.replace(TOY, files={**TOY.files, "golden.json": data}))
    again = {**TOY.files, "golden.json": read.to_bytes()}
    assert read_golden(dataclasses.replace(TOY, files=again)) == read


def calls(data: bytes) -> None:
    """Read the golden calls of a bundle that takes tensors; what is accepted can be written."""
    read = read_calls(dataclasses.replace(PIXELS, files={**PIXELS.files, "golden.json": data}))
    read.to_bytes()


def canary(data: bytes) -> None:
    """Fail on some bytes, to show that failures are found."""
    if b"\xff" in data:
        raise ZeroDivisionError


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


def _contents() -> list[tuple[str, bytes]]:
    return [("manifest.json", TOY.manifest_bytes), *sorted(TOY.files.items())]


TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "manifest": (manifest, [TOY.manifest_bytes, PIXELS.manifest_bytes]),
    "json": (json, [b'{"a":[1,2.5,null,true,"\\u00e4"]}', TOY.files["golden.json"][:2000]]),
    "single": (single, [_single_file()]),
    "layout": (layout, [_NEXT.join(name.encode() + b"\n" + data for name, data in _contents())]),
    "golden": (golden, [TOY.files["golden.json"]]),
    "calls": (calls, [PIXELS.files["golden.json"]]),
    "pointer": (pointer, [_SEALED, _POINTER.sealed()]),
    "envelope": (envelope, [_SEALED]),
    "signature": (signature, [sign(TOY, _SIGNER)]),
    "oci-artifact": (oci_artifact, [Artifact.of(TOY).to_bytes()]),
    "oci-alias": (oci_alias, [write_alias("toy", "champion", [pointer_layer(1, _SEALED)])]),
}


CANARY = {"canary": (canary, [b"tweet"])}  # only where it is asked for


def words(seeds: list[bytes]) -> list[bytes]:
    """Return the texts and signs of *seeds*, which a mutation may put anywhere."""
    found = {word for seed in seeds for word in re.findall(rb'"[^"\\]{1,40}"', seed)}
    signs = (b"[]", b"{}", b"null", b"true", b"-1", b"1e999", b'"\\ud800"', b'"\\u0000"', b"PK\1\2")
    return [*sorted(found)[:500], *signs]


def run(name: str, data: bytes) -> None:
    """Give *data* to a target.

    Raises:
        Exception: Whatever is a fault.
    """
    try:
        (TARGETS | CANARY)[name][0](data)
    except MlembedError:
        pass  # refused, in our own words
    except RecursionError as error:  # never a host's problem
        raise AssertionError(f"{sha256(data)[:12]} exhausts the stack") from error
