"""A host follows a registry behind nginx over TLS, with a password, as it is put on the net."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from bundles import RECORD, toy_bundle
from integration.test_prometheus import free_port
from mlembed.errors import NotFoundError, RegistryError
from mlembed.registry import open_registry
from mlembed.registry.file import FileRegistry
from mlembed.registry.mirroring import mirror
from mlembed.registry.pointer import Ref
from registry.authority import Authority
from registry.site import host
from serving.logs import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx: apt-get install nginx-light")
TOY = Ref("toy")
CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
{user}
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log combined;
    client_body_temp_path {folder}/tmp;
    proxy_temp_path {folder}/tmp;
    fastcgi_temp_path {folder}/tmp;
    uwsgi_temp_path {folder}/tmp;
    scgi_temp_path {folder}/tmp;
    gzip on;
    gzip_min_length 1;
    gzip_types *;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/localhost.pem;
        ssl_certificate_key {folder}/localhost.key;
        root {root};
        location / {{ auth_basic "models"; auth_basic_user_file {folder}/users; }}
    }}
}}
"""


class Nginx:
    """A running server.

    Attributes:
        url: Where the registry is.
        settings: What a host needs to read it.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        port = free_port()
        authority = Authority(folder)
        digest = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()  # noqa: S324  nginx's
        (folder / "users").write_text(f"reader:{{SHA}}{digest}\n")
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = folder / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(folder=folder, port=port, root=root, user=user)
        )
        self.url = f"https://localhost:{port}"
        self.settings: dict[str, Any] = {
            "registry_auth": "reader:secret",
            "ca_file": str(authority.ca_file),
        }
        self._log = folder / "access.log"
        self._process = subprocess.Popen([str(NGINX), "-c", configuration, "-p", folder])
        wait_until(lambda: (folder / "nginx.pid").exists() and self._log.exists(), "nginx")

    def asked(self) -> list[tuple[str, str, int, int]]:
        """Return method, path, status and body bytes of every request so far."""
        found = []
        for line in self._log.read_text().splitlines():
            method, path, _ = line.split('"')[1].split()
            status, size = line.split('"')[2].split()
            found.append((method, path, int(status), int(size)))
        return found

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture
def nginx(full: FileRegistry, tmp_path: Path) -> Iterator[Nginx]:
    """Serve a registry with three versions."""
    folder = tmp_path / "nginx"
    folder.mkdir()
    server = Nginx(folder, full.root)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def full(tmp_path: Path) -> FileRegistry:
    """Return a registry with two versions of the toy model."""
    registry = FileRegistry(tmp_path / "models")
    for version in ("1.0.0", "1.1.0"):
        registry.publish(toy_bundle(version=version))
        registry.promote("toy", "champion", version)
    return registry


def test_model_follows_nginx(nginx: Nginx, full: FileRegistry, tmp_path: Path) -> None:
    """It loads, looks with one conditional request that has no body, and follows a rollback."""
    settings = mlembed.Settings(
        registry=nginx.url, cache=tmp_path / "cache", log=False, poll_seconds=0, **nginx.settings
    )
    model = mlembed.load("toy", settings=settings)
    assert model.predict(RECORD).version == "1.1.0"
    before = len(nginx.asked())

    assert not model.refresh()
    wait_until(lambda: len(nginx.asked()) > before, "a request")
    assert nginx.asked()[before:] == [("GET", "/toy/aliases/champion.json", 304, 0)]

    full.rollback("toy", "champion")
    assert model.refresh()
    assert (model.predict(RECORD).version, model.state) == ("1.0.0", "READY")


def test_names_come_from_the_index(nginx: Nginx, tmp_path: Path) -> None:
    """A web server that lists nothing is listed all the same, and can be mirrored."""
    settings = mlembed.Settings(cache=tmp_path / "cache", **nginx.settings)
    registry = open_registry(nginx.url, settings)

    assert registry.models() == ["toy"]
    assert registry.versions("toy") == ["1.0.0", "1.1.0"]
    assert [pointer.version for pointer in registry.history("toy", "champion")] == [
        "1.0.0",
        "1.1.0",
    ]
    copy = FileRegistry(tmp_path / "copy")
    assert mirror(registry, copy, "toy").versions == ("1.0.0", "1.1.0")
    with pytest.raises(NotFoundError, match="no model 'none'; it has toy"):
        registry.resolve(Ref("none"))
    with pytest.raises(RegistryError, match="can only be read"):
        registry.promote("toy", "champion", "1.0.0")


def test_nginx_refuses_strangers(nginx: Nginx, tmp_path: Path) -> None:
    """A wrong password, none, or a certificate that nobody vouches for: each says what to do."""
    wrong = {**nginx.settings, "registry_auth": "reader:wrong"}
    with pytest.raises(RegistryError, match=r"refuses these credentials.*MLEMBED_REGISTRY_AUTH"):
        host(nginx.url, tmp_path, **wrong).resolve(TOY)
    without = {"ca_file": nginx.settings["ca_file"]}
    with pytest.raises(RegistryError, match=r"wants credentials.*MLEMBED_REGISTRY_AUTH"):
        host(nginx.url, tmp_path, **without).resolve(TOY)
    with pytest.raises(RegistryError, match="certificate"):
        host(nginx.url, tmp_path, registry_auth="reader:secret").resolve(TOY)


def test_nginx_that_stops_leaves_the_model_serving(nginx: Nginx, tmp_path: Path) -> None:
    """A host that starts while it is down serves what served last."""
    settings = mlembed.Settings(
        registry=nginx.url, cache=tmp_path / "cache", log=False, poll_seconds=0, **nginx.settings
    )
    mlembed.load("toy", settings=settings).predict(RECORD)
    nginx.stop()

    model = mlembed.load("toy", settings=settings)

    assert (model.predict(RECORD).version, model.state) == ("1.1.0", "STALE")
    assert "secret" not in str(model.error)
