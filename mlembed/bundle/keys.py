"""Keys that sign and verify: ECDSA over P-256 with SHA-256, in PEM files.

One curve only, the one that all of OpenSSF Model Signing reads. A private key is written once, for
its owner alone, and is never taken for a public one: what lies on a host must not be able to sign.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_MAX_PEM_BYTES = 16 * 1024
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")
# All of a P-256 SubjectPublicKeyInfo but its point (RFC 5480). Comparing it spares every host the
# import of a parser for every kind of key, which takes longer than all else that verifying needs.
_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_POINT_BYTES = 65  # 0x04 and two coordinates
_LINE = 64  # characters of base64 in a line of PEM
_REMEDY = "make a pair with `mlembed keys new`"


@dataclasses.dataclass(frozen=True, slots=True)
class PublicKey:
    """Whom to believe: plain data, which may be pickled, compared and hashed.

    Attributes:
        der: Its SubjectPublicKeyInfo, as `from_pem` has checked it.
        key_id: sha256 of `der` in hex.
    """

    der: bytes = dataclasses.field(repr=False, compare=False)
    key_id: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_id", hashlib.sha256(self.der).hexdigest())

    @classmethod
    def from_pem(cls, data: bytes, place: str = "the public key") -> PublicKey:
        """Read a public key, naming *place* in errors.

        Raises:
            SettingsError: If it is anything but one public key of the curve P-256.
            MissingExtraError: If cryptography is not installed.
        """
        if is_private(data):
            raise SettingsError(
                f"{place} is a private key, which only the publisher may hold; expected the public "
                "one beside it, which ends in .pub"
            )
        found = _PUBLIC.search(data)
        if found is None or len(_labels(data)) != 1:
            raise SettingsError(f"{place} is not one public key as PEM; {_REMEDY}")
        with contextlib.suppress(binascii.Error):
            key = cls(base64.b64decode(b"".join(found[1].split()), validate=True))
            if key._is_on_curve():
                return key
        raise SettingsError(f"{place} is no public key of the curve P-256; {_REMEDY}")

    @classmethod
    def read(cls, path: str | Path) -> PublicKey:
        """Read the public key in the file *path*.

        Raises:
            SettingsError: If it cannot be read, or as `from_pem`.
            MissingExtraError: If cryptography is not installed.
        """
        return cls.from_pem(read_pem(path), str(path))

    @property
    def pem(self) -> bytes:
        """The key as PEM, as OpenSSL writes it."""
        text = base64.b64encode(self.der)
        lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
        return b"\n".join((b"-----BEGIN PUBLIC KEY-----", *lines, b"-----END PUBLIC KEY-----\n"))

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Tell whether the owner of the key signed *data*; no bytes make it raise."""
        with _cryptography("checking signatures"):
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric import ec
            from cryptography.hazmat.primitives.hashes import SHA256
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self._point)
        try:
            key.verify(signature, data, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True

    @property
    def _point(self) -> bytes:
        return self.der[len(_PREFIX) :]

    def _is_on_curve(self) -> bool:
        with _cryptography("checking signatures"):
            from cryptography.hazmat.primitives.asymmetric import ec
        if not self.der.startswith(_PREFIX) or len(self._point) != _POINT_BYTES:
            return False
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self._point)
        except ValueError:
            return False
        return True


class Signer:
    """Holds a private key, which it shows to nobody.

    Attributes:
        public: The key that verifies what it signs.
    """

    __slots__ = ("_key", "public")

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        from cryptography.hazmat.primitives import serialization

        self._key = key
        self.public = PublicKey(
            key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def __repr__(self) -> str:
        return f"Signer(key_id={self.key_id!r})"

    @classmethod
    def from_pem(cls, data: bytes, place: str = "the private key", password: str = "") -> Signer:
        """Read a private key, naming *place* in errors.

        Raises:
            SettingsError: If it is no private key of the curve P-256, or the password does not fit.
            MissingExtraError: If cryptography is not installed.
        """
        with _cryptography("signing"):
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric import ec
        if not is_private(data):
            what = "a public key" if _PUBLIC.search(data) else "no key as PEM"
            raise SettingsError(f"{place} is {what}; expected the private one, or {_REMEDY}")
        try:
            key = serialization.load_pem_private_key(data, password.encode() or None)
        except TypeError as error:
            how = "is not encrypted; leave the password out"
            if not password:
                how = "is encrypted; set MLEMBED_SIGNING_PASSWORD, or --password-env"
            raise SettingsError(f"{place} {how}") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            why = "has another password" if password else "is no readable private key"
            raise SettingsError(f"{place} {why}; check it, or {_REMEDY}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise SettingsError(f"{place} is no private key of the curve P-256; {_REMEDY}")
        return cls(key)

    @classmethod
    def read(cls, path: str | Path, password: str = "") -> Signer:
        """Read the private key in the file *path*.

        Raises:
            SettingsError: If it cannot be read, or as `from_pem`.
            MissingExtraError: If cryptography is not installed.
        """
        return cls.from_pem(read_pem(path), str(path), password)

    @property
    def key_id(self) -> str:
        """The id of its public key."""
        return self.public.key_id

    def sign(self, data: bytes) -> bytes:
        """Return the signature of *data*, DER of its two numbers; each call gives another."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._key.sign(data, ec.ECDSA(SHA256()))


def new_key(password: str = "") -> tuple[bytes, bytes]:
    """Make a pair of keys.

    Args:
        password: Encrypts the private key; empty for none.

    Returns:
        The private key as PEM of PKCS #8, and the public one as PEM of SubjectPublicKeyInfo.

    Raises:
        SettingsError: If the password is too long or no text.
        MissingExtraError: If cryptography is not installed.
    """
    with _cryptography("making keys"):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    try:
        if password:
            lock = serialization.BestAvailableEncryption(password.encode())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock
        )
    except ValueError as error:
        raise SettingsError("the password must be at most 1023 bytes of UTF-8") from error
    return private, Signer(key).public.pem


def write(path: Path, private: bytes, public: bytes) -> tuple[Path, Path]:
    """Write a pair into *path*.key, which only its owner may read, and *path*.pub.

    Returns:
        Where they are, the private one first.

    Raises:
        SettingsError: If one of them is there already, or cannot be written; then neither is made.
    """
    private_path, public_path = Path(f"{path}.key"), Path(f"{path}.pub")
    _create(private_path, private, 0o600)
    try:
        _create(public_path, public, 0o644)
    except SettingsError:
        private_path.unlink()
        raise
    return private_path, public_path


def read_pem(path: str | Path) -> bytes:
    """Read the file *path*, which should be a key.

    Raises:
        SettingsError: If it cannot be read or is too large for one.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_PEM_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no path"
        raise SettingsError(
            f"cannot read the key {path}: {why}; check the path and who may read it, or {_REMEDY}"
        ) from error
    if len(data) > _MAX_PEM_BYTES:
        raise SettingsError(f"{path} is larger than any key; expected PEM; {_REMEDY}")
    return data


def is_private(data: bytes) -> bool:
    """Tell whether *data* holds a private key as PEM, encrypted or not."""
    return any(label.endswith(b"PRIVATE KEY") for label in _labels(data))


def _labels(data: bytes) -> list[bytes]:
    return _LABEL.findall(data)


def _create(path: Path, data: bytes, mode: int) -> None:
    """Write the new file *path*, which has its *mode* before there is anything to read in it.

    Raises:
        SettingsError: If it is there already or cannot be written; then it is not left half made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise SettingsError(
            f"{path} is there already, and a key is never overwritten; name another path"
        ) from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no path"
        raise SettingsError(f"cannot write the key {path}: {why}; name another path") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        path.unlink()
        raise SettingsError(
            f"cannot write the key {path}: {error.strerror}; name another path"
        ) from error


@contextlib.contextmanager
def _cryptography(purpose: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(purpose, "sign") from error
