"""TLS is verified and never left; what cannot be reached, by proxy or without, is told apart."""

from __future__ import annotations

import socket
import traceback
from typing import TYPE_CHECKING

import pytest

from mlembed.errors import RegistryError
from mlembed.registry.http.transport import Static, Transport
from registry.authority import Authority
from registry.hostile import Answer, Server, redirect, sequence
from registry.wires import Tunnel, Wire, cut, stall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "hunter2-token"  # noqa: S105  a bait
SIGNED = "X-Signature=hunter2-signature"


@pytest.fixture
def server() -> Iterator[Server]:
    """Return the registry, which has one document."""
    with Server() as running:
        running.routes["/doc"] = Answer(body=b"x")
        yield running


@pytest.fixture
def other() -> Iterator[Server]:
    """Return a server on another port, which has it too."""
    with Server() as running:
        running.routes["/doc"] = Answer(body=b"x")
        yield running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority that vouches for localhost."""
    return Authority(tmp_path)


def transport(server: Server, ca_file: Path | None = None) -> Transport:
    """Return a transport that bears the token to *server*."""
    return Transport(
        server.url,
        Static(server.url, TOKEN),
        timeout_seconds=0.3,
        deadline_seconds=2.0,
        ca_file=ca_file,
    )


def test_tls_is_verified(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate counts if ca_file or SSL_CERT_FILE vouches for it, and not otherwise."""
    with Server(authority.context()) as server:
        server.routes["/doc"] = Answer(body=b"x")
        trusting = transport(server, authority.ca_file)
        assert trusting.get("/doc", max_bytes=1).body == b"x"
        wary = transport(server)
        with pytest.raises(
            RegistryError, match=r"no TLS with .*self-signed.*set ca_file or SSL_CERT"
        ):
            wary.get("/doc", max_bytes=1)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        again = transport(server)
        assert again.get("/doc", max_bytes=1).body == b"x"
        for made in (trusting, wary, again):
            made.close()


def test_tls_is_verified_for_the_host(tmp_path: Path) -> None:
    """A certificate of another host is not one."""
    authority = Authority(tmp_path, "elsewhere")
    with Server(authority.context()) as server:
        made = transport(server, authority.ca_file)
        with pytest.raises(RegistryError, match=r"no TLS with .*Hostname mismatch"):
            made.get("/doc", max_bytes=1)
        made.close()


def test_tls_needs_readable_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of certificates that is missing or is none is named."""
    (tmp_path / "empty.pem").write_text("nothing")
    for name, says in (("none.pem", "No such file"), ("empty.pem", "PEM")):
        made = Transport("https://localhost:1/", ca_file=tmp_path / name)
        with pytest.raises(RegistryError, match=f"cannot read certificates from .*{name}.*{says}"):
            made.get("/doc", max_bytes=1)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
        made = Transport("https://localhost:1/")
        with pytest.raises(RegistryError, match="the file that SSL_CERT_FILE names"):
            made.get("/doc", max_bytes=1)


def test_tls_is_never_left(authority: Authority, server: Server) -> None:
    """A redirect from https to http is refused, also after one that is allowed."""
    with Server(authority.context()) as secure:
        secure.routes |= {
            "/down": redirect(f"{server.url}/doc?{SIGNED}"),
            "/two": redirect("/down"),
        }
        server.routes["/up"] = redirect(f"{secure.url}/down")
        made = transport(secure, authority.ca_file)
        for url in ("/down", "/two", f"{server.url}/up"):
            with pytest.raises(
                RegistryError, match=r"redirects from https to http://.*never followed"
            ):
                made.get(url, max_bytes=1)
        made.close()

    assert [asked.path for asked in server.asked] == ["/up"]


def test_tls_connections_are_resumed_and_end_in_time(authority: Authority) -> None:
    """A TLS connection that is cut is no fault of TLS, and a stalled handshake ends."""
    with Server(authority.context()) as server:
        server.routes["/doc"] = Answer(body=b"x" * 10_000)
        with Wire(server, cut(5000)) as wire:
            made = Transport(wire.url, ca_file=authority.ca_file)
            assert made.get("/doc", max_bytes=10_000).body == b"x" * 10_000
            made.close()
        with Wire(server, stall(100), cut(100)) as wire:
            made = Transport(wire.url, ca_file=authority.ca_file, timeout_seconds=0.2)
            with pytest.raises(RegistryError, match=r"nothing came for 0\.2 s"):
                made.get("/doc", max_bytes=10_000)
            with pytest.raises(
                RegistryError, match=r"(no TLS with|cannot connect to) https://local"
            ):
                made.get("/doc", max_bytes=10_000)
            made.close()


def test_unreachable_registries_are_told_apart(server: Server) -> None:
    """An unknown name, a closed port and a server without TLS each have their own sentence."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    cases = {
        "http://nowhere.invalid/": "cannot find the host of http://nowhere.invalid/.*DNS",
        f"http://127.0.0.1:{port}/": f"http://127.0.0.1:{port}/doc refuses .*nothing listens there; is the registry running",
        server.url.replace("http", "https"): "no TLS with https://127.0.0.1.*: ",
    }
    for url, says in cases.items():
        made = Transport(url, timeout_seconds=1.0)
        with pytest.raises(RegistryError, match=says):
            made.get("/doc", max_bytes=1)
        made.close()


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
def test_proxies_of_the_environment_are_used(
    server: Server, other: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A proxy that the environment names is asked, unless it excepts the host."""
    other.routes["http"] = other.routes[f"{server.url}/doc"] = Answer(body=b"by proxy")
    monkeypatch.setenv(
        name, other.url.replace("http://", "" if name == "http_proxy" else "http://")
    )
    proxied = Transport(server.url)
    assert proxied.get("/doc", max_bytes=8).body == b"by proxy"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    direct = Transport(server.url)
    assert direct.get("/doc", max_bytes=8).body == b"x"
    proxied.close()
    direct.close()


def test_proxies_carry_tls(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS goes through a proxy to the registry itself; the proxy sees no credential."""
    with Server(authority.context()) as server, Tunnel(server) as tunnel:
        server.routes["/doc"] = Answer(body=b"x")
        monkeypatch.setenv("https_proxy", tunnel.url.replace("//", "//user:pass@"))
        made = transport(server, authority.ca_file)
        for _ in range(2):
            assert made.get("/doc", max_bytes=1).body == b"x"
        made.close()

        assert [head.split(b" ")[1] for head in tunnel.heads] == [
            f"localhost:{server.port}".encode()
        ]
        assert b"Proxy-Authorization: Basic " in tunnel.heads[0]
        assert TOKEN.encode() not in tunnel.heads[0]
        assert server.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_proxies_that_fail_are_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses, is not there or cannot be used is told from the registry."""
    cases = {
        server.url: "the proxy refuses the way to https://registry.invalid/doc",
        "http://127.0.0.1:1": r"https://registry.invalid/doc \(through this environment's proxy\)",
        "socks5://127.0.0.1:1": "cannot use this environment's proxy.*'httpx.socks.'",
        "ftp://user:hunter2@h": "cannot use this environment's proxy",
        "http://h:x": "cannot use this environment's proxy",
    }
    server.routes["registry.invalid:443"] = sequence(Answer(407, body=b"hunter2"))
    for proxy, says in cases.items():
        monkeypatch.setenv("https_proxy", proxy)
        made = Transport("https://registry.invalid/")
        with pytest.raises(RegistryError, match=says) as caught:
            made.get("/doc", max_bytes=1)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
        made.close()
