"""Buckets for tests: moto's server in a process of its own, and stores that a test defines."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from mlembed.bundle.trust import Trust
from mlembed.registry.cache import Cache
from mlembed.registry.follow import Followed
from mlembed.registry.judge import Policy
from mlembed.registry.memory import Memory
from mlembed.registry.s3.bucket import BucketStore, open_bucket
from mlembed.settings import Settings
from processes import unmeasured
from registry.hostile import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlembed.registry.tree import TreeRegistry
    from registry.hostile import Asked

# moto parses it, and believes it until it is told to check.
ANYBODY = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
}
VARIABLES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"),
    *("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
)
PREFIX = "my models/é&x+~"  # what a signature and a listing could stumble over
MOTO = """
import threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

served, lock = DomainDispatcherApplication(create_backend_app), threading.Lock()

def one_at_a_time(environ, start):
    with lock:
        return served(environ, start)

WSGIRequestHandler.protocol_version = "HTTP/1.1"
server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""
_numbers = itertools.count()


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's server and yield its URL; skip the test where there is none."""
    pytest.importorskip("moto.server", reason="no moto: pip install 'moto[s3,server]'")
    with subprocess.Popen(
        [sys.executable, "-c", MOTO],
        env={name: text for name, text in unmeasured().items() if name not in VARIABLES},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


def use(patch: pytest.MonkeyPatch, url: str, keys: tuple[str, ...] = ("AKIA", "hunter2")) -> None:
    """Set what AWS's own tools read, and nothing of this machine's own account."""
    for name in VARIABLES:
        patch.delenv(name, raising=False)
    patch.setenv("AWS_ENDPOINT_URL_S3", url)
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    for name, text in zip(names, keys, strict=False):
        patch.setenv(name, text)


def made(patch: pytest.MonkeyPatch, moto: str) -> str:
    """Make a bucket, and return the location of a registry in it."""
    use(patch, moto)
    name = f"models-{os.getpid()}-{next(_numbers)}"
    assert httpx.put(f"{moto}/{name}", headers=ANYBODY).status_code == 200
    return f"s3://{name}/{PREFIX}"


def opened(location: str = "s3://models", **settings: Any) -> TreeRegistry:
    """Return the registry at *location*, anew."""
    return open_bucket(urlsplit(location), Settings(log=False, **settings))


def host(location: str, folder: Path) -> Followed:
    """Return the registry as a host follows it whose cache lies in *folder*."""
    registry = opened(location)
    policy = Policy(trust=Trust())
    return Followed(registry, policy, Memory(folder, location), Cache(folder, 1 << 30))


def store_of(registry: TreeRegistry) -> BucketStore:
    """Return what *registry* stores with."""
    assert isinstance(registry.store, BucketStore)
    return registry.store


def aws(moto: str, service: str, **keys: str) -> Any:
    """Return AWS's own client, as the administrator."""
    boto3 = pytest.importorskip("boto3")
    secrets = {"aws_access_key_id": "admin", "aws_secret_access_key": "admin", **keys}
    return boto3.client(service, endpoint_url=moto, region_name="us-east-1", **secrets)


def spoil(moto: str, location: str, path: str, data: bytes) -> None:
    """Overwrite an object behind the registry's back."""
    url = f"{moto}/{quote(location.removeprefix('s3://'))}/{path}"
    assert httpx.put(url, content=data, headers=ANYBODY).status_code == 200


@contextlib.contextmanager
def accounts(moto: str) -> Iterator[dict[str, tuple[str, ...]]]:
    """Let moto check every signature; yield the keys of a user and of a role."""
    rule = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
    allowed, trusted = (
        json.dumps({"Version": "2012-10-17", "Statement": [item]}) for item in (rule, trust)
    )
    iam, name = aws(moto, "iam"), f"user-{next(_numbers)}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=allowed)
    user = iam.create_access_key(UserName=name)["AccessKey"]
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=allowed)
    session = aws(moto, "sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    assert httpx.post(f"{moto}/moto-api/reset-auth", content=b"0").status_code == 200
    try:
        yield {
            "user": (user["AccessKeyId"], user["SecretAccessKey"]),
            "role": tuple(
                session[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
            ),
        }
    finally:
        httpx.post(f"{moto}/moto-api/reset-auth", content=b"inf")


class Everywhere(dict[str, Any]):
    """The same answer at every path, by method."""

    def __init__(self, **routes: Any) -> None:
        super().__init__()
        self._routes = routes

    def get(self, _path: str, default: Any = None) -> Any:
        """Return what answers by the method of the request."""

        def answer(asked: Asked) -> Any:
            route = self._routes.get(asked.method, default)
            return route(asked) if callable(route) else route

        return answer


def page(*names: str, prefix: str = "toy/", rest: str = "", truncated: str = "") -> Answer:
    """Return a page of a listing."""
    items = "".join(
        f"<Contents><Key>{prefix}{name}</Key><Size>1</Size>"
        "<LastModified>2026-11-26T00:00:00.000Z</LastModified></Contents>"
        for name in names
    )
    truncated = truncated or ("true" if rest else "false")
    rest = f"<NextContinuationToken>{rest}</NextContinuationToken>" if rest else ""
    body = f"<R><IsTruncated>{truncated}</IsTruncated>{items}{rest}</R>"
    return Answer(body=body.encode())
