"""Who may read and write a real OCI registry: users with passwords, and a token server."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from integration.depot import BINARY, MISSING, TOY, Depot
from mlembed.errors import RegistryError
from registry.authority import Authority
from registry.hostile import Answer, Server
from registry.stock import bundle

if TYPE_CHECKING:
    from pathlib import Path

    from registry.hostile import Asked

pytestmark = pytest.mark.skipif(BINARY is None, reason=MISSING)


def test_htpasswd(tmp_path: Path) -> None:
    """A registry with users takes the right password, and refuses others without a trace of it."""
    users = tmp_path / "htpasswd"
    # bcrypt of "hunter2:pass", by Perl's crypt
    users.write_text("alice:$2y$05$abcdefghijklmnopqrstuuqbmRogFYm1tepRlLsNLkBGEjdBLH7gG\n")
    with Depot(tmp_path, {"htpasswd": {"realm": "basic", "path": str(users)}}) as depot:
        registry = depot.open(registry_auth="alice:hunter2:pass")
        registry.publish(bundle())
        registry.promote("toy", "champion", "1.0.0")
        assert registry.fetch(registry.resolve(TOY)) == bundle()
        for wrong in ("alice:hunter2", ""):
            with pytest.raises(RegistryError, match=r"\(401\).*MLEMBED_REGISTRY_AUTH") as caught:
                depot.open(registry_auth=wrong).versions("toy")
            assert "hunter2" not in str(caught.value)


class Guild(Server):
    """A token server whose tokens docker-registry believes.

    Args:
        folder: Where its certificate goes.

    Attributes:
        authority: Vouches for its key.
        scopes: What was asked for, in order.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.authority = Authority(folder)
        self.scopes: list[str] = []
        self.routes["/token"] = self.give

    def give(self, asked: Asked) -> Answer:
        """Answer alice with what she asks for, and others with what may be read."""
        scope = parse_qs(urlsplit(asked.path).query)["scope"][0]
        self.scopes.append(scope)
        alice = "Basic " + base64.b64encode(b"alice:hunter2").decode()
        kind, name, actions = scope.split(":")
        granted = actions.split(",") if asked.headers.get("authorization") == alice else ["pull"]
        now = int(time.time())
        claims = {
            "iss": "guild",
            "sub": "alice",
            "aud": "depot",
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "access": [{"type": kind, "name": name, "actions": granted}],
        }
        return Answer(body=json.dumps({"token": self._signed(claims), "expires_in": 300}).encode())

    def _signed(self, claims: dict[str, Any]) -> str:
        certificate = x509.load_pem_x509_certificate(self.authority.ca_file.read_bytes())
        der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        header = {"typ": "JWT", "alg": "ES256", "x5c": [der]}
        text = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        pem = self.authority._key_file.read_bytes()
        key = serialization.load_pem_private_key(pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_token_server(tmp_path: Path) -> None:
    """A real registry's challenges are answered, once for reading and once for writing."""
    with Guild(tmp_path) as guild:
        auth = {
            "realm": f"{guild.url}/token",
            "service": "depot",
            "issuer": "guild",
            "rootcertbundle": str(guild.authority.ca_file),
        }
        with Depot(tmp_path, {"token": auth}) as depot:
            registry = depot.open(registry_auth="alice:hunter2")
            registry.publish(bundle())
            registry.promote("toy", "champion", "1.0.0")
            assert registry.models() == ["toy"]
            registry.remove_version("toy", "1.0.0")
            # The registry names the actions of one challenge in any order.
            wrote = [{*scope.rpartition(":")[2].split(",")} for scope in guild.scopes]
            registry.publish(bundle())
            guild.scopes.clear()
            reader = depot.open()
            assert reader.fetch(reader.resolve(TOY)) == bundle()
            read = [*guild.scopes]
            with pytest.raises(RegistryError, match=r"\(401\).*MLEMBED_REGISTRY_AUTH"):
                reader.publish(bundle("1.1.0"))

    assert wrote == [{"pull"}, {"pull", "push"}, {"*"}, {"delete"}]
    assert read == ["repository:team/toy:pull"]
