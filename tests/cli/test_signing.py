"""The commands around keys and signatures: make a pair, sign a bundle, verify who did."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundles import toy_bundle
from mlembed.bundle.bundle import pack, read_directory, write_directory
from mlembed.bundle.keys import PublicKey, Signer, new_key, write
from mlembed.bundle.signature import signed, verify
from mlembed.cli.app import run
from mlembed.registry.file import FileRegistry
from mlembed.registry.issue import Issuer
from mlembed.settings import default_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Call = Callable[..., tuple[int, Any]]

PAIRS = [new_key() for _ in range(2)]
KEY = PublicKey.from_pem(PAIRS[0][1])


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Call]:
    """Return a function that runs a command with --json: its exit code and document, or error.

    It runs in a folder with two pairs of keys and a bundle that nobody signed.
    """
    for name in ("REGISTRY", "KEYS", "REQUIRE_SIGNATURE", "SIGNING_KEY"):
        monkeypatch.delenv(f"MLEMBED_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, pair in zip(("ours", "other"), PAIRS, strict=True):
        write(Path(name), *pair)
    write_directory(toy_bundle(), Path("bundle"))

    def called(*arguments: str) -> tuple[int, Any]:
        default_settings.cache_clear()
        capsys.readouterr()
        code = run([*arguments, "--json"])
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if shown.out else shown.err

    yield called
    default_settings.cache_clear()


def test_keys_new_makes_a_pair(call: Call) -> None:
    """The pair is written beside each other, the private key for its owner alone."""
    code, made = call("keys", "new")

    assert code == 0
    assert (made["private"], made["public"]) == ("mlembed.key", "mlembed.pub")
    assert stat.S_IMODE(Path("mlembed.key").stat().st_mode) == 0o600
    assert PublicKey.read("mlembed.pub").key_id == made["key_id"]
    assert Signer.read("mlembed.key").key_id == made["key_id"]


def test_keys_new_never_overwrites(call: Call) -> None:
    """A second call names another path, and the first pair stays."""
    before = Path("ours.key").read_bytes()

    code, error = call("keys", "new", "ours")

    assert code == 2
    assert "ours.key is there already, and a key is never overwritten" in error
    assert Path("ours.key").read_bytes() == before


@pytest.mark.parametrize(("name", "kind"), [("ours.key", "private"), ("ours.pub", "public")])
def test_keys_show_tells_the_halves_apart(call: Call, name: str, kind: str) -> None:
    """Both halves have one id, and are called what they are."""
    assert call("keys", "show", name) == (0, {"key_id": KEY.key_id, "kind": kind})


def test_keys_under_a_password(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password comes from a variable, never from the command line, and is asked for again."""
    monkeypatch.setenv("SECRET", "sésame")
    _, made = call("keys", "new", "locked", "--password-env", "SECRET")

    shown = call("keys", "show", "locked.key", "--password-env", "SECRET")
    code, _ = call("sign", "bundle", "--key", "locked.key", "--password-env", "SECRET")

    assert "ENCRYPTED" in Path("locked.key").read_text()
    assert shown == (0, {"key_id": made["key_id"], "kind": "private"})
    assert code == 0
    assert call("verify", "bundle", "--keys", "locked.pub")[0] == 0
    code, error = call("sign", "bundle", "--key", "locked.key")
    assert code == 2
    assert "set MLEMBED_SIGNING_PASSWORD, or --password-env" in error
    monkeypatch.setenv("SECRET", "")
    code, error = call("keys", "show", "locked.key", "--password-env", "SECRET")
    assert (code, "SECRET is not set" in error) == (2, True)


def test_sign_then_verify(call: Call) -> None:
    """What is signed verifies, with the same id, and nothing but the signature is written."""
    before = {path.name: path.read_bytes() for path in Path("bundle").iterdir()}

    code, told = call("sign", "bundle", "--key", "ours.key")
    verified = call("verify", "bundle", "--keys", "ours.pub")

    bundle = read_directory(Path("bundle"), toy_bundle().id)
    after = {path.name: path.read_bytes() for path in Path("bundle").iterdir()}
    assert code == 0
    assert told == {"bundle": "toy@1.0.0", "bundle_id": bundle.id, "key_id": KEY.key_id}
    assert verified == (0, {**told, "verified": True, "reason": ""})
    assert after == {**before, "bundle.sig.json": bundle.signature}
    assert verify(bundle, [KEY]) == KEY.key_id


def test_sign_replaces_a_signature(call: Call) -> None:
    """The last who signs is the one who vouches."""
    call("sign", "bundle", "--key", "other.key")
    call("sign", "bundle", "--key", "ours.key")

    assert call("verify", "bundle", "--keys", "ours.pub")[0] == 0
    assert call("verify", "bundle", "--keys", "other.pub")[0] == 1


def test_sign_refuses_a_bundle_that_was_changed(call: Call) -> None:
    """Nobody vouches for bytes that are not those that were published."""
    with Path("bundle", "model.onnx").open("ab") as file:
        file.write(b"\n")

    code, error = call("sign", "bundle", "--key", "ours.key")

    assert code == 2
    assert "model.onnx is not the file that was published" in error
    assert not Path("bundle", "bundle.sig.json").exists()


def test_sign_names_a_bundle_it_cannot_write(call: Call) -> None:
    """What stands in the way of the signature is named, with the remedy."""
    target = Path("bundle", "bundle.sig.json")
    target.write_bytes(b"x")
    original = Path.replace

    def refuse(path: Path, place: Path) -> Path:
        if place == target:
            raise PermissionError(13, "Permission denied")
        return original(path, place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        code, error = call("sign", "bundle", "--key", "ours.key")

    assert code == 2
    assert "cannot write bundle: Permission denied; sign a copy" in error
    assert sorted(path.name for path in Path("bundle").iterdir()) == sorted(
        [*toy_bundle().files, "manifest.json", "bundle.sig.json"]
    )


def test_verify_reads_keys_from_settings(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --keys it asks what a host would ask, a signature in any case."""
    monkeypatch.setenv("MLEMBED_KEYS", "ours.pub")
    monkeypatch.setenv("MLEMBED_REQUIRE_SIGNATURE", "false")

    assert call("verify", "bundle")[0] == 1
    call("sign", "bundle", "--key", "ours.key")
    assert call("verify", "bundle")[0] == 0
    assert call("verify", "bundle", "--keys", "other.pub")[0] == 1
    assert call("verify", "bundle", "--keys", "other.pub", "--keys", "ours.pub")[0] == 0


def test_verify_reads_a_registry(call: Call) -> None:
    """A reference is verified like a directory."""
    store = FileRegistry(Path("models"))
    store.publish(signed(toy_bundle(), Signer.read("ours.key")))
    store.promote("toy", "champion", "1.0.0")
    verify = ("verify", "toy@champion", "--keys", "ours.pub", "--registry", "models")
    assert "the alias toy@champion in models is not signed" in call(*verify)[1]["reason"]
    store.issuer = Issuer(signer=Signer.read("ours.key"), days=-1)
    store.renew("toy", "champion")
    assert "expired" in call(*verify)[1]["reason"]
    store.issuer = Issuer(signer=Signer.read("ours.key"))
    store.renew("toy", "champion")

    code, told = call(*verify)

    assert (code, told["bundle"], told["key_id"]) == (0, "toy@1.0.0", KEY.key_id)
    assert call("verify", "toy", "--keys", "other.pub", "--registry", "models")[0] == 1


def spoil(kind: str) -> None:
    """Do to the signed bundle in this folder what an attacker would."""
    folder = Path("bundle")
    bundle = read_directory(folder)
    if kind == "stripped":
        (folder / "bundle.sig.json").unlink()
    elif kind == "swapped key":
        again = signed(bundle, Signer.read("other.key"))
        (folder / "bundle.sig.json").write_bytes(again.signature)
    elif kind == "changed file":
        (folder / "model.onnx").write_bytes(b"x")
    elif kind == "extra file":
        (folder / "run.sh").write_text("#!")
    elif kind == "another model":
        files = {**bundle.files, "card.md": b"# Card"}
        again = pack(bundle.manifest, files)
        (folder / "card.md").write_bytes(files["card.md"])
        (folder / "manifest.json").write_bytes(again.manifest_bytes)
    elif kind == "garbage":
        (folder / "bundle.sig.json").write_bytes(b"\xff")
    elif kind == "huge":
        with (folder / "bundle.sig.json").open("wb") as file:
            file.truncate(2**40)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("stripped", "is not signed; expected a signature by one of the keys"),
        ("swapped key", "none of the trusted keys"),
        ("changed file", "model.onnx is not the file that was published"),
        ("extra file", "'run.sh' is not listed in manifest.json"),
        ("another model", "card.md is not signed; manifest.json was another"),
        ("garbage", "bundle.sig.json: it is not the JSON it should be"),
        ("huge", "it is larger than 262144 bytes"),
    ],
)
def test_verify_exits_1_and_says_why(
    call: Call, capsys: pytest.CaptureFixture[str], kind: str, words: str
) -> None:
    """Not trusted is an answer, not a failure: exit 1, the reason for people and for programs."""
    call("sign", "bundle", "--key", "ours.key")
    spoil(kind)

    code, told = call("verify", "bundle", "--keys", "ours.pub")
    plain = run(["verify", "bundle", "--keys", "ours.pub"])

    shown = " ".join(capsys.readouterr().out.split())
    assert code == plain == 1
    assert (told["verified"], told["key_id"]) == (False, "")
    assert words in told["reason"]
    assert shown.startswith("not trusted: toy@1.0.0")
    assert words in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["keys", "show", "nowhere"], "cannot read the key nowhere"),
        (["keys", "show", "bundle/model.onnx"], "not one public key as PEM"),
        (["keys", "new", "nowhere/k"], "cannot write the key nowhere/k.key"),
        (["keys", "new", "k", "--password-env", "UNSET"], "UNSET is not set"),
        (["sign", "bundle", "--key", "ours.pub"], "ours.pub is a public key; expected the private"),
        (["sign", "bundle", "--key", "nowhere"], "cannot read the key nowhere"),
        (["sign", "./nowhere", "--key", "ours.key"], "nowhere is no readable bundle"),
        (["verify", "bundle"], "signatures are required and there is no key"),
        (["verify", "bundle", "--keys", "ours.key"], "ours.key is a private key"),
        (["verify", "bundle", "--keys", "bundle"], "holds no key"),
        (["verify", "./nowhere", "--keys", "ours.pub"], "no readable bundle"),
        (["verify", "toy", "--keys", "ours.pub"], "no model registry is set"),
    ],
)
def test_signing_commands_refuse_bad_input(call: Call, arguments: list[str], words: str) -> None:
    """A mistake is exit 2 with one line that says what to do, and nothing is written."""
    before = sorted(Path().rglob("*"))

    code, error = call(*arguments)

    assert code == 2
    assert error.startswith("error: ")
    assert words in error
    assert sorted(Path().rglob("*")) == before


def test_commands_speak_to_people(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json each command says what was done, to what and by which key."""
    assert call is not None
    said = []
    for words in ("keys new mine", "keys show mine.pub", "sign bundle --key mine.key"):
        assert run(words.split()) == 0
        said.append(capsys.readouterr().out)
    assert run(["verify", "bundle", "--keys", "mine.pub"]) == 0
    key_id = PublicKey.read("mine.pub").key_id

    assert f"key {key_id}" in said[0]
    assert "mine.key signs: keep it secret" in said[0]
    assert said[1] == f"public key {key_id}\n"
    assert said[2] == capsys.readouterr().out == f"toy@1.0.0 is signed by the key {key_id}\n"
