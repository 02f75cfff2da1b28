"""A bundle is signed exactly as it is, or it is not signed."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import toy_bundle
from mlembed.bundle.bundle import Bundle, pack, read_directory, sha256, write_directory
from mlembed.bundle.dsse import Envelope, seal
from mlembed.bundle.keys import PublicKey, Signer, new_key
from mlembed.bundle.manifest import MAX_SIGNATURE_BYTES
from mlembed.bundle.signature import MEDIA_TYPE, PAYLOAD_TYPE, sign, signed, verify
from mlembed.errors import IntegrityError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Change = Callable[[dict[str, Any]], object]

PRIVATE, PUBLIC = new_key()
SIGNER, KEY = Signer.from_pem(PRIVATE), PublicKey.from_pem(PUBLIC)
STRANGER = Signer.from_pem(new_key()[0])
BUNDLE = signed(toy_bundle(), SIGNER)
DOCUMENT: dict[str, Any] = json.loads(BUNDLE.signature)
STATEMENT: dict[str, Any] = json.loads(base64.b64decode(DOCUMENT["dsseEnvelope"]["payload"]))


def copied(document: dict[str, Any]) -> dict[str, Any]:
    """Return *document* to be changed."""
    again: dict[str, Any] = json.loads(json.dumps(document))
    return again


def with_signature(document: object) -> Bundle:
    """Return the bundle with *document* as its signature."""
    return dataclasses.replace(BUNDLE, signature=json.dumps(document).encode())


def with_envelope(envelope: Envelope) -> Bundle:
    """Return the bundle with a signature whose envelope is another."""
    return with_signature(DOCUMENT | {"dsseEnvelope": envelope.to_json()})


def stated(payload: bytes, kind: str = PAYLOAD_TYPE) -> Bundle:
    """Return the bundle with any *payload*, truly signed by the trusted key."""
    return with_envelope(seal(kind, payload, [SIGNER]))


def root(statement: dict[str, Any]) -> None:
    """Make the subject of *statement* fit the files it lists."""
    digests = [bytes.fromhex(item["digest"]) for item in statement["predicate"]["resources"]]
    statement["subject"][0]["digest"] = {"sha256": sha256(b"".join(digests))}


def resource(statement: dict[str, Any], **values: Any) -> None:
    """Change the first file that *statement* lists."""
    statement["predicate"]["resources"][0] |= values


def extra(statement: dict[str, Any], name: str, digest: str = "0" * 64) -> None:
    """Add a file to *statement*, and make all of it fit."""
    item = {"name": name, "algorithm": "sha256", "digest": digest}
    statement["predicate"]["resources"].append(item)
    root(statement)


def digested(statement: dict[str, Any], digest: str) -> None:
    """Give the first file of *statement* another digest, and make all of it fit."""
    resource(statement, digest=digest)
    root(statement)


def emptied(statement: dict[str, Any]) -> None:
    """Take every file off the list of *statement*, and make all of it fit."""
    statement["predicate"]["resources"] = []
    root(statement)


def listed(statement: dict[str, Any], *, without: str) -> None:
    """Take a file off the list of *statement*, and make all of it fit."""
    predicate = statement["predicate"]
    predicate["resources"] = [r for r in predicate["resources"] if r["name"] != without]
    root(statement)


def test_verify_names_the_key() -> None:
    """Who signed is found among all whom a host trusts."""
    others = [STRANGER.public, PublicKey.from_pem(new_key()[1])]

    assert verify(BUNDLE, [KEY]) == KEY.key_id
    assert verify(BUNDLE, [*others, KEY]) == KEY.key_id


def test_sign_writes_the_official_form() -> None:
    """The document is that of OpenSSF Model Signing 1.0 for a directory and a key."""
    files = {"manifest.json": BUNDLE.manifest_bytes, **BUNDLE.files}
    digests = {name: sha256(files[name]) for name in sorted(files)}
    envelope = DOCUMENT["dsseEnvelope"]

    assert DOCUMENT["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert DOCUMENT["verificationMaterial"] == {
        "publicKey": {"hint": sha256(PUBLIC)},
        "tlogEntries": [],
    }
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert [item["keyid"] for item in envelope["signatures"]] == [""]
    expected = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": "toy@1.0.0",
                "digest": {"sha256": sha256(b"".join(map(bytes.fromhex, digests.values())))},
            }
        ],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": ["bundle.sig.json"],
            },
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest}
                for name, digest in digests.items()
            ],
        },
    }
    assert expected == STATEMENT


def test_signed_keeps_the_bundle() -> None:
    """A signature changes neither the id nor any file, and replaces the one before."""
    again = signed(BUNDLE, STRANGER)

    assert again.id == BUNDLE.id == toy_bundle().id
    assert dataclasses.replace(again, signature=b"") == toy_bundle()
    assert verify(again, [STRANGER.public, KEY]) == STRANGER.key_id


def test_signed_survives_a_directory(tmp_path: Path) -> None:
    """The signature is written beside the files and read with them."""
    write_directory(BUNDLE, tmp_path / "bundle")

    again = read_directory(tmp_path / "bundle", BUNDLE.id)

    assert again == BUNDLE
    assert verify(again, [KEY]) == KEY.key_id


def test_verify_refuses_a_stripped_signature() -> None:
    """What nobody signed is not signed, whichever keys are known."""
    with pytest.raises(
        SignatureError, match=r"^toy@1.0.0 is not signed; sign it with `mlembed sign`"
    ):
        verify(toy_bundle(), [KEY])


def test_verify_refuses_a_strangers_key() -> None:
    """A good signature by somebody else counts for nothing; the trusted keys are named."""
    words = rf"^toy@1.0.0 is not signed as it is: .*none of the trusted keys \({KEY.key_id[:12]}\)"

    with pytest.raises(SignatureError, match=words):
        verify(signed(toy_bundle(), STRANGER), [KEY])


def test_verify_without_keys_trusts_nobody() -> None:
    """An empty list of keys is nobody, not everybody."""
    with pytest.raises(SignatureError, match="there are none"):
        verify(BUNDLE, [])


def test_verify_refuses_a_swapped_key() -> None:
    """A stranger who signs anew and names the trusted key in the hint and the id is found out."""
    forged = copied(json.loads(sign(toy_bundle(), STRANGER)))
    forged["verificationMaterial"] = DOCUMENT["verificationMaterial"]
    forged["dsseEnvelope"]["signatures"][0]["keyid"] = KEY.key_id

    with pytest.raises(SignatureError, match="none of the trusted keys"):
        verify(with_signature(forged), [KEY])


@pytest.mark.parametrize(
    "other",
    [
        toy_bundle("toy", "1.0.1"),
        toy_bundle("other"),
        toy_bundle(shift=1.0),
        pack(toy_bundle().manifest, {**toy_bundle().files, "card.md": b"# Card"}),
    ],
    ids=["version", "name", "model", "a file more"],
)
def test_verify_refuses_the_signature_of_another_bundle(other: Bundle) -> None:
    """A signature cannot be moved to a bundle with another name, version, graph or file."""
    with pytest.raises(SignatureError, match=r"it signs other files: .*manifest.json was another"):
        verify(dataclasses.replace(other, signature=BUNDLE.signature), [KEY])


def test_verify_says_which_bundle_was_signed() -> None:
    """A signed bundle that is served under another's name keeps its own: the caller compares."""
    other = signed(toy_bundle("other", "2.0.0"), SIGNER)

    assert verify(other, [KEY]) == KEY.key_id
    assert other.manifest.title == "other@2.0.0"


def test_verify_refuses_a_changed_file_with_its_manifest(tmp_path: Path) -> None:
    """Who changes a file must change the manifest, and who changes that has no signature."""
    write_directory(BUNDLE, tmp_path / "bundle")
    model = BUNDLE.files["model.onnx"] + b"\n"
    changed = pack(BUNDLE.manifest, {**BUNDLE.files, "model.onnx": model})
    (tmp_path / "bundle" / "model.onnx").write_bytes(model)

    with pytest.raises(IntegrityError, match="is not the file that was published"):
        read_directory(tmp_path / "bundle")
    (tmp_path / "bundle" / "manifest.json").write_bytes(changed.manifest_bytes)
    with pytest.raises(SignatureError, match=r"manifest.json was another; model.onnx was another"):
        verify(read_directory(tmp_path / "bundle"), [KEY])


def test_unsigned_extra_file_is_refused(tmp_path: Path) -> None:
    """A file that is neither listed nor signed stops the bundle, even one that git would ignore."""
    write_directory(BUNDLE, tmp_path / "bundle")
    (tmp_path / "bundle" / ".gitignore").write_text("x")

    with pytest.raises(IntegrityError, match=r"'.gitignore' is not listed"):
        read_directory(tmp_path / "bundle")


DIGEST = STATEMENT["predicate"]["resources"][0]["digest"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: listed(s, without="manifest.json"), "manifest.json is not signed"),
        (lambda s: listed(s, without="model.onnx"), "model.onnx is not signed"),
        (lambda s: extra(s, "run.sh"), "'run.sh' is not in the bundle"),
        (lambda s: extra(s, "bundle.sig.json"), "'bundle.sig.json' is not in the bundle"),
        (lambda s: extra(s, "./model.onnx"), "'./model.onnx' is not in the bundle"),
        (lambda s: extra(s, "golden.json", DIGEST), "'golden.json' stands twice"),
        (lambda s: extra(s, "golden.json"), "golden.json was another; 'golden.json' stands twice"),
        (lambda s: digested(s, "0" * 64), "golden.json was another"),
        (lambda s: resource(s, digest="0" * 64), "subject is not the digest"),
        (lambda s: resource(s, digest=DIGEST.upper()), "each file by name and sha256"),
        (lambda s: resource(s, digest=DIGEST + "\n"), "each file by name and sha256"),
        (lambda s: resource(s, digest=None), "each file by name and sha256"),
        (lambda s: resource(s, algorithm="sha512"), "each file by name and sha256"),
        (lambda s: resource(s, algorithm="blake2b"), "each file by name and sha256"),
        (lambda s: resource(s, name=["golden.json"]), "each file by name and sha256"),
        (lambda s: resource(s, start=0), "each file by name and sha256"),
        (lambda s: s["predicate"].update(resources=None), "each file by name and sha256"),
        (lambda s: s["predicate"].update(resources={}), "each file by name and sha256"),
        (lambda s: s["predicate"].update(resources=["x"]), "each file by name and sha256"),
        (emptied, "golden.json is not signed; manifest.json is not signed"),
        (lambda s: s["predicate"].pop("serialization"), "whole files by sha256"),
        (lambda s: s["predicate"]["serialization"].update(method="shards"), "whole files"),
        (lambda s: s["predicate"]["serialization"].update(hash_type="blake2b"), "whole files"),
        (lambda s: s.update(predicate=None), "whole files"),
        (lambda s: s.update(predicate=["resources"]), "whole files"),
        (lambda s: s.update(predicateType="https://model_signing/Digests/v0.1"), "of the type"),
        (lambda s: s.update(predicateType="https://slsa.dev/provenance/v1"), "of the type"),
        (lambda s: s.pop("predicateType"), "of the type"),
        (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "is no https://in-toto"),
        (lambda s: s.pop("_type"), "is no https://in-toto"),
        (lambda s: s.pop("subject"), "one subject"),
        (lambda s: s.update(subject=[]), "one subject"),
        (lambda s: s.update(subject=s["subject"] * 2), "one subject"),
        (lambda s: s.update(subject=["toy"]), "one subject"),
        (lambda s: s["subject"][0].pop("digest"), "subject is not the digest"),
        (lambda s: s["subject"][0]["digest"].update(sha512="0"), "subject is not the digest"),
        (lambda s: s["subject"][0].update(digest="0" * 64), "subject is not the digest"),
    ],
)
def test_verify_refuses_another_statement(change: Change, words: str) -> None:
    """Even the trusted key cannot vouch for a bundle with a list that is not exactly its own."""
    statement = copied(STATEMENT)
    change(statement)

    with pytest.raises(SignatureError, match=words):
        verify(stated(json.dumps(statement).encode()), [KEY])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"[" * 100_000,
        json.dumps(STATEMENT).encode()[:-1] + b',"_type":"x"}',
        json.dumps(STATEMENT).encode("utf-16"),
    ],
    ids=lambda payload: repr(payload)[:20],
)
def test_verify_refuses_a_payload_that_is_no_statement(payload: bytes) -> None:
    """What two parsers could read differently is not read at all."""
    with pytest.raises(SignatureError, match="what was signed is"):
        verify(stated(payload), [KEY])


def test_verify_reads_a_statement_in_any_layout() -> None:
    """Spaces, the order of keys and of files, and what later versions add beside are free."""
    statement = copied(STATEMENT)
    statement["predicate"] = {"card": {}, **statement["predicate"]}
    statement["predicate"]["resources"].reverse()
    root(statement)

    assert verify(stated(json.dumps(statement, indent=2).encode()), [KEY]) == KEY.key_id


def test_verify_refuses_another_payload_type() -> None:
    """A signature made for another purpose is none, under its own type or under ours."""
    kind, payload = "application/vnd.mlembed.pointer+json", json.dumps(STATEMENT).encode()
    other = seal(kind, payload, [SIGNER])

    with pytest.raises(SignatureError, match=r"what was signed is no application/vnd.in-toto"):
        verify(with_envelope(other), [KEY])
    with pytest.raises(SignatureError, match="none of the trusted keys"):
        verify(with_envelope(dataclasses.replace(other, payload_type=PAYLOAD_TYPE)), [KEY])


def test_verify_refuses_what_was_signed_before_1_0() -> None:
    """The encoding of old versions, in which a payload could be written in two ways, is no more."""
    payload = json.dumps(STATEMENT).encode()
    old = f"DSSEV1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} {payload!r}".encode()

    with pytest.raises(SignatureError, match="none of the trusted keys"):
        verify(with_envelope(Envelope(PAYLOAD_TYPE, payload, (("", SIGNER.sign(old)),))), [KEY])


MATERIAL = DOCUMENT["verificationMaterial"]
SIGNATURES = DOCUMENT["dsseEnvelope"]["signatures"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "no Sigstore bundle"),
        ([DOCUMENT], "no Sigstore bundle"),
        ({}, "no Sigstore bundle"),
        (DOCUMENT | {"more": 1}, "no Sigstore bundle"),
        (DOCUMENT | {"mediaType": MEDIA_TYPE.replace("0.3", "0.2")}, "no Sigstore bundle"),
        (DOCUMENT | {"mediaType": None}, "no Sigstore bundle"),
        (DOCUMENT | {"verificationMaterial": None}, "a public key's hint, and no more"),
        (DOCUMENT | {"verificationMaterial": {}}, "a public key's hint, and no more"),
        (DOCUMENT | {"verificationMaterial": MATERIAL | {"certificate": {}}}, "and no more"),
        (DOCUMENT | {"verificationMaterial": MATERIAL | {"tlogEntries": [{}]}}, "and no more"),
        (DOCUMENT | {"verificationMaterial": MATERIAL | {"publicKey": {}}}, "and no more"),
        (
            DOCUMENT
            | {"verificationMaterial": {"publicKey": MATERIAL["publicKey"] | {"rawBytes": ""}}},
            "and no more",
        ),
        (DOCUMENT | {"verificationMaterial": MATERIAL | {"publicKey": "x"}}, "and no more"),
        (DOCUMENT | {"verificationMaterial": {"publicKey": {"hint": "0"}}}, "another key"),
        (DOCUMENT | {"verificationMaterial": {"publicKey": {"hint": None}}}, "another key"),
        (DOCUMENT | {"verificationMaterial": {"publicKey": {"hint": []}}}, "another key"),
        (DOCUMENT | {"dsseEnvelope": None}, "its keys must be"),
        (DOCUMENT | {"dsseEnvelope": {}}, "its keys must be"),
        (DOCUMENT | {"dsseEnvelope": DOCUMENT["dsseEnvelope"] | {"signatures": []}}, "exactly one"),
        (
            DOCUMENT | {"dsseEnvelope": DOCUMENT["dsseEnvelope"] | {"signatures": SIGNATURES * 2}},
            "exactly one",
        ),
    ],
)
def test_verify_refuses_another_wrapping(document: object, words: str) -> None:
    """What stands around the statement has one form, though nobody signed it."""
    with pytest.raises(SignatureError, match=words):
        verify(with_signature(document), [KEY])


def test_verify_takes_a_wrapping_without_a_log() -> None:
    """Writers that leave an empty list out are understood."""
    document = DOCUMENT | {"verificationMaterial": {"publicKey": MATERIAL["publicKey"]}}

    assert verify(with_signature(document), [KEY]) == KEY.key_id


@pytest.mark.parametrize(
    "data",
    [
        BUNDLE.signature + b" " * MAX_SIGNATURE_BYTES,
        b"[" * MAX_SIGNATURE_BYTES,
        b'{"a":' * (MAX_SIGNATURE_BYTES // 5),
        b"9" * MAX_SIGNATURE_BYTES,
        BUNDLE.signature[:-1] + b',"mediaType":"x"}',
        BUNDLE.signature[:-1],
        BUNDLE.signature + b"\0",
    ],
    ids=["large", "deep list", "deep object", "number", "twice", "cut", "longer"],
)
def test_verify_refuses_bytes_that_are_hard_to_read(data: bytes) -> None:
    """Size, depth and repetition are bounded before anything else."""
    with pytest.raises(SignatureError, match=r"toy@1.0.0 is not signed as it is: bundle.sig.json"):
        verify(dataclasses.replace(BUNDLE, signature=data), [KEY])


def test_verify_bears_a_long_list() -> None:
    """A list of all the files that a signature can hold is answered with a short message."""
    statement = copied(STATEMENT)
    item = {"name": "", "algorithm": "sha256", "digest": DIGEST}
    statement["predicate"]["resources"] = [item | {"name": str(n)} for n in range(1_400)]
    root(statement)

    with pytest.raises(SignatureError, match=r"golden.json is not signed; ") as caught:
        verify(stated(json.dumps(statement).encode()), [KEY])

    assert len(str(caught.value)) < 1_000


@given(data=st.binary(min_size=1))
def test_verify_refuses_any_bytes(data: bytes) -> None:
    """No bytes are a signature, and none raise anything but `SignatureError`."""
    with pytest.raises(SignatureError):
        verify(dataclasses.replace(BUNDLE, signature=data), [KEY])


@given(position=st.integers(0, len(BUNDLE.signature) - 1), bits=st.integers(1, 255))
def test_verify_refuses_any_flipped_byte(position: int, bits: int) -> None:
    """Not one byte of a signature's file may be another."""
    bad = bytearray(BUNDLE.signature)
    bad[position] ^= bits

    with pytest.raises(SignatureError):
        verify(dataclasses.replace(BUNDLE, signature=bytes(bad)), [KEY])


@given(data=st.data())
def test_verify_refuses_or_accepts_any_mutation(data: st.DataObject) -> None:
    """A signature with some bytes replaced, removed or added says the same, or is refused."""
    good = BUNDLE.signature
    start = data.draw(st.integers(0, len(good)))
    stop = data.draw(st.integers(start, min(len(good), start + 10)))
    added = data.draw(st.binary(max_size=10))
    bad = good[:start] + added + good[stop:]
    try:
        assert verify(dataclasses.replace(BUNDLE, signature=bad), [KEY]) == KEY.key_id
    except SignatureError:
        return

    assert json.loads(bad) == DOCUMENT


@given(
    path=st.sampled_from(
        [
            ("_type",),
            ("subject",),
            ("subject", 0),
            ("subject", 0, "digest"),
            ("predicateType",),
            ("predicate",),
            ("predicate", "serialization"),
            ("predicate", "resources"),
            ("predicate", "resources", 0),
            ("predicate", "resources", 0, "name"),
            ("predicate", "resources", 0, "digest"),
        ]
    ),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    ),
)
def test_verify_refuses_any_value_in_a_statement(path: tuple[Any, ...], value: Any) -> None:
    """No type of value in any place of a signed statement raises anything but `SignatureError`."""
    statement = copied(STATEMENT)
    place: Any = statement
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    with pytest.raises(SignatureError):
        verify(stated(json.dumps(statement).encode()), [KEY])
