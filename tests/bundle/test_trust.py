"""A host believes whom it was told to believe, and fails closed where it cannot tell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundles import toy_bundle
from mlembed.bundle.dsse import Envelope, seal
from mlembed.bundle.keys import PublicKey, Signer, new_key
from mlembed.bundle.signature import signed
from mlembed.bundle.trust import Trust
from mlembed.errors import SettingsError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.bundle.bundle import Bundle

PAIRS = [new_key() for _ in range(2)]
SIGNER, STRANGER = (Signer.from_pem(private) for private, _ in PAIRS)
KEY, OTHER = (PublicKey.from_pem(public) for _, public in PAIRS)
NOBODY, GIVEN, ASKED = Trust(), Trust((KEY,)), Trust((KEY,), required=True)
BUNDLES = {
    "unsigned": toy_bundle(),
    "ours": signed(toy_bundle(), SIGNER),
    "stranger's": signed(toy_bundle(), STRANGER),
}
ENVELOPES = {
    "unsigned": seal("x", b"y"),
    "ours": seal("x", b"y", [SIGNER]),
    "stranger's": seal("x", b"y", [STRANGER]),
}
MATRIX = [
    (NOBODY, "unsigned", ""),
    (NOBODY, "ours", ""),
    (NOBODY, "stranger's", ""),
    (GIVEN, "unsigned", ""),
    (GIVEN, "ours", KEY.key_id),
    (GIVEN, "stranger's", "none of the trusted keys"),
    (ASKED, "unsigned", "is not signed; expected a signature by one of the keys in MLEMBED_KEYS"),
    (ASKED, "ours", KEY.key_id),
    (ASKED, "stranger's", "none of the trusted keys"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a directory with both public keys, under either suffix, and what is no key."""
    (tmp_path / "a.pub").write_bytes(PAIRS[0][1])
    (tmp_path / "b.pem").write_bytes(PAIRS[1][1])
    (tmp_path / "README.txt").write_text("keys of the publishers")
    return tmp_path


@pytest.mark.parametrize(("trust", "kind", "expected"), MATRIX, ids=range(len(MATRIX)))
def test_check_bundle_follows_the_policy(trust: Trust, kind: str, expected: str) -> None:
    """Every policy meets every bundle: believed, believed of somebody, or refused by name."""
    bundle: Bundle = BUNDLES[kind]
    if " " in expected:
        with pytest.raises(SignatureError, match=f"^toy@1.0.0 .*{expected}.*mlembed sign"):
            trust.check_bundle(bundle)
    else:
        assert trust.check_bundle(bundle) == expected


@pytest.mark.parametrize(("trust", "kind", "expected"), MATRIX, ids=range(len(MATRIX)))
def test_check_envelope_follows_the_policy(trust: Trust, kind: str, expected: str) -> None:
    """A statement is judged like a bundle; the message names its place and the remedy."""
    envelope: Envelope = ENVELOPES[kind]
    if " " in expected:
        with pytest.raises(SignatureError, match=f"^the pointer .*{expected}.*") as caught:
            trust.check_envelope(envelope, "the pointer")
        assert "MLEMBED_KEYS" in str(caught.value)
        assert KEY.key_id[:12] in str(caught.value)
    else:
        assert trust.check_envelope(envelope, "the pointer") == expected


def test_check_envelope_takes_any_of_its_signers() -> None:
    """While keys are rotated a statement bears both signatures, and hosts know either."""
    both = seal("x", b"y", [STRANGER, SIGNER])

    assert ASKED.check_envelope(both, "x") == KEY.key_id
    assert Trust((OTHER,)).check_envelope(both, "x") == OTHER.key_id
    assert Trust((KEY, OTHER)).check_envelope(both, "x") == KEY.key_id


def test_trust_that_cannot_be_met_is_no_trust() -> None:
    """To require signatures and know no key is a mistake, not a policy that lets all pass."""
    with pytest.raises(SettingsError, match="signatures are required and there is no key"):
        Trust(required=True)
    with pytest.raises(SettingsError, match="set MLEMBED_KEYS"):
        Trust.read((), required=True)


@pytest.mark.parametrize(
    ("required", "expected"), [(None, True), (True, True), (False, False)], ids=str
)
def test_trust_requires_signatures_wherever_there_are_keys(
    folder: Path,
    required: bool | None,  # noqa: FBT001
    expected: bool,  # noqa: FBT001
) -> None:
    """Keys alone ask for signatures, unless the host says otherwise."""
    assert Trust.read([folder / "a.pub"], required) == Trust((KEY,), expected)


@pytest.mark.parametrize("required", [None, False])
def test_trust_of_nobody(required: bool | None) -> None:  # noqa: FBT001
    """Without keys nothing is asked."""
    assert Trust.read([], required) == Trust()


def test_trust_reads_a_directory_of_keys(folder: Path) -> None:
    """Every key in a directory is trusted, in the order of names; other files are no keys."""
    assert Trust.read([str(folder)], None).keys == (KEY, OTHER)


def test_trust_follows_links_to_keys(folder: Path, tmp_path: Path) -> None:
    """Orchestrators mount keys as links, and so may be read."""
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "a.pub").symlink_to(folder / "a.pub")

    assert Trust.read([tmp_path / "mounted"], None).keys == (KEY,)


def test_trust_holds_each_key_once(folder: Path) -> None:
    """A key that is named twice is one."""
    assert Trust.read([folder / "a.pub", folder, folder / "b.pem"], None).keys == (KEY, OTHER)


def broken(folder: Path, kind: str) -> Sequence[Path]:
    """Return paths with a good key among them, and one that is not."""
    bad = folder / "bad"
    if kind == "empty directory":
        bad.mkdir()
    elif kind == "directory without keys":
        bad.mkdir()
        (bad / "a.key").write_bytes(PAIRS[0][0])
    elif kind == "private key":
        bad.write_bytes(PAIRS[0][0])
    elif kind == "private key in a directory":
        (folder / "c.pem").write_bytes(PAIRS[0][0])
        bad = folder
    elif kind == "directory named as a key":
        (folder / "c.pub").mkdir()
        bad = folder
    elif kind == "broken link":
        (folder / "c.pub").symlink_to("nowhere")
        bad = folder
    elif kind == "text":
        bad.write_text("key")
    elif kind == "NUL":
        bad = Path("nul\0")
    return [folder / "a.pub", bad]


@pytest.mark.parametrize("required", [None, True, False])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "cannot read the keys in .*No such file"),
        ("empty directory", "holds no key; expected files that end in .pub or .pem"),
        ("directory without keys", "holds no key; expected files that end in .pub or .pem"),
        ("private key", "bad is a private key"),
        ("private key in a directory", "c.pem is a private key"),
        ("directory named as a key", "cannot read the key .*c.pub: Is a directory"),
        ("broken link", "cannot read the key .*c.pub: No such file"),
        ("text", "bad is not one public key as PEM"),
        ("NUL", "cannot read the keys in nul\0: it is no path"),
    ],
)
def test_trust_fails_closed(
    folder: Path,
    kind: str,
    words: str,
    required: bool | None,  # noqa: FBT001
) -> None:
    """One key that cannot be read stops it all, whatever else is set: a mount may have failed."""
    with pytest.raises(SettingsError, match=words):
        Trust.read(broken(folder, kind), required)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
@pytest.mark.parametrize("name", ["a.pub", "."])
def test_trust_names_what_it_may_not_read(folder: Path, name: str) -> None:
    """A file or directory of somebody else is named."""
    (folder / name).chmod(0)
    try:
        with pytest.raises(SettingsError, match="Permission denied"):
            Trust.read([folder / name], None)
    finally:
        (folder / name).chmod(0o700)
