"""`mlembed_pull` brings models here, so that a start needs the registry no more."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from bundles import RECORD, toy_bundle
from checked import found
from mlembed.bundle.keys import Signer, new_key
from mlembed.registry.issue import Issuer
from mlembed_django.conf import get_model
from registry.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlembed.registry.file import FileRegistry


def run(*arguments: str) -> tuple[list[str], str]:
    """Run the command; return the lines it printed, and the error that makes it exit with 1."""
    out = io.StringIO()
    try:
        call_command("mlembed_pull", *arguments, stdout=out)
    except CommandError as error:
        return out.getvalue().splitlines(), str(error)
    return out.getvalue().splitlines(), ""


@pytest.fixture
def web(registry: FileRegistry) -> Iterator[Site]:
    """Serve the registry from a web site on this machine."""
    with Site(registry.root) as site:
        yield site


@pytest.fixture
def remote(declared: dict[str, Any], web: Site, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Set MLEMBED to that web site, with a cache of the test's own."""
    setting = {
        **declared,
        "REGISTRY": web.url,
        "CACHE": tmp_path / "cache",
        "MODELS": {"toy": "toy@champion"},
    }
    with override_settings(MLEMBED=setting):
        yield setting


@pytest.mark.usefixtures("remote")
def test_pull_brings_a_model_once(tmp_path: Path) -> None:
    """The first pull downloads, verifies and proves; the next finds all of it here."""
    first, error = run()
    again, _ = run("toy")

    size = sum(file.size for file in toy_bundle().manifest.files)
    assert error == ""
    assert first[0].split()[:4] == ["toy", "toy@champion", "pulled", "1.0.0"]
    assert f"{size / 1000:.1f} kB" in first[0]
    assert "signature not asked for" in first[0]
    assert again[0].split()[:3] == ["toy", "toy@champion", "here"]
    assert any((tmp_path / "cache" / "blobs" / "sha256").iterdir())


@pytest.mark.usefixtures("remote")
def test_a_pulled_model_serves_without_the_registry(web: Site) -> None:
    """What was pulled is remembered as good: a site starts from it while the registry is away."""
    run()
    web.is_down = True

    prediction = get_model("toy").predict(RECORD)

    assert (prediction.version, prediction.reason) == ("1.0.0", "ok")


@pytest.mark.usefixtures("remote")
def test_dry_run_downloads_no_model(web: Site, tmp_path: Path) -> None:
    """It tells version and size of what would be downloaded, and leaves the files where they are."""
    lines, error = run("--dry-run")

    files = {file.sha256 for file in toy_bundle().manifest.files}
    assert error == ""
    assert lines[0].split()[:4] == ["toy", "toy@champion", "missing", "1.0.0"]
    assert "kB" in lines[0]
    assert not any(digest in path for digest in files for path in web.paths())
    assert files.isdisjoint(path.name for path in (tmp_path / "cache").rglob("*"))


def test_pull_verifies_a_directory(declared: dict[str, Any]) -> None:
    """A registry that is a directory needs no cache: its bytes are verified where they are."""
    with override_settings(MLEMBED={**declared, "MODELS": {"toy": "toy"}}):
        lines, error = run()

    assert (lines[0].split()[2], error) == ("here", "")


def test_pull_says_who_signed(
    declared: dict[str, Any], registry: FileRegistry, tmp_path: Path
) -> None:
    """Where keys are named the signature is verified, and its key named."""
    private, public = new_key()
    (tmp_path / "ours.pub").write_bytes(public)
    registry.issuer = Issuer(signer=Signer.from_pem(private), by="ours", days=None)
    registry.publish(toy_bundle(version="2.0.0"))
    registry.promote("toy", "champion", "2.0.0")
    setting = {
        **declared,
        "KEYS": [str(tmp_path / "ours.pub")],
        "CACHE": tmp_path / "cache",
        "MODELS": {"toy": "toy", "old": "toy@1.0.0"},
    }

    with override_settings(MLEMBED=setting):
        lines, error = run()

    assert f"signed by {Signer.from_pem(private).key_id[:12]}" in lines[0]
    assert "is not signed" in lines[1]
    assert error == "1 of 2 models cannot be had"


@pytest.mark.usefixtures("declared")
def test_pull_goes_on_after_a_failure() -> None:
    """A model that cannot be had does not keep the others from being pulled."""
    lines, error = run("gone", "toy")

    assert lines[0].split()[:3] == ["gone", "gone@champion", "fails"]
    assert lines[1].split()[2] == "here"
    assert error == "1 of 2 models cannot be had"


@pytest.mark.usefixtures("remote")
def test_pull_refuses_what_does_not_prove_itself(registry: FileRegistry) -> None:
    """A bundle that does not reproduce its golden rows is no good to start from."""
    registry.publish(toy_bundle(version="2.0.0", golden_error=0.1))
    registry.promote("toy", "champion", "2.0.0")

    lines, error = run()

    assert "does not reproduce its golden rows" in lines[0]
    assert error == "1 of 1 models cannot be had"


@pytest.mark.usefixtures("remote")
def test_pull_prints_one_json_object() -> None:
    """With --json the output is one object and nothing else."""
    (line,), _ = run("--json")

    report = json.loads(line)
    assert report["ok"] is True
    assert report["models"][0] | {"seconds": 0} == {
        "name": "toy",
        "ref": "toy@champion",
        "state": "pulled",
        "version": "1.0.0",
        "bundle": toy_bundle().id,
        "size_bytes": sum(file.size for file in toy_bundle().manifest.files),
        "signed": "",
        "seconds": 0,
        "error": "",
    }


def test_pull_tells_of_a_cache_that_cannot_be_written(
    remote: dict[str, Any], tmp_path: Path
) -> None:
    """Then the model can be had, and a start without the registry would fail."""
    (tmp_path / "file").write_text("no directory")
    with override_settings(MLEMBED={**remote, "CACHE": tmp_path / "file" / "cache"}):
        lines, error = run()

    assert "cannot be written" in lines[0]
    assert error == ""


@pytest.mark.parametrize("command", ["mlembed_pull", "mlembed_check"])
def test_tests_ask_no_registry_on_the_network(declared: dict[str, Any], command: str) -> None:
    """A test run reaches this machine alone, and says how to do without."""
    with (
        override_settings(MLEMBED={**declared, "REGISTRY": "https://models.example/"}),
        pytest.raises(CommandError, match="tests do not use"),
    ):
        call_command(command)


@pytest.mark.parametrize("command", ["mlembed_pull", "mlembed_check", "mlembed_deliver"])
def test_commands_tell_of_a_malformed_setting(command: str) -> None:
    """They end with the problems of the setting, and no traceback."""
    with (
        override_settings(MLEMBED={"REGISTRY": "x", "MODELS": {"a": "a"}, "LOGDIR": "y"}),
        pytest.raises(CommandError, match=r"unknown key 'LOGDIR'\. Did you mean 'LOG_DIR'"),
    ):
        call_command(command, skip_checks=True)


def test_w002_tells_of_what_would_serve_while_the_registry_is_away(
    remote: dict[str, Any], web: Site
) -> None:
    """A deployment is warned, and not stopped, where what served last is on this machine."""
    run()
    web.is_down = True

    messages = found(deploy=True)
    with override_settings(MLEMBED={**remote, "CACHE": remote["LOG_DIR"] / "other"}):
        unknown = found(deploy=True)

    assert "can only answer with what served last, 1.0.0" in messages["mlembed.W002"]
    assert list(unknown) == ["mlembed.E003"]


def test_pull_needs_a_registry(declared: dict[str, Any], tmp_path: Path) -> None:
    """A site that serves only what was shipped with it has nothing to pull."""
    setting = {**declared, "BUNDLED": str(tmp_path)}
    del setting["REGISTRY"]

    with override_settings(MLEMBED=setting):
        _, error = run()

    assert error.startswith("no model registry is set")
