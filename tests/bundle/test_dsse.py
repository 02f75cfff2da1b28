"""An envelope has one form, and its signatures hold for its type and its bytes together."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.bundle.dsse import MAX_SIGNATURES, Envelope, pae, seal
from mlembed.bundle.keys import PublicKey, Signer, new_key
from mlembed.errors import IntegrityError, MlembedError

PAIRS = [new_key() for _ in range(3)]
SIGNERS = [Signer.from_pem(private) for private, _ in PAIRS]
KEYS = [PublicKey.from_pem(public) for _, public in PAIRS]
IDS = [key.key_id for key in KEYS]
KIND, LIMIT = "application/vnd.test+json", 10_000
SEALED = seal(KIND, b'{"a":1}', SIGNERS[:2])

TEXT = st.text().filter(str.isprintable)
ENVELOPES = st.builds(
    Envelope,
    TEXT,
    st.binary(),
    st.lists(st.tuples(TEXT, st.binary(max_size=80)), max_size=MAX_SIGNATURES).map(tuple),
)


def document(**values: Any) -> bytes:
    """Return the bytes of a good envelope with some keys replaced."""
    return json.dumps(SEALED.to_json() | values).encode()


def b64(data: bytes) -> str:
    """Return *data* as base64."""
    return base64.b64encode(data).decode()


def test_pae_is_that_of_the_specification() -> None:
    """What is signed is the example that the specification gives, byte for byte."""
    data = pae("http://example.com/HelloWorld", b"hello world")

    assert data == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_pae_counts_bytes() -> None:
    """Lengths are of UTF-8, not of characters."""
    assert pae("é", "ü".encode()) == "DSSEv1 2 é 2 ü".encode()


@given(first=st.tuples(TEXT, st.binary()), second=st.tuples(TEXT, st.binary()))
def test_pae_is_never_that_of_another_statement(
    first: tuple[str, bytes], second: tuple[str, bytes]
) -> None:
    """No bytes can move between the type and the payload."""
    assert (pae(*first) == pae(*second)) == (first == second)


@given(envelope=ENVELOPES)
def test_envelope_round_trip(envelope: Envelope) -> None:
    """What is written reads back equal, and writes the same bytes again."""
    data = envelope.to_bytes()

    again = Envelope.from_bytes(data, "x", len(data))

    assert again == envelope
    assert again.to_bytes() == data


def test_envelope_is_written_as_the_specification_says() -> None:
    """The names and the base64 are those that other readers know."""
    assert json.loads(Envelope(KIND, b"\xff\xfe", (("id", b"\0"), ("", b"s"))).to_bytes()) == {
        "payloadType": KIND,
        "payload": "//4=",
        "signatures": [{"keyid": "id", "sig": "AA=="}, {"keyid": "", "sig": "cw=="}],
    }


def test_envelope_without_signatures_is_one() -> None:
    """An unsigned statement is read; whether it is believed is decided elsewhere."""
    envelope = Envelope.from_bytes(seal(KIND, b"x").to_bytes(), "x", LIMIT)

    assert envelope == Envelope(KIND, b"x")
    assert envelope.signed_by(KEYS) == set()


def test_envelope_key_ids_may_be_left_out() -> None:
    """A signature without a key's id is one whose signer gave none."""
    data = document(signatures=[{"sig": b64(b"s")}])

    assert Envelope.from_bytes(data, "x", LIMIT).signatures == (("", b"s"),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'"payload"',
        b"{}",
        b"[" * 100_000,
        b'["payload","payloadType","signatures"]',
        document(more=1),
        document(payload=None),
        document(payload=7),
        document(payload=["YQ=="]),
        document(payload="YQ"),
        document(payload="YQ=="[:3]),
        document(payload="YR=="),
        document(payload="YQ==\n"),
        document(payload=" YQ=="),
        document(payload="YQ==YQ=="),
        document(payload="-_8="),
        document(payload="é"),
        document(payloadType=None),
        document(payloadType=[KIND]),
        document(payloadType="\ud800"),
        document(payloadType="a\0b"),
        document(signatures=None),
        document(signatures={}),
        document(signatures="[]"),
        document(signatures=[None]),
        document(signatures=["sig"]),
        document(signatures=[["sig"]]),
        document(signatures=[{}]),
        document(signatures=[{"keyid": "x"}]),
        document(signatures=[{"sig": "YQ==", "cert": ""}]),
        document(signatures=[{"sig": "YQ==", "keyid": None}]),
        document(signatures=[{"sig": "YQ==", "keyid": "\ud800"}]),
        document(signatures=[{"sig": None}]),
        document(signatures=[{"sig": "!!!!"}]),
        document(signatures=[{"sig": "YQ=="}] * (MAX_SIGNATURES + 1)),
        document()[:-1] + b',"payload":"YQ=="}',
        document() + b" " * LIMIT,
    ],
    ids=lambda data: f"{len(data) // 1000} kB" if len(data) > LIMIT else None,
)
def test_envelope_refuses_what_is_none(data: bytes) -> None:
    """Unknown keys, wrong types, base64 in another form and floods are refused with their place."""
    with pytest.raises(IntegrityError, match=r"^the pointer is no DSSE envelope"):
        Envelope.from_bytes(data, "the pointer", LIMIT)


def test_envelope_takes_as_many_signatures_as_are_allowed() -> None:
    """The bound is what it says."""
    data = document(signatures=[{"sig": "YQ=="}] * MAX_SIGNATURES)

    assert len(Envelope.from_bytes(data, "x", LIMIT).signatures) == MAX_SIGNATURES


@given(data=st.binary())
def test_envelope_reads_or_refuses_any_bytes(data: bytes) -> None:
    """No bytes raise anything but `IntegrityError`."""
    try:
        Envelope.from_bytes(data, "x", LIMIT)
    except MlembedError as error:
        assert type(error) is IntegrityError  # noqa: PT017  either way is right


@given(data=st.data())
def test_envelope_reads_or_refuses_any_mutation(data: st.DataObject) -> None:
    """An envelope with some bytes replaced is refused, or read as one that is not signed as it was."""
    good = SEALED.to_bytes()
    start = data.draw(st.integers(0, len(good)))
    stop = data.draw(st.integers(start, min(len(good), start + 10)))
    bad = good[:start] + data.draw(st.binary(max_size=10)) + good[stop:]
    try:
        envelope = Envelope.from_bytes(bad, "x", LIMIT)
    except MlembedError as error:
        assert type(error) is IntegrityError  # noqa: PT017  either way is right
        return

    same = (envelope.payload_type, envelope.payload) == (KIND, SEALED.payload)
    assert same or envelope.signed_by(KEYS) == set()


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["payload", "payloadType", "signatures", "keyid", "sig"]), inner
            )
        ),
    )
)
def test_envelope_reads_or_refuses_any_json(value: Any) -> None:
    """No document of the right names and wrong types raises anything but `IntegrityError`."""
    try:
        Envelope.from_bytes(json.dumps(value).encode(), "x", LIMIT)
    except MlembedError as error:
        assert type(error) is IntegrityError  # noqa: PT017  either way is right


def test_signed_by_names_every_key_that_signed() -> None:
    """Both signers are found, whichever keys are asked about."""
    again = Envelope.from_bytes(SEALED.to_bytes(), "x", LIMIT)

    assert again.signed_by(KEYS) == set(IDS[:2])
    assert again.signed_by(KEYS[1:]) == {IDS[1]}
    assert again.signed_by(KEYS[2:]) == set()
    assert again.signed_by([]) == set()


def test_signed_by_tries_every_key_where_no_id_is_given() -> None:
    """The signature of an unnamed signer is found by trying."""
    (_, signature), *_ = SEALED.signatures
    unnamed = Envelope(KIND, SEALED.payload, (("", b"garbage"), ("", signature)))

    assert unnamed.signed_by(KEYS) == {IDS[0]}


def test_signed_by_does_not_believe_an_id() -> None:
    """A signature under the id of another key counts for neither."""
    (_, signature), *_ = SEALED.signatures

    for key_id in (IDS[2], "unknown", IDS[0].upper()):
        assert Envelope(KIND, SEALED.payload, ((key_id, signature),)).signed_by(KEYS) == set()


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (KIND + " ", SEALED.payload),
        ("application/vnd.in-toto+json", SEALED.payload),
        (KIND, SEALED.payload + b" "),
        (KIND, b""),
    ],
)
def test_signed_by_binds_type_and_payload(kind: str, payload: bytes) -> None:
    """A signature cannot be moved to another type of statement, or to another one."""
    assert Envelope(kind, payload, SEALED.signatures).signed_by(KEYS) == set()
