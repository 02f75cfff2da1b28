"""Who may read a bucket and who may write it, by a server that checks every signature."""

from __future__ import annotations

import json
import sys
import traceback
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from mlembed.errors import MissingExtraError, RegistryError
from mlembed.registry.pointer import Ref
from registry.buckets import accounts, aws, made, moto_server, opened, use
from registry.stock import bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlembed.registry.tree import TreeRegistry

ALIAS = "toy/aliases/champion.json"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Return the URL of moto's server."""
    with moto_server() as url:
        yield url


@pytest.fixture
def location(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the location of a registry in a bucket of its own."""
    return made(monkeypatch, moto)


@pytest.fixture
def source(location: str) -> TreeRegistry:
    """Return an empty registry in a bucket."""
    return opened(location)


@pytest.fixture
def known(moto: str) -> Iterator[dict[str, tuple[str, ...]]]:
    """Let moto check signatures; return the keys of a user and of a role."""
    with accounts(moto) as keys:
        yield keys


def test_public_bucket_is_read_by_anybody(
    moto: str, source: TreeRegistry, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credentials what is public is read, what is not is refused, and nothing is written."""
    source.publish(bundle())
    source.promote("toy", "champion", "1.0.0")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    anybody = opened(location)

    with pytest.raises(RegistryError, match=r"\(403\).* check AWS_REGION.*s3:ListBucket"):
        anybody.resolve(Ref("toy"))
    name = urlsplit(location).netloc
    rule = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    rule["Resource"] = f"arn:aws:s3:::{name}/*"
    policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
    aws(moto, "s3").put_bucket_policy(Bucket=name, Policy=policy)

    assert anybody.fetch(anybody.resolve(Ref("toy"))) == bundle()
    with pytest.raises(RegistryError, match="needs credentials: set AWS_ACCESS_KEY_ID"):
        anybody.publish(bundle("2.0.0"))
    assert anybody.versions("toy") == ["1.0.0"]


@pytest.mark.parametrize("who", ["user", "role", "settings"])
def test_signed_requests_are_accepted(
    moto: str,
    location: str,
    known: dict[str, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    who: str,
) -> None:
    """A server that checks every signature lets a user, a role and the settings' user do it all."""
    access, secret, *token = known["role" if who == "role" else "user"]
    by_settings = who == "settings"
    use(monkeypatch, moto, ("other", "other", "other") if by_settings else (access, secret, *token))
    auth = f"{access}:{secret}" if by_settings else ""

    registry = opened(location, registry_auth=auth)
    registry.publish(bundle())
    registry.promote("toy", "champion", "1.0.0")
    registry.store.remove(ALIAS)

    assert registry.models() == ["toy"]
    assert registry.fetch(registry.resolve(Ref("toy", "1.0.0"))) == bundle()
    assert registry.aliases("toy") == []


@pytest.mark.parametrize("wrong", ["access", "secret", "token"])
def test_wrong_credentials_are_refused(
    moto: str,
    location: str,
    known: dict[str, tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
) -> None:
    """Whoever is not known reads and writes nothing, and hears what to check and no secret."""
    keys = dict(zip(("access", "secret", "token"), known["role"], strict=True))
    use(monkeypatch, moto, tuple({**keys, wrong: "hunter2"}.values()))
    registry = opened(location)
    calls: list[Callable[[], object]] = [
        lambda: registry.resolve(Ref("toy")),
        lambda: registry.versions("toy"),
        lambda: registry.publish(bundle()),
        lambda: registry.require_writable("toy"),
        lambda: registry.store.remove("toy/a"),
    ]

    for call in calls:
        with pytest.raises(RegistryError, match=r"AWS_|s3:PutObject") as caught:
            call()

        shown = "".join(traceback.format_exception(caught.value))
        assert not [text for text in ("hunter2", keys["secret"], keys["token"]) if text in shown]


def test_missing_bucket_is_named(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that does not exist is no empty registry."""
    use(monkeypatch, moto)
    registry = opened("s3://nowhere/models")

    with pytest.raises(
        RegistryError, match=r"s3://nowhere/models answers 404 to a listing; does it exist"
    ):
        registry.resolve(Ref("toy"))
    with pytest.raises(RegistryError, match="there is no bucket 'nowhere'; create it"):
        registry.publish(bundle())
    registry.store.remove("toy/a")


def test_missing_obstore_is_named(
    source: TreeRegistry, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    """Without the extra a bucket is read as ever, and publishing names the extra."""
    source.publish(bundle())
    monkeypatch.setitem(sys.modules, "obstore", None)
    registry = opened(location)

    assert registry.fetch(registry.resolve(Ref("toy", "1.0.0"))) == bundle()
    with pytest.raises(MissingExtraError, match=r"pip install 'mlembed\[s3\]'"):
        registry.publish(bundle("2.0.0"))
