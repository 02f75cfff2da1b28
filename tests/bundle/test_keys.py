"""A key is of one curve and one half: what is anything else is refused by name."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import example, given
from hypothesis import strategies as st

from mlembed.bundle.keys import PublicKey, Signer, is_private, new_key, read_pem, write
from mlembed.errors import SettingsError
from processes import run_script

if TYPE_CHECKING:
    from collections.abc import Callable

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_PEM, _DER = serialization.Encoding.PEM, serialization.Encoding.DER
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
_PKCS8 = serialization.PrivateFormat.PKCS8
_PLAIN = serialization.NoEncryption()
PRIVATE, PUBLIC = new_key()
SIGNER, KEY = Signer.from_pem(PRIVATE), PublicKey.from_pem(PUBLIC)
SIGNATURE = SIGNER.sign(b"a model")
OTHERS: dict[str, Any] = {
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "RSA": rsa.generate_private_key(65537, 2048),
}


def pem(label: str, der: bytes) -> bytes:
    """Return *der* under *label*, as PEM."""
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode()


def public_pem(point: bytes) -> bytes:
    """Return a P-256 public key with any *point*, as PEM."""
    return pem("PUBLIC KEY", KEY.der[: -len(point)] + point)


def compressed() -> bytes:
    """Return the public key with its point in the short form, which is as valid, as PEM."""
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    bits = b"\x00\x02" + KEY.der[-64:-32]
    body = algorithm + b"\x03" + bytes([len(bits)]) + bits
    return pem("PUBLIC KEY", b"\x30" + bytes([len(body)]) + body)


def test_new_key_is_read_by_others() -> None:
    """Both halves are of the forms that every library reads, and belong together."""
    private: Any = serialization.load_pem_private_key(PRIVATE, None)
    public: Any = serialization.load_pem_public_key(PUBLIC)

    assert PRIVATE.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert public.curve.name == "secp256r1"
    assert private.public_key() == public
    assert public.public_bytes(_PEM, _SPKI) == PUBLIC == KEY.pem


def test_key_id_is_the_digest_of_the_public_key() -> None:
    """Both halves have one id, which anybody can compute."""
    der = serialization.load_pem_public_key(PUBLIC).public_bytes(_DER, _SPKI)

    assert KEY.key_id == SIGNER.key_id == hashlib.sha256(der).hexdigest()
    assert SIGNER.public == KEY


def test_verify_knows_what_was_signed_and_by_whom() -> None:
    """Other bytes and other keys do not verify."""
    other = PublicKey.from_pem(new_key()[1])

    elsewhere: Any = serialization.load_pem_public_key(PUBLIC)
    elsewhere.verify(SIGNATURE, b"a model", ec.ECDSA(SHA256()))
    assert KEY.verify(b"a model", SIGNATURE)
    assert not KEY.verify(b"a model ", SIGNATURE)
    assert not KEY.verify(b"", SIGNATURE)
    assert not other.verify(b"a model", SIGNATURE)


@given(signature=st.binary(max_size=200))
def test_verify_takes_any_bytes_as_no_signature(signature: bytes) -> None:
    """Garbage is answered, not raised."""
    assert not KEY.verify(b"a model", signature)


@given(position=st.integers(0, len(SIGNATURE) - 1), bits=st.integers(1, 255))
def test_verify_refuses_a_flipped_byte(position: int, bits: int) -> None:
    """No byte of a signature is without meaning."""
    bad = bytearray(SIGNATURE)
    bad[position] ^= bits

    assert not KEY.verify(b"a model", bytes(bad))


def integer(number: int, before: bytes = b"") -> bytes:
    """Return the DER of a positive *number*, or its BER with bytes *before* it."""
    data = before + number.to_bytes((number.bit_length() + 8) // 8)
    return b"\x02" + bytes([len(data)]) + data


def sequence(body: bytes) -> bytes:
    """Return the DER of a sequence."""
    return b"\x30" + bytes([len(body)]) + body


R, S = decode_dss_signature(SIGNATURE)
PADDED = sequence(integer(R, b"\0\0") + integer(S))


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        SIGNATURE[:-1],
        SIGNATURE + b"\0",
        SIGNATURE * 20_000,
        b"\x30\x84\x7f\xff\xff\xff" + SIGNATURE,
        b"\x30\x81" + SIGNATURE[1:],
        PADDED,
        encode_dss_signature(0, 0),
        encode_dss_signature(R, 0),
        encode_dss_signature(_ORDER, _ORDER),
        encode_dss_signature(R + _ORDER, S),
        encode_dss_signature(1 << 5000, 1 << 5000),
        R.to_bytes(32) + S.to_bytes(32),
    ],
    ids=range(13),
)
def test_verify_takes_one_form_of_a_signature(signature: bytes) -> None:
    """Padded, cut, raw, empty, huge and zero forms are no signatures."""
    assert sequence(integer(R) + integer(S)) == SIGNATURE
    assert not KEY.verify(b"a model", signature)


def test_verify_accepts_the_mirrored_signature() -> None:
    """ECDSA lets anybody make a second signature from a first: of the same bytes, so nothing is won.

    This is why no id here is ever made of a signature.
    """
    assert KEY.verify(b"a model", encode_dss_signature(R, _ORDER - S))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        *((key.public_key().public_bytes(_PEM, _SPKI), "curve P-256") for key in OTHERS.values()),
        (public_pem(b"\x04" + b"\1" * 64), "curve P-256"),
        (public_pem(b"\x06" + KEY.der[-64:]), "curve P-256"),
        (public_pem(b"\x00" * 65), "curve P-256"),
        (pem("PUBLIC KEY", KEY.der + b"\0"), "curve P-256"),
        (pem("PUBLIC KEY", KEY.der[:-65] + b"\x02" + KEY.der[-64:-32]), "curve P-256"),
        (pem("PUBLIC KEY", KEY.der.replace(b"\x03\x01\x07", b"\x03\x01\x06")), "curve P-256"),
        (pem("PUBLIC KEY", KEY.der[:-1]), "curve P-256"),
        (compressed(), "curve P-256"),
        (PUBLIC.replace(b"=", b""), "curve P-256"),
        (PUBLIC + PUBLIC, "not one public key"),
        (PUBLIC.replace(b"PUBLIC KEY", b"CERTIFICATE"), "not one public key"),
        (PUBLIC + pem("CERTIFICATE", b"x"), "not one public key"),
        (PUBLIC[:-10], "not one public key"),
        (KEY.der, "not one public key"),
        (b"", "not one public key"),
        (b"\xff" * 100, "not one public key"),
        (PRIVATE, "a private key, which only the publisher"),
        (PUBLIC + PRIVATE, "a private key, which only the publisher"),
        (new_key("secret")[0], "a private key, which only the publisher"),
        (pem("EC PRIVATE KEY", b"x"), "a private key, which only the publisher"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_public_key_refuses_what_is_none(data: bytes, words: str) -> None:
    """Other curves, other kinds, bad points, several keys and private keys are told apart by name."""
    with pytest.raises(SettingsError, match=f"^here is .*{words}"):
        PublicKey.from_pem(data, "here")


@pytest.mark.parametrize(
    "data",
    [
        PUBLIC.replace(b"\n", b"\r\n"),
        PUBLIC.rstrip(),
        b"# of the team for prices\n" + PUBLIC + b"\n# until 2027\n",
    ],
    ids=["CRLF", "no last line end", "remarks"],
)
def test_public_key_is_read_as_people_store_it(data: bytes) -> None:
    """Line ends and remarks around the key do not matter, and give the same key."""
    assert PublicKey.from_pem(data) == KEY
    assert PublicKey.from_pem(data).pem == PUBLIC


@given(data=st.binary(max_size=300))
@example(data=b"=")  # a lenient decoder passes over it
def test_public_key_refuses_any_bytes(data: bytes) -> None:
    """Nothing but `SettingsError` comes of a file that is no key, framed as PEM or not."""
    for text in (data, pem("PUBLIC KEY", data), PUBLIC[:60] + data + PUBLIC[60:]):
        try:
            PublicKey.from_pem(text)
        except SettingsError:
            continue
        assert not data.strip()


def test_public_key_is_plain_data() -> None:
    """It is equal, hashed and pickled by what it is, and shows its id."""
    again = PublicKey.from_pem(PUBLIC)

    assert {KEY, again} == {KEY}
    assert PublicKey.from_pem(new_key()[1]) != KEY
    assert pickle.loads(pickle.dumps(KEY)).verify(b"a model", SIGNATURE)  # noqa: S301  our own
    assert repr(KEY) == f"PublicKey(key_id='{KEY.key_id}')"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        *((key.private_bytes(_PEM, _PKCS8, _PLAIN), "curve P-256") for key in OTHERS.values()),
        (PUBLIC, "here is a public key; expected the private one"),
        (b"", "here is no key as PEM"),
        (b"\xff", "here is no key as PEM"),
        (pem("PRIVATE KEY", b"x"), "here is no readable private key"),
        (PRIVATE[:-60], "here is no readable private key"),
    ],
)
def test_signer_refuses_what_is_none(data: bytes, words: str) -> None:
    """Other curves, public keys and torn files are told apart by name."""
    with pytest.raises(SettingsError, match=f"{words}.*mlembed keys new"):
        Signer.from_pem(data, "here")


def test_signer_reads_what_openssl_writes() -> None:
    """`openssl ecparam -genkey` writes the older form with the curve before it."""
    key: Any = serialization.load_pem_private_key(PRIVATE, None)
    old = key.private_bytes(_PEM, serialization.PrivateFormat.TraditionalOpenSSL, _PLAIN)
    curve = pem("EC PARAMETERS", bytes.fromhex("06082a8648ce3d030107"))

    assert Signer.from_pem(curve + old).key_id == KEY.key_id


@pytest.mark.parametrize(
    ("password", "given", "words"),
    [
        ("secret", "", "is encrypted; set MLEMBED_SIGNING_PASSWORD, or --password-env"),
        ("secret", "other", "has another password"),
        ("secret", "\udcff", "has another password"),
        ("", "secret", "is not encrypted; leave the password out"),
    ],
)
def test_signer_tells_what_is_wrong_with_a_password(password: str, given: str, words: str) -> None:
    """Missing, wrong and needless passwords are told apart, and none is shown."""
    private, _ = new_key(password)

    with pytest.raises(SettingsError, match=f"^here {words}") as caught:
        Signer.from_pem(private, "here", given)

    assert "secret" not in str(caught.value)


def test_new_key_encrypts() -> None:
    """A key under a password is encrypted, and opens with it."""
    private, public = new_key("sécret")

    assert private.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert is_private(private)
    assert Signer.from_pem(private, password="sécret").public.pem == public  # noqa: S106


@pytest.mark.parametrize("password", ["x" * 1024, "\udcff"], ids=["long", "no text"])
def test_new_key_refuses_a_password_that_no_library_takes(password: str) -> None:
    """A key that nobody could open is not made."""
    with pytest.raises(SettingsError, match="at most 1023 bytes of UTF-8"):
        new_key(password)


def test_signer_hides_its_key() -> None:
    """Neither a log line nor a pickle holds the private key."""
    assert repr(SIGNER) == f"Signer(key_id='{KEY.key_id}')"
    with pytest.raises(TypeError):
        pickle.dumps(SIGNER)


def test_sign_never_repeats_itself() -> None:
    """Each signature has a nonce of its own: a repeated one gives the key away."""
    assert len({SIGNER.sign(b"a model") for _ in range(20)}) == 20


def test_write_keeps_the_private_key_to_its_owner(tmp_path: Path) -> None:
    """Whatever the umask, nobody else can read the private key, and everybody the public one."""
    umask = os.umask(0)
    try:
        private, public = write(tmp_path / "team.eu", PRIVATE, PUBLIC)
    finally:
        os.umask(umask)

    assert (private.name, public.name) == ("team.eu.key", "team.eu.pub")
    assert (private.read_bytes(), public.read_bytes()) == (PRIVATE, PUBLIC)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["k.key", "k.pub"])
@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_write_never_overwrites(tmp_path: Path, name: str, kind: str) -> None:
    """If either half is there already, even as a link to nowhere, it stays and neither is made."""
    if kind == "file":
        (tmp_path / name).write_text("mine")
    elif kind == "link":
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / name).mkdir()

    with pytest.raises(SettingsError, match=f"{name} is there already, and a key is never"):
        write(tmp_path / "k", PRIVATE, PUBLIC)

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert kind != "file" or (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("path", ["nowhere/k", "nul\0", "k" * 300])
def test_write_names_a_path_that_cannot_be(tmp_path: Path, path: str) -> None:
    """A missing directory or an impossible name is a setting's error."""
    with pytest.raises(SettingsError, match=r"cannot write the key .*name another path"):
        write(tmp_path / path, PRIVATE, PUBLIC)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device on this system")
def test_write_leaves_no_half_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves nothing that could be taken for a key."""
    opened = os.open

    def full(path: Path, flags: int, mode: int) -> int:
        os.close(opened(path, flags, mode))
        return opened("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(os, "open", full)

    with pytest.raises(SettingsError, match="No space left"):
        write(tmp_path / "k", PRIVATE, PUBLIC)

    assert not list(tmp_path.iterdir())


def prepare(tmp_path: Path) -> dict[str, Callable[[], Path]]:
    """Return ways to make a path that holds no readable key."""

    def large() -> Path:
        path = tmp_path / "large"
        with path.open("wb") as file:
            file.truncate(2**40)
        return path

    return {
        "missing": lambda: tmp_path / "nowhere",
        "directory": lambda: tmp_path,
        "NUL": lambda: tmp_path / "nul\0",
        "large": large,
    }


@pytest.mark.parametrize("kind", ["missing", "directory", "NUL", "large"])
@pytest.mark.parametrize("read", [read_pem, PublicKey.read, Signer.read])
def test_read_names_a_file_that_is_no_key(
    tmp_path: Path, kind: str, read: Callable[[Path], object]
) -> None:
    """Whatever cannot be read, or is too large to be a key, is named, with the remedy."""
    path = prepare(tmp_path)[kind]()

    with pytest.raises(SettingsError, match=r"(cannot read the key|larger than any key).*keys new"):
        read(path)


def test_keys_load_cryptography_with_the_first_key() -> None:
    """The modules cost nothing until there is a key, and a host then loads only the curve."""
    code = """
        import json, sys
        import mlembed.bundle.dsse, mlembed.bundle.signature, mlembed.bundle.trust
        from mlembed.bundle.keys import PublicKey
        before = [name for name in sys.modules if name.startswith("cryptography")]
        key = PublicKey.from_pem(sys.argv[1].encode())
        assert key.verify(b"a model", bytes.fromhex(sys.argv[2]))
        later = [name for name in sys.modules if name.startswith("cryptography")]
        print(json.dumps([before, later]))
    """
    before, later = json.loads(run_script(code, PUBLIC.decode(), SIGNATURE.hex()))

    assert before == []
    assert "cryptography.hazmat.primitives.asymmetric.ec" in later
    assert not [name for name in later if "serialization.ssh" in name or "x509" in name]


def test_keys_name_the_extra() -> None:
    """Without the library every use of a key says how to get it."""
    code = """
        import sys
        from mlembed.bundle.keys import PublicKey, Signer, new_key
        from mlembed.bundle.trust import Trust
        from mlembed.errors import MissingExtraError
        public, private = PublicKey(bytes.fromhex(sys.argv[3])), sys.argv[2].encode()
        sys.modules["cryptography"] = None
        for act in (
            new_key,
            lambda: Signer.from_pem(private),
            lambda: PublicKey.from_pem(sys.argv[1].encode()),
            lambda: public.verify(b"", b""),
        ):
            try:
                act()
            except MissingExtraError as error:
                print(error)
        assert Trust() == Trust.read((), None)
    """
    told = run_script(code, PUBLIC.decode(), PRIVATE.decode(), KEY.der.hex()).splitlines()

    assert [line.partition(" needs ")[0] for line in told] == [
        *("making keys", "signing", "checking signatures", "checking signatures")
    ]
    assert all("pip install 'mlembed[sign]'" in line for line in told)
