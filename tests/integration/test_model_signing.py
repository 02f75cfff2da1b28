"""The official `model_signing` command reads what we sign, and we read what it signs."""

from __future__ import annotations

import base64
import json
import subprocess
import venv
from typing import TYPE_CHECKING, Any

import pytest

from bundles import toy_bundle
from mlembed.bundle.bundle import read_directory, write_directory
from mlembed.bundle.keys import PublicKey, Signer, new_key, write
from mlembed.bundle.signature import signed, verify
from mlembed.errors import IntegrityError, SignatureError
from processes import pip_install, unmeasured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Oracle = Callable[..., subprocess.CompletedProcess[str]]

# pyOpenSSL is needed and not declared by model-signing 1.1.1.
PACKAGES = ("model-signing>=1.1.1", "pyOpenSSL")


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the official command in an environment of its own; skip where it cannot be installed."""
    folder = tmp_path_factory.mktemp("oracle")
    venv.create(folder, with_pip=True)
    pip_install(folder / "bin" / "python", *PACKAGES)
    return folder / "bin" / "model_signing"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a pair of keys, k.key and k.pub, and a signed bundle."""
    write(tmp_path / "k", *new_key())
    write(tmp_path / "other", *new_key())
    bundle = signed(toy_bundle(), Signer.read(tmp_path / "k.key"))
    write_directory(bundle, tmp_path / "bundle")
    return tmp_path


@pytest.fixture
def oracle(command: Path, folder: Path) -> Oracle:
    """Return a function that runs the official command in the folder."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *words],
            cwd=folder,
            env=unmeasured(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return call


VERIFY = ("verify", "key", "--signature", "bundle/bundle.sig.json", "--public_key")
SIGN = (
    *("sign", "key", "--signature", "bundle/bundle.sig.json", "--private_key", "k.key"),
    *("--ignore-paths", "bundle/bundle.sig.json"),
)


def statement(folder: Path) -> Any:
    """Return what the signature in *folder* says."""
    document = json.loads((folder / "bundle" / "bundle.sig.json").read_bytes())
    return json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))


@pytest.mark.parametrize("options", [(), ("--no-ignore-git-paths",)], ids=str)
def test_it_verifies_what_we_sign(oracle: Oracle, options: tuple[str, ...]) -> None:
    """A bundle signed here is accepted there, without a word on which files to leave out."""
    done = oracle(*VERIFY, "k.pub", *options, "bundle")

    assert done.returncode == 0, done.stderr
    assert "Verification succeeded" in done.stdout


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "bundle" / "model.onnx").write_bytes(b"another"),
        lambda folder: (folder / "bundle" / "golden.json").unlink(),
        lambda folder: (folder / "bundle" / "extra.txt").write_text(""),
        lambda folder: (folder / "other.pub").replace(folder / "k.pub"),
    ],
    ids=["changed", "missing", "extra", "another key"],
)
def test_it_refuses_what_we_refuse(
    oracle: Oracle, folder: Path, spoil: Callable[[Path], object]
) -> None:
    """A changed bundle and a stranger's key are refused on both sides."""
    spoil(folder)

    done = oracle(*VERIFY, "k.pub", "bundle")

    assert done.returncode != 0
    with pytest.raises(IntegrityError):
        verify(read_directory(folder / "bundle"), [PublicKey.read(folder / "k.pub")])


def test_we_verify_what_it_signs(oracle: Oracle, folder: Path) -> None:
    """A bundle signed there with our key is accepted here, and by nobody else's key."""
    before = (folder / "bundle" / "bundle.sig.json").read_bytes()
    done = oracle(*SIGN, "bundle")
    bundle, key = read_directory(folder / "bundle"), PublicKey.read(folder / "k.pub")

    assert done.returncode == 0, done.stderr
    assert bundle.signature != before
    assert verify(bundle, [key]) == key.key_id
    with pytest.raises(SignatureError, match="none of the trusted keys"):
        verify(bundle, [PublicKey.read(folder / "other.pub")])


def test_we_refuse_what_it_signs_and_we_do_not_list(oracle: Oracle, folder: Path) -> None:
    """A file that it saw and that is no part of the bundle spoils its signature for us."""
    (folder / "bundle" / "notes.txt").write_text("x")
    done = oracle(*SIGN, "bundle")
    (folder / "bundle" / "notes.txt").unlink()

    assert done.returncode == 0, done.stderr
    with pytest.raises(SignatureError, match=r"'notes.txt' is not in the bundle"):
        verify(read_directory(folder / "bundle"), [PublicKey.read(folder / "k.pub")])


def test_both_sign_the_same(oracle: Oracle, folder: Path) -> None:
    """The statements are equal but for the subject's name, which is a directory's there."""
    ours = statement(folder)
    ours["subject"][0]["name"] = "bundle"

    done = oracle(*SIGN, "--no-ignore-git-paths", "bundle")

    assert done.returncode == 0, done.stderr
    assert statement(folder) == ours


def test_we_refuse_what_it_lets_pass(oracle: Oracle, folder: Path) -> None:
    """A file that git would ignore is no matter there, and stops the bundle here."""
    (folder / "bundle" / ".gitignore").write_text("x")

    assert oracle(*VERIFY, "k.pub", "bundle").returncode == 0
    with pytest.raises(IntegrityError, match=r"'.gitignore' is not listed"):
        read_directory(folder / "bundle")
