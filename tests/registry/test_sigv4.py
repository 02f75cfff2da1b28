"""What AWS documents is what is signed, and what is signed is what arrives."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.errors import RegistryError, SettingsError
from mlembed.registry.http.transport import Transport
from mlembed.registry.s3.sigv4 import EMPTY, Keys, SigV4, authorization, bucket_of, keys_of
from registry.hostile import Answer, Server, redirect

# The account, time and bucket of all examples in
# https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
KEYS = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOW = dt.datetime(2013, 5, 24, tzinfo=dt.UTC)
BUCKET = "https://examplebucket.s3.amazonaws.com"
STAMP = {"x-amz-date": "20130524T000000Z", "x-amz-content-sha256": EMPTY}
SCOPE = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
LISTING = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"


def oracle(method: str, url: str, headers: dict[str, str], keys: Keys, region: str) -> str:
    """Return what AWS's own SDK signs the request with."""
    auth = pytest.importorskip("botocore.auth", reason="no botocore: pip install 'moto[s3,server]'")
    requests = pytest.importorskip("botocore.awsrequest")
    credentials = pytest.importorskip("botocore.credentials")
    request: Any = requests.AWSRequest(method=method, url=url, headers=headers)
    request.context["timestamp"] = headers["X-Amz-Date"]
    signer = auth.S3SigV4Auth(
        credentials.Credentials(keys.access, keys.secret, keys.token or None), "s3", region
    )
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))
    return str(request.headers["Authorization"])


def signed(url: str, method: str = "GET", keys: Keys = KEYS, region: str = "r1") -> dict[str, str]:
    """Return the headers of a request made at the time of AWS's examples."""
    return dict(SigV4(url, keys, region, lambda: NOW).header(url, method))


@pytest.mark.parametrize(
    ("method", "path", "headers", "names", "signature"),
    [
        pytest.param(
            *("GET", "/test.txt", {"Range": "bytes=0-9"}),
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            id="get object",
        ),
        pytest.param(
            *("PUT", "/test%24file.text"),
            {
                "Date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-content-sha256": hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
            },
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            id="put object",
        ),
        pytest.param(
            *("GET", "/?lifecycle", {}, "host;x-amz-content-sha256;x-amz-date"),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            id="get bucket lifecycle",
        ),
        pytest.param(
            *("GET", "/?max-keys=2&prefix=J", {}, "host;x-amz-content-sha256;x-amz-date", LISTING),
            id="list objects",
        ),
    ],
)
def test_authorization_is_that_of_the_documentation(
    method: str, path: str, headers: dict[str, str], names: str, signature: str
) -> None:
    """Each example of AWS's documentation comes out as it is printed there."""
    told = authorization(method, BUCKET + path, {**STAMP, **headers}, keys=KEYS, region="us-east-1")

    assert told == (
        f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders={names}, Signature={signature}"
    )


def test_header_is_that_of_the_documentation() -> None:
    """What a transport is given is the documented example as well."""
    headers = signed(f"{BUCKET}/?max-keys=2&prefix=J", region="us-east-1")

    assert headers["X-Amz-Date"] == "20130524T000000Z"
    assert headers["X-Amz-Content-SHA256"] == EMPTY
    assert headers["Authorization"].endswith(f"Signature={LISTING}")
    assert headers.keys() == {"X-Amz-Date", "X-Amz-Content-SHA256", "Authorization"}


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)


@given(
    keys=st.lists(TEXT.filter(bool), min_size=1, max_size=3),
    query=st.dictionaries(st.sampled_from(["prefix", "a", "a-b", "A"]), TEXT),
    token=st.sampled_from(["", "token=="]),
    method=st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]),
    host=st.sampled_from(["https://b.s3.eu-1.amazonaws.com", "http://127.0.0.1:9000", "http://h"]),
)
def test_header_agrees_with_the_sdk(
    keys: list[str], query: dict[str, str], token: str, method: str, host: str
) -> None:
    """Whatever the key, the query and the host, botocore signs the request alike."""
    url = f"{host}/{quote('/'.join(keys), safe='/~')}"
    if query:
        pairs = [(quote(name, safe="~"), quote(text, safe="~")) for name, text in query.items()]
        url += "?" + "&".join(f"{name}={text}" for name, text in pairs)
    who = Keys(KEYS.access, KEYS.secret, token)

    headers = signed(url, method, who)

    told = headers.pop("Authorization")
    assert told == oracle(method, url, headers, who, "r1")
    assert headers.get("X-Amz-Security-Token", "") == token


@pytest.mark.parametrize("path", ["a b/é&x+y~(1)", "100%25", "=/@:!$'*,;"])
def test_what_arrives_is_what_was_signed(path: str) -> None:
    """The request as the server sees it bears the signature that botocore gives it."""
    with Server() as server:
        transport = Transport(server.url, SigV4(server.url, KEYS, "r1"))
        query = urlencode({"list-type": "2", "prefix": path}, quote_via=quote)

        transport.get(f"{server.url}/{quote(path)}", max_bytes=10, etag='"1"')
        transport.get(f"{server.url}/?{query}", max_bytes=10, headers={"Range": "bytes=1-"})

        assert len(server.asked) == 2
        for asked in server.asked:
            names = asked.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
            headers = {
                name.title(): asked.headers[name] for name in names.split(";") if name != "host"
            }
            url = f"http://{asked.headers['host']}{asked.path}"
            told = oracle(asked.method, url, headers, KEYS, "r1")
            assert asked.headers["authorization"] == told


def test_header_is_for_one_origin() -> None:
    """Nothing is signed for another origin, and nothing follows a redirect there."""
    signer = SigV4("https://bucket.example:443/x", KEYS, "r1")

    assert signer.header("https://other.example/", "GET") == {}
    assert signer.header("http://bucket.example/", "GET") == {}
    assert "Authorization" in signer.header("https://BUCKET.example/y", "GET")
    with Server() as home, Server() as other:
        home.routes["/a"] = redirect(f"{other.url}/a")
        other.routes["/a"] = Answer(body=b"found")
        transport = Transport(home.url, SigV4(home.url, Keys("A", "s", "token"), "r1"))

        assert transport.get("/a", max_bytes=10).body == b"found"
        assert "authorization" in home.asked[0].headers
        assert not [name for name in other.asked[0].headers if name.startswith(("x-amz", "auth"))]


def test_header_is_made_anew_for_each_request() -> None:
    """A host that polls for days signs each look with its time."""
    with Server() as server:
        server.routes["/a"] = Answer(body=b"1")
        times = iter([NOW, NOW + dt.timedelta(days=1)])
        transport = Transport(server.url, SigV4(server.url, KEYS, "r1", lambda: next(times)))

        for _ in range(2):
            transport.get("/a", max_bytes=10)

    days = [asked.headers["x-amz-date"] for asked in server.asked]
    assert days == ["20130524T000000Z", "20130525T000000Z"]


def test_refused_signature_is_not_shown_again() -> None:
    """Who is refused (401) has nothing better to show."""
    with Server() as server:
        server.routes["/a"] = Answer(401)
        transport = Transport(server.url, SigV4(server.url, KEYS, "r1"))

        with pytest.raises(RegistryError, match="refuses these credentials"):
            transport.get("/a", max_bytes=10)

        assert len(server.asked) == 1


def test_secrets_are_not_shown() -> None:
    """Neither secret nor token stands in what is printed."""
    keys = Keys("AKIA", "hunter2", "hunter3")

    assert (
        "hunter"
        not in f"{keys} {SigV4(BUCKET, keys, 'r1')!r} {signed(BUCKET, keys=keys)}".replace(
            "'X-Amz-Security-Token': 'hunter3'", ""
        )
    )


def test_keys_of_prefers_the_settings() -> None:
    """Credentials of the settings come first, and a token in the environment is not theirs."""
    environment = {
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "a/b+c=",
        "AWS_SESSION_TOKEN": "token",
    }

    assert keys_of("", environment) == Keys("AKIA", "a/b+c=", "token")
    assert keys_of("ME:se:cret", environment) == Keys("ME", "se:cret", "")
    assert keys_of("", {"AWS_SESSION_TOKEN": "token"}) is None
    assert keys_of("", {}) is None


@pytest.mark.parametrize(
    ("auth", "environment"),
    [
        ("hunter2", {}),
        (":hunter2", {}),
        ("hunter2:", {}),
        ("hunter2:a b", {}),
        ("hunter2/x:ab", {}),
        ("", {"AWS_ACCESS_KEY_ID": "hunter2"}),
        ("", {"AWS_SECRET_ACCESS_KEY": "hunter2"}),
        ("", {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "hunter2\n"}),
        ("", {"AWS_ACCESS_KEY_ID": "A,b", "AWS_SECRET_ACCESS_KEY": "hunter2"}),
    ],
)
def test_keys_of_refuses_halves(auth: str, environment: dict[str, str]) -> None:
    """Half of a credential is a mistake, never an anonymous read, and is not shown."""
    with pytest.raises(SettingsError, match="incomplete or malformed") as caught:
        keys_of(auth, environment)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "environment", "url", "region"),
    [
        ("s3://models", {}, "https://models.s3.us-east-1.amazonaws.com", "us-east-1"),
        (
            *("s3://models/a/b/", {"AWS_DEFAULT_REGION": "eu-west-1"}),
            *("https://models.s3.eu-west-1.amazonaws.com", "eu-west-1"),
        ),
        (
            *("s3://my.models/a", {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "x"}),
            *("https://s3.eu-west-1.amazonaws.com/my.models", "eu-west-1"),
        ),
        (
            *("s3://models", {"AWS_ENDPOINT_URL": "https://minio.example:9000/"}),
            *("https://minio.example:9000/models", "us-east-1"),
        ),
        (
            "s3://models",
            {"AWS_ENDPOINT_URL": "https://a.example", "AWS_ENDPOINT_URL_S3": "http://[::1]:9000"},
            *("http://[::1]:9000/models", "us-east-1"),
        ),
        (
            *("s3://models", {"AWS_ENDPOINT_URL": "https://a.example/s3", "AWS_REGION": "auto"}),
            *("https://a.example/s3/models", "auto"),
        ),
    ],
)
def test_bucket_of_finds_the_bucket(
    location: str, environment: dict[str, str], url: str, region: str
) -> None:
    """AWS is asked by host, dotted names and other stores by path; slashes at the end are none."""
    bucket = bucket_of(urlsplit(location), environment)

    assert (bucket.url, bucket.region) == (url, region)
    assert str(bucket) == location.rstrip("/")


@pytest.mark.parametrize(
    "location",
    [
        *(
            "s3://",
            "s3://ab",
            "s3:///models",
            "s3://Models",
            "s3://hunter2:x@models",
            "s3://models:80",
        ),
        *("s3://models/a//b", "s3://models/./a", "s3://models/../a", "s3://models/a?v=hunter2"),
        *("s3://models/a#b", "s3://models/a\x00b", "s3://-models", "s3://mod%65ls"),
    ],
)
def test_bucket_of_refuses_what_is_no_bucket(location: str) -> None:
    """A location that could mean something else is refused without being shown."""
    with pytest.raises(SettingsError, match="s3:// URL is malformed") as caught:
        bucket_of(urlsplit(location), {})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"AWS_ENDPOINT_URL": "http://minio.example:9000"}, "over https://"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1.evil.example"}, "over https://"),
        ({"AWS_ENDPOINT_URL_S3": "minio:9000"}, "AWS_ENDPOINT_URL_S3 is malformed"),
        ({"AWS_ENDPOINT_URL_S3": "ftp://minio"}, "AWS_ENDPOINT_URL_S3 is malformed"),
        ({"AWS_ENDPOINT_URL_S3": "https://u:hunter2@minio"}, "AWS_ENDPOINT_URL_S3 is malformed"),
        ({"AWS_ENDPOINT_URL_S3": "https://minio/?k=hunter2"}, "AWS_ENDPOINT_URL_S3 is malformed"),
        ({"AWS_ENDPOINT_URL_S3": "https://[minio"}, "AWS_ENDPOINT_URL_S3 is malformed"),
        ({"AWS_REGION": "evil.example/"}, "AWS_REGION is malformed"),
    ],
)
def test_bucket_of_refuses_where_it_must_not_go(environment: dict[str, str], message: str) -> None:
    """Other machines are asked over TLS only, and no variable leads a request elsewhere."""
    with pytest.raises(SettingsError, match=message) as caught:
        bucket_of(urlsplit("s3://models"), environment)

    assert "hunter2" not in str(caught.value)
