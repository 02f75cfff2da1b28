"""Sign a bundle, and verify who did: OpenSSF Model Signing with a key.

The signature is a Sigstore bundle around a DSSE envelope around an in-toto statement that names
every file of the bundle with its sha256; the official `model_signing` command reads and writes the
same (https://github.com/sigstore/model-transparency, docs/model_signing_format.md). What it lets
pass, this refuses: a list that is not exactly the bundle's, and the forms from before 1.0. Name and
version are signed because manifest.json is; that they are the ones asked for is the caller's check.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mlembed.bundle import strictjson
from mlembed.bundle.bundle import sha256
from mlembed.bundle.dsse import Envelope, pae
from mlembed.bundle.manifest import MAX_SIGNATURE_BYTES, SIGNATURE, is_sha256
from mlembed.errors import SignatureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.keys import PublicKey, Signer

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_MAX_SHOWN = 10
_KEYS = {"mediaType", "verificationMaterial", "dsseEnvelope"}
_RESOURCE_KEYS = {"name", "algorithm", "digest"}
_METHOD = {"method": "files", "hash_type": "sha256"}


def sign(bundle: Bundle, signer: Signer) -> bytes:
    """Return the contents of bundle.sig.json, by which *signer* vouches for *bundle*."""
    payload = strictjson.dumps(_statement(bundle))
    # The official package leaves the key's id empty and gives the hint instead.
    signature = ("", signer.sign(pae(PAYLOAD_TYPE, payload)))
    material = {"publicKey": {"hint": _hint(signer.public)}, "tlogEntries": []}
    return strictjson.dumps(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": Envelope(PAYLOAD_TYPE, payload, (signature,)).to_json(),
        }
    )


def signed(bundle: Bundle, signer: Signer) -> Bundle:
    """Return *bundle* with the signature of *signer* in place of any other; its id stays."""
    return dataclasses.replace(bundle, signature=sign(bundle, signer))


def verify(bundle: Bundle, keys: Sequence[PublicKey]) -> str:
    """Return the id of that one of *keys* which signed *bundle*.

    The bundle's bytes are those its manifest names, as every `Bundle` has been checked, so digests
    are compared and no file is hashed again.

    Raises:
        SignatureError: If nobody signed it, none of *keys* did, or they signed something else.
    """
    title = bundle.manifest.title
    if not bundle.signature:
        raise SignatureError(f"{title} is not signed; sign it with `mlembed sign`")
    try:
        envelope, hint = _read(bundle.signature)
        signers = envelope.signed_by(keys)
        key = next((key for key in keys if key.key_id in signers), None)
        if key is None:
            known = ", ".join(key.key_id[:12] for key in keys) or "there are none"
            raise ValueError(f"it was made by none of the trusted keys ({known})")
        if hint != _hint(key):
            raise ValueError("its hint names another key than the one that signed")
        _require(envelope, bundle)
    except ValueError as error:
        raise SignatureError(
            f"{title} is not signed as it is: {SIGNATURE}: {error}. Sign it with `mlembed sign`, or "
            "add the public key of who signed it to MLEMBED_KEYS"
        ) from error
    return key.key_id


def _files(bundle: Bundle) -> dict[str, str]:
    """Return the sha256 of every file of *bundle* by name, in the order they are signed."""
    digests = {file.path: file.sha256 for file in bundle.manifest.files}
    return dict(sorted({**digests, "manifest.json": bundle.id}.items()))


def _statement(bundle: Bundle) -> dict[str, Any]:
    files = _files(bundle)
    resources = [
        {"name": name, "algorithm": "sha256", "digest": digest} for name, digest in files.items()
    ]
    method = {**_METHOD, "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
    subject = {"name": bundle.manifest.title, "digest": {"sha256": _root(files.values())}}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [subject],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"serialization": method, "resources": resources},
    }


def _read(data: bytes) -> tuple[Envelope, Any]:
    """Return the envelope and the key's hint in a Sigstore bundle.

    Raises:
        ValueError: If it is none.
    """
    raw = strictjson.loads(data, "it", MAX_SIGNATURE_BYTES)
    if type(raw) is not dict or set(raw) != _KEYS or raw["mediaType"] != MEDIA_TYPE:
        raise ValueError(f"it is no Sigstore bundle of the type {MEDIA_TYPE}")
    material = raw["verificationMaterial"]
    key = material.get("publicKey") if type(material) is dict else None
    if (
        type(key) is not dict
        or set(key) != {"hint"}
        or material not in ({"publicKey": key}, {"publicKey": key, "tlogEntries": []})
    ):
        raise ValueError("its verification material must be a public key's hint, and no more")
    envelope = Envelope.from_json(raw["dsseEnvelope"])
    if len(envelope.signatures) != 1:
        raise ValueError("it must hold exactly one signature")
    return envelope, key["hint"]


def _require(envelope: Envelope, bundle: Bundle) -> None:
    """Refuse a statement that does not say exactly what is in *bundle*.

    Raises:
        ValueError: Listing every difference.
    """
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ValueError(f"what was signed is no {PAYLOAD_TYPE}")
    raw = strictjson.loads(envelope.payload, "what was signed")
    if type(raw) is not dict or raw.get("_type") != STATEMENT_TYPE:
        raise ValueError(f"what was signed is no {STATEMENT_TYPE}")
    if raw.get("predicateType") != PREDICATE_TYPE:
        raise ValueError(f"what was signed is not of the type {PREDICATE_TYPE}")
    listed = _resources(raw.get("predicate"))
    subjects = raw.get("subject")
    if type(subjects) is not list or len(subjects) != 1 or type(subjects[0]) is not dict:
        raise ValueError("it must have one subject")
    if subjects[0].get("digest") != {"sha256": _root(digest for _, digest in listed)}:
        raise ValueError("its subject is not the digest of the files it lists")
    problems = _differences(listed, _files(bundle))
    if problems:
        raise ValueError(f"it signs other files: {'; '.join(problems[:_MAX_SHOWN])}")


def _resources(predicate: Any) -> list[tuple[str, str]]:
    """Return name and sha256 of each file a predicate lists, in its order.

    Raises:
        ValueError: If it lists anything else.
    """
    method = predicate.get("serialization") if type(predicate) is dict else None
    if type(method) is not dict or any(method.get(key) != text for key, text in _METHOD.items()):
        raise ValueError("it must list whole files by sha256")
    resources = predicate.get("resources")
    if type(resources) is not list or not all(map(_is_resource, resources)):
        raise ValueError("it must list each file by name and sha256")
    return [(item["name"], item["digest"]) for item in resources]


def _is_resource(item: Any) -> bool:
    return (
        type(item) is dict
        and set(item) == _RESOURCE_KEYS
        and type(item["name"]) is str
        and item["algorithm"] == "sha256"
        and is_sha256(item["digest"])
    )


def _differences(listed: list[tuple[str, str]], files: dict[str, str]) -> list[str]:
    """Say how *listed* is not exactly *files*."""
    names = [name for name, _ in listed]
    changed = {name for name, digest in listed if files.get(name, digest) != digest}
    twice = {name for name in names if names.count(name) > 1}
    return [
        *(f"{name} is not signed" for name in files if name not in names),
        *(f"{name!r} is not in the bundle" for name in sorted({*names} - {*files})),
        *(f"{name} was another" for name in sorted(changed)),
        *(f"{name!r} stands twice" for name in sorted(twice)),
    ]


def _root(digests: Iterable[str]) -> str:
    """Return the digest of the subject: that of all digests, one after the other."""
    return sha256(bytes.fromhex("".join(digests)))


def _hint(key: PublicKey) -> str:
    return sha256(key.pem)
