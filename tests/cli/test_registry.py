"""From a publisher's desk to a host's: keys, signatures, one file, copies, history and cleaning up."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from bundles import RECORD, toy_bundle
from mlembed.bundle.bundle import write_directory
from mlembed.cli.app import run
from mlembed.errors import SignatureError
from mlembed.registry.file import FileRegistry
from mlembed.settings import Settings, default_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Call = Callable[..., tuple[int, Any]]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder of the test's own, whose registry the environment names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLEMBED_REGISTRY", str(tmp_path / "models"))
    monkeypatch.setenv("MLEMBED_CACHE", str(tmp_path / "cache"))
    default_settings.cache_clear()
    yield
    default_settings.cache_clear()


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Return what runs a command with `--json` and gives its exit code and document."""

    def called(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = run([*arguments, "--json"])
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if shown.out else shown.err

    return called


@pytest.fixture
def published(call: Call) -> Call:
    """Publish two versions from directories, and promote one after the other."""
    for version in ("1.0.0", "1.1.0"):
        write_directory(toy_bundle(version=version), Path(version))
        code, _ = call("registry", "push", version, "--alias", "champion", "--reason", version)
        assert code == 0
    return call


def set_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Change a setting of the environment, as the next command's process would see it."""
    monkeypatch.setenv(name, value)
    default_settings.cache_clear()


def test_log_tells_who_moved_what_and_why(
    published: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line has its time, author, reason, and both versions."""
    published("registry", "rollback", "toy@champion", "--reason", "complaints", "--by", "ops")
    _, history = published("registry", "log", "toy@champion")

    assert [(item["from"], item["version"]) for item in history] == [
        (None, "1.0.0"),
        ("1.0.0", "1.1.0"),
        ("1.1.0", "1.0.0"),
    ]
    assert [item["reason"] for item in history] == ["1.0.0", "1.1.0", "complaints"]
    assert history[-1]["by"] == "ops"
    assert history[-1]["action"] == "rollback"
    assert "@" in history[0]["by"]
    assert run(["registry", "log", "toy@champion"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("complaints", "ops", "rollback", "from", "1.1.0"))


def test_log_says_where_it_begins_late(published: Call, capsys: pytest.CaptureFixture[str]) -> None:
    """What was moved away is said to be unknown."""
    Path("models/toy/log/champion").rename("old")
    published("registry", "promote", "toy@1.0.0")

    assert run(["registry", "log", "toy@champion"]) == 0
    assert "before serial 3 is not in the log" in capsys.readouterr().out


def test_show_tells_what_serves(published: Call, capsys: pytest.CaptureFixture[str]) -> None:
    """A reference, its bundle, its size, its pointer; for people too."""
    code, found = published("registry", "show", "toy")

    assert code == 0
    assert found["version"] == "1.1.0"
    assert found["bundle_id"] == toy_bundle(version="1.1.0").id
    assert found["pointer"]["serial"] == 2
    assert not found["signed"]
    assert published("registry", "show", "toy@1.0.0")[1]["pointer"] is None
    assert run(["registry", "show", "toy"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("1.1.0", "champion", "mlembed verify toy"))


def test_pull_and_push_carry_a_bundle_by_hand(published: Call) -> None:
    """One file leaves one registry and enters another with the same id."""
    code, pulled = published("registry", "pull", "toy@1.0.0", "--output", "mail/toy.mlb")
    assert code == 0
    assert published("inspect", "mail/toy.mlb")[1]["bundle_id"] == pulled["bundle_id"]
    assert published("registry", "pull", "toy")[1]["output"] == "toy-1.1.0.mlb"
    assert published("registry", "pull", "toy", "--output", "folder")[0] == 0
    assert published("registry", "pull", "toy", "--output", "folder")[0] == 2
    code, told = published("registry", "pull", "toy", "--output", "toy.zip")
    assert code == 2
    assert "write toy.mlb" in told
    assert not Path("toy.zip").exists()

    push = ("registry", "push", "mail/toy.mlb", "--registry", "other")
    code, pushed = published(*push, "--alias", "champion")
    assert code == 0
    assert (pushed["bundle_id"], pushed["alias"]) == (toy_bundle().id, "champion")
    assert [pushed["was_there"], published(*push)[1]["was_there"]] == [False, True]
    assert FileRegistry(Path("other")).pointer("toy", "champion").version == "1.0.0"


def test_mirror_copies_what_is_missing(published: Call, capsys: pytest.CaptureFixture[str]) -> None:
    """First it only says what, then it copies, then there is nothing to do."""
    _, missing = published("registry", "mirror", "copy", "--dry-run")
    assert missing == [{"name": "toy", "versions": ["1.0.0", "1.1.0"], "pointers": {"champion": 2}}]
    assert not Path("copy").exists()

    assert run(["registry", "mirror", "copy"]) == 0
    assert "copied versions" in capsys.readouterr().out
    assert published("registry", "mirror", "copy", "toy")[1][0]["versions"] == []
    assert published("registry", "log", "toy@champion", "--registry", "copy")[0] == 0
    assert published("registry", "mirror", "copy", "none")[0] == 2


def test_gc_lists_before_it_removes(published: Call, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing goes without --delete, and nothing that serves goes with it."""
    published("registry", "push", "1.0.0")
    write_directory(toy_bundle(version="0.9.0", shift=2.0), Path("0.9.0"))
    published("registry", "push", "0.9.0")
    old = time.time() - 30 * 86_400
    for path in Path("models").rglob("*"):
        os.utime(path, (old, old))

    _, listed = published("registry", "gc")
    assert listed[0]["versions"] == ["0.9.0"]
    assert run(["registry", "gc"]) == 0
    assert "Nothing was removed; do it with --delete" in capsys.readouterr().out
    _, removed = published("registry", "gc", "--delete")
    assert removed == listed
    assert published("registry", "ls")[1][0]["version"] == "1.1.0"
    assert len(published("registry", "ls")[1]) == 2
    assert published("registry", "gc", "none")[0] == 2


def test_signed_way_from_key_to_host(
    published: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """New keys, signed bundles and pointers, a host that asks for them, and one that is refused."""
    assert published("keys", "new", "release")[0] == 0
    set_variable(monkeypatch, "MLEMBED_SIGNING_KEY", "release.key")
    for ref in ("toy@1.0.0", "toy@champion"):
        assert published("sign", ref)[0] == 0
    host = Settings(
        registry="models", keys=("release.pub",), cache=tmp_path / "host", log=False, poll_seconds=0
    )
    with pytest.raises(SignatureError, match=r"the pointer of toy@champion .* not signed"):
        mlembed.load("toy", settings=host).predict(RECORD)

    assert published("registry", "renew", "toy@champion", "--days", "7")[0] == 0
    model = mlembed.load("toy", settings=host)
    assert model.predict(RECORD).version == "1.1.0"
    _, found = published("registry", "show", "toy")
    assert found["signed"]
    assert found["pointer"]["expires"]
    assert found["pointer"]["signed"] == [published("keys", "show", "release.pub")[1]["key_id"]]

    set_variable(monkeypatch, "MLEMBED_KEYS", "release.pub")
    assert published("verify", "toy")[0] == 0
    published("keys", "new", "thief")
    set_variable(monkeypatch, "MLEMBED_SIGNING_KEY", "thief.key")
    assert published("registry", "renew", "toy@champion")[0] == 2
    assert not model.refresh()
    assert model.error is None
    monkeypatch.delenv("MLEMBED_KEYS")
    default_settings.cache_clear()
    assert published("registry", "renew", "toy@champion")[0] == 0
    assert published("verify", "toy", "--keys", "release.pub")[0] == 1
    assert not model.refresh()
    assert model.state == "STALE"
    assert isinstance(model.error, SignatureError)


def test_single_file_is_signed_in_place(published: Call) -> None:
    """A .mlb file takes a signature, and a second one instead of it."""
    published("registry", "pull", "toy", "--output", "toy.mlb")
    for name in ("first", "second"):
        published("keys", "new", name)
        assert published("sign", "toy.mlb", "--key", f"{name}.key")[0] == 0
        assert published("verify", "toy.mlb", "--keys", f"{name}.pub")[0] == 0
    assert published("verify", "toy.mlb", "--keys", "first.pub")[0] == 1
    assert published("sign", "toy.mlb")[0] == 2
    assert sorted(path.name for path in Path().glob("*.mlb")) == ["toy.mlb"]
