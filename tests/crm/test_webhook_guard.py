"""The webhook's guards: where it connects, whom it trusts, what it refuses and never shows."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from crm.receiver import SECRET, action, answer, receiving, webhook
from mlembed.errors import SettingsError
from mlembed_crm import Webhook
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from pathlib import Path

    from crm.receiver import Receiver


def test_send_ignores_proxies_of_the_environment(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that the environment names would see, or swallow, every action."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert webhook(receiver).send([action()])[0].status == 204


def lead(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Lead the name receiver.test to each of *answers* in turn; return the names looked up."""
    real, asked, waiting = socket.getaddrinfo, [], list(answers)

    def getaddrinfo(host: str, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "receiver.test" or kwargs.get("flags") == socket.AI_NUMERICHOST:
            return real(host, port, *args, **kwargs)
        asked.append(host)
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_send_connects_to_the_address_it_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up once an attempt, so it cannot lead elsewhere after the check."""
    asked = lead(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    with receiving() as checked, receiving(address=("127.0.0.2", checked.server_port)) as other:
        url = f"http://receiver.test:{checked.server_port}/hook"

        Webhook(url, SECRET, allow_private=True).send([action()])

    assert asked == ["receiver.test"]
    assert [got.headers["host"] for got in checked.received] == [url[7:-5]]
    assert other.received == []


def test_send_refuses_a_name_that_leads_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public name with a private address reaches nobody."""
    lead(monkeypatch, ["127.0.0.1"])
    with receiving() as inside:
        hook = Webhook(f"https://receiver.test:{inside.server_port}/", SECRET)

        with pytest.raises(DeliveryError, match="private address"):
            hook.send([action()])

    assert inside.received == []


def test_send_tries_every_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with one dead address is reached by its other."""
    lead(monkeypatch, ["127.0.0.3", "127.0.0.1"])
    with receiving() as receiver:
        hook = Webhook(f"http://receiver.test:{receiver.server_port}/", SECRET, allow_private=True)

        assert hook.send([action()])[0].status == 204


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a new key and its own certificate for receiver.test."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("receiver.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "receiver.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + made.public_bytes(Encoding.PEM)
    )
    return path


def test_send_checks_the_certificate_against_the_name(
    monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    """TLS is spoken with the name of the URL, though the connection is made to an address."""
    lead(monkeypatch, ["127.0.0.1"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with receiving(tls=server) as receiver:
        urls = [
            f"https://{host}:{receiver.server_port}/" for host in ("receiver.test", "127.0.0.1")
        ]
        right, wrong = (Webhook(url, SECRET, allow_private=True, tls=trusting) for url in urls)
        stranger = Webhook(urls[0], SECRET, allow_private=True)

        assert right.send([action()])[0].status == 204
        for hook in (wrong, stranger):
            with pytest.raises(DeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
                hook.send([action()])

    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.com/hook", "https"),
        ("ftp://example.com/hook", "https://"),
        ("https://", "host"),
        ("https://exa mple.com", "malformed"),
        ("https://example.com:99999999/", "malformed"),
        (7, "malformed"),
        ("https://user:hunter2@example.com/", "no user or password"),
        ("https://127.0.0.1/hook", "private"),
        ("https://[::1]/hook", "private"),
        ("https://[::ffff:10.0.0.1]/hook", "private"),
        ("https://169.254.169.254/latest/meta-data", "private"),
        ("https://10.0.0.1/", "private"),
        ("https://2130706433/", "private"),
        ("https://0x7f.1/", "private"),
    ],
)
def test_webhook_refuses_a_url_when_it_is_made(url: Any, says: str) -> None:
    """A URL that must not be posted to is refused at start, and not shown."""
    with pytest.raises(SettingsError, match=says) as caught:
        Webhook(url, SECRET)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_webhook_refuses_a_timeout_that_never_comes(seconds: float) -> None:
    """An attempt must end before its lease does."""
    with pytest.raises(SettingsError, match="timeout_seconds"):
        Webhook("https://example.com/", SECRET, timeout_seconds=seconds)


def test_webhook_shows_neither_secret_nor_path(caplog: pytest.LogCaptureFixture) -> None:
    """Paths and queries of webhooks hold tokens; neither repr, error nor log shows them."""
    caplog.set_level("DEBUG")
    with receiving() as receiver:
        receiver.answers.append(answer(500))
        hook = Webhook(f"{receiver.url}/t0ken?key=t0ken", SECRET, allow_private=True)
        with pytest.raises(DeliveryError) as caught:
            hook.send([action()])

    shown = f"{hook!r} {hook} {hook.name} {caught.value} {caught.value!r} {caplog.text}"
    assert "t0ken" not in shown
    assert SECRET.removeprefix("whsec_") not in shown
