"""DSSE envelopes: a statement, and who signed it.

What is signed is the type and the bytes of the statement, so no reader has to write it again to
check it (https://github.com/secure-systems-lab/dsse, version 1).
"""

from __future__ import annotations

import base64
import dataclasses
from typing import TYPE_CHECKING, Any

from mlembed.bundle import strictjson
from mlembed.errors import IntegrityError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlembed.bundle.keys import PublicKey, Signer

MAX_SIGNATURES = 16
_KEYS = {"payload", "payloadType", "signatures"}
_SIGNATURE_KEYS = ({"sig"}, {"sig", "keyid"})


@dataclasses.dataclass(frozen=True)
class Envelope:
    """A statement with its signatures; none where nobody signed.

    Attributes:
        payload_type: What the statement is.
        payload: Its bytes.
        signatures: Key id and signature, each; the id is empty where the signer gave none.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...] = ()

    def to_bytes(self) -> bytes:
        """Write the envelope; equal envelopes give equal bytes."""
        return strictjson.dumps(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the envelope as JSON has it, for a document that holds it."""
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": key_id, "sig": base64.b64encode(signature).decode()}
                for key_id, signature in self.signatures
            ],
        }

    @classmethod
    def from_bytes(cls, data: bytes, place: str, max_bytes: int) -> Envelope:
        """Read an envelope, naming *place* in errors; signatures are not judged here.

        Raises:
            IntegrityError: If it is anything but an envelope.
        """
        try:
            return cls.from_json(strictjson.loads(data, place, max_bytes))
        except ValueError as error:
            raise IntegrityError(
                f"{place} is no DSSE envelope ({first_line(error)}); write it again where it "
                "was made"
            ) from error

    @classmethod
    def from_json(cls, raw: Any) -> Envelope:
        """Read an envelope that is parsed already.

        Raises:
            ValueError: If it is none; says why.
        """
        if type(raw) is not dict or set(raw) != _KEYS:
            raise ValueError(f"its keys must be {sorted(_KEYS)}")
        signatures = raw["signatures"]
        if type(signatures) is not list or len(signatures) > MAX_SIGNATURES:
            raise ValueError(f"signatures must be a list of at most {MAX_SIGNATURES}")
        return cls(
            _text(raw["payloadType"], "payloadType"),
            _decoded(raw["payload"], "payload"),
            tuple(map(_signature, signatures)),
        )

    def signed_by(self, keys: Iterable[PublicKey]) -> set[str]:
        """Return the ids of those *keys* whose signature verifies.

        An id in the envelope only says which key to try: nobody signed for it.
        """
        message = pae(self.payload_type, self.payload)
        return {
            key.key_id
            for key in keys
            for key_id, signature in self.signatures
            if key_id in ("", key.key_id) and key.verify(message, signature)
        }


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding, in which lengths part the two."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload_type: str, payload: bytes, signers: Iterable[Signer] = ()) -> Envelope:
    """Return *payload* in an envelope, signed by each of *signers*."""
    message = pae(payload_type, payload)
    signatures = tuple((signer.key_id, signer.sign(message)) for signer in signers)
    return Envelope(payload_type, payload, signatures)


def _signature(raw: Any) -> tuple[str, bytes]:
    if type(raw) is not dict or set(raw) not in _SIGNATURE_KEYS:
        raise ValueError("a signature's keys must be keyid and sig")
    return _text(raw.get("keyid", ""), "keyid"), _decoded(raw["sig"], "sig")


def _text(value: Any, name: str) -> str:
    """Return *value*, if it is text that UTF-8 can hold.

    Raises:
        ValueError: If it is not.
    """
    if type(value) is not str or not value.isprintable():
        raise ValueError(f"{name} must be printable text")
    return value


def _decoded(value: Any, name: str) -> bytes:
    """Return the bytes of base64 *value*.

    Raises:
        ValueError: If it is not the one way to write them.
    """
    if type(value) is str:
        data = base64.b64decode(value, validate=True)
        if base64.b64encode(data).decode() == value:
            return data
    raise ValueError(f"{name} must be canonical base64")
