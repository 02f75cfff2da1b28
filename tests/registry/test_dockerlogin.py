"""The docker client's own login is found where it can be read, and nothing is run to find it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from mlembed.registry.oci.dockerlogin import Login, docker_folder, docker_login

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2:with:colons"  # noqa: S105  a bait
USER = f"alice:{SECRET}"


def login_of(folder: Path, host: str = "registry.example.com", **config: Any) -> Login:
    """Return what docker's *config* holds for *host*."""
    (folder / "config.json").write_text(json.dumps(config))
    return docker_login(folder, host)


def packed(text: str) -> dict[str, str]:
    """Return a login as docker writes it."""
    return {"auth": base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    "key",
    ["registry.example.com", "https://registry.example.com", "https://Registry.Example.com/v1/"],
)
def test_docker_login_is_found(tmp_path: Path, key: str) -> None:
    """Docker's own login is found, however the registry's URL is written there."""
    auths = {"other.example.com": packed("bob:x"), key: packed(USER)}

    assert login_of(tmp_path, auths=auths).authorization == USER


def test_docker_login_in_other_forms(tmp_path: Path) -> None:
    """User and password may stand plainly, a token may stand alone, and ports tell hosts apart."""
    for entry, wanted in (
        ({"username": "alice", "password": SECRET}, USER),
        ({"registrytoken": "my-token"}, "my-token"),
    ):
        auths = {"registry.example.com": entry}
        assert login_of(tmp_path, auths=auths).authorization == wanted
        assert login_of(tmp_path, "registry.example.com:5000", auths=auths) == Login()
    hub = {"https://index.docker.io/v1/": packed(USER)}
    assert login_of(tmp_path, "registry-1.docker.io", auths=hub).authorization == USER


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"credHelpers": {"registry.example.com": "osxkeychain"}}, "in a helper, which is not run"),
        ({"credsStore": "x", "auths": {"registry.example.com": {}}}, "in a helper"),
        ({"credsStore": "x", "auths": {"other.example.com": {}}}, ""),
        ({"auths": {"registry.example.com": {"identitytoken": "x"}}}, "an identity token"),
        ({"auths": {"registry.example.com": {"auth": "hunter2!"}}}, "is malformed"),
        ({"auths": {"registry.example.com": packed("hunter2")}}, "is malformed"),
        ({"auths": {"registry.example.com": "hunter2"}}, ""),
        ({"auths": ["registry.example.com"]}, ""),
        ({}, ""),
    ],
)
def test_docker_login_says_why_there_is_none(
    tmp_path: Path, config: dict[str, Any], note: str
) -> None:
    """What docker keeps elsewhere is not fetched, and what is malformed is not shown."""
    login = login_of(tmp_path, **config)

    assert login.authorization == ""
    assert note in login.note
    assert bool(note) == bool(login.note)
    assert "hunter2" not in login.note


def test_docker_login_without_a_readable_file(tmp_path: Path) -> None:
    """Where there is no configuration nobody asks, and where it is unreadable that is said."""
    assert docker_login(None, "h") == docker_login(tmp_path / "none", "h") == Login()
    (tmp_path / "config.json").write_text("[")
    assert docker_login(tmp_path, "h").note.endswith("config.json is no JSON")
    (tmp_path / "config.json").write_text("[]")
    assert docker_login(tmp_path, "h") == Login()
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    assert "cannot be read" in docker_login(tmp_path, "h").note


def test_docker_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DOCKER_CONFIG comes before the home, and a user without a home has none."""
    assert docker_folder({"DOCKER_CONFIG": str(tmp_path)}) == tmp_path
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    assert docker_folder({}) == tmp_path / ".docker"

    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr("pathlib.Path.home", homeless)
    assert docker_folder({}) is None
