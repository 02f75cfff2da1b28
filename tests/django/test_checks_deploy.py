"""What a deployment is told of its machine, its secrets and its permissions."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from checked import checked, found
from mlembed_django.processors import cpus

if TYPE_CHECKING:
    from pathlib import Path

WEBHOOK = "mlembed_crm.destinations.webhook.Webhook"
SECRET = "whsec_" + "c2VjcmV0LW9mLXRlc3RzLW9mLW1sZW1iZWQtMDE="


@pytest.fixture
def setting(declared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a setting that a deployment finds nothing wrong with, started in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "UVICORN_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    return {**declared, "MODELS": {"toy": "toy@champion"}}


def test_a_good_deployment_is_told_nothing(setting: dict[str, Any]) -> None:
    """Each of the other tests changes one thing of this site."""
    with override_settings(MLEMBED=setting):
        assert found(deploy=True) == {}


@pytest.mark.parametrize(
    ("value", "expected"), [("1", []), ("0", ["mlembed.W004"]), ("", ["mlembed.W004"])]
)
@pytest.mark.usefixtures("declared")
def test_w004_tells_of_reports_to_the_maker(
    value: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that lets onnxruntime report is a warning; mlembed's own value is none."""
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", value)

    assert list(found()) == expected


@pytest.mark.usefixtures("declared")
def test_w004_tells_of_a_runtime_that_was_imported_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host imports onnxruntime before mlembed and sets nothing, it reports already."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", sys)
    assert "imported before mlembed" in found()["mlembed.W004"]

    monkeypatch.delitem(sys.modules, "onnxruntime")

    assert found() == {}


@pytest.mark.parametrize(
    ("threads", "n_workers", "is_told"),
    [
        (1, 1, False),
        (1, int(2 * cpus() + 1), False),
        (1, int(2 * cpus() + 2), True),
        (2, math.ceil(cpus()), True),
        (256, 1, True),
    ],
)
def test_w005_tells_of_more_threads_than_cpus(
    setting: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    n_workers: int,
    is_told: bool,  # noqa: FBT001
) -> None:
    """Workers times threads are held against the CPUs; workers alone may be twice as many and one."""
    monkeypatch.setenv("WEB_CONCURRENCY", str(n_workers))
    models = {"toy": {"REF": "toy", "THREADS": threads}}

    with override_settings(MLEMBED={**setting, "MODELS": models}):
        messages = found(deploy=True)

    assert list(messages) == (["mlembed.W005"] if is_told else [])
    if is_told:
        assert f"the site may use {cpus():g}" in messages["mlembed.W005"]


@pytest.mark.parametrize("key", ["LOG_KEY", "REGISTRY_AUTH", "SIGNING_PASSWORD"])
def test_w006_tells_of_a_secret_in_the_settings(
    setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """A secret is to be named, or read from the environment; the message does not repeat it."""
    monkeypatch.setenv("TOKEN_OF_THE_SITE", "from the environment")
    for value in ("env:TOKEN_OF_THE_SITE", "from the environment", ""):
        with override_settings(MLEMBED={**setting, key: value}):
            assert found(deploy=True) == {}

    with override_settings(MLEMBED={**setting, key: "open sesame"}):
        assert found() == {}
        messages = checked(deploy=True)

    assert [message.id for message in messages] == ["mlembed.W006"]
    assert f"MLEMBED['{key}']" in messages[0].msg
    assert "open sesame" not in f"{messages[0].msg}{messages[0].hint}"


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"SECRET": SECRET}, "['SECRET']"),
        ({"SECRET": ["env:THE_SECRET", SECRET]}, "['SECRET']"),
        ({"SECRET": "env:THE_SECRET"}, ""),
    ],
)
def test_w006_tells_of_a_secret_of_a_destination(
    setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], place: str
) -> None:
    """Options whose name says that they are secret are looked at, in lists as well."""
    monkeypatch.setenv("THE_SECRET", SECRET.replace("c2Vj", "c2Vk"))
    desk = {"ADAPTER": WEBHOOK, "URL": "https://desk.example/hook", **options}

    with override_settings(MLEMBED={**setting, "DESTINATIONS": {"desk": desk}}):
        messages = [m.msg for m in checked(deploy=True) if m.id == "mlembed.W006"]

    wanted = f"MLEMBED['DESTINATIONS']['desk']{place} is a secret that stands in the settings themselves."
    assert messages == ([wanted] if place else [])


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        *[
            (name, True)
            for name in ("API_KEY", "TOKEN", "client_secret", "PASSWORDS", "ACCESS_TOKEN_ID")
        ],
        *[(name, False) for name in ("KEY_FIELD", "URL", "MONKEY", "TIMEOUT_SECONDS", "AUTHOR")],
    ],
)
def test_w006_goes_by_the_words_of_a_name(
    setting: dict[str, Any],
    name: str,
    is_secret: bool,  # noqa: FBT001
) -> None:
    """A name that only holds the letters of a secret's is none, and options inside options count."""
    desk = {"ADAPTER": WEBHOOK, "HEADERS": {name: "abc"}}

    with override_settings(MLEMBED={**setting, "DESTINATIONS": {"desk": desk}}):
        told = [m.msg for m in checked(deploy=True) if m.id == "mlembed.W006"]

    assert [f"['HEADERS']['{name}']" in message for message in told] == (
        [True] if is_secret else []
    )


@pytest.mark.parametrize("scheme", ["https", "oci", "s3"])
def test_e002_tells_of_a_password_in_the_registrys_url(
    setting: dict[str, Any], scheme: str
) -> None:
    """A URL with a password is refused everywhere, and the message does not repeat it."""
    with override_settings(MLEMBED={**setting, "REGISTRY": f"{scheme}://reader:sesame@host/x"}):
        (message,) = checked()

    assert message.id == "mlembed.E002"
    assert "sesame" not in message.msg


def test_secrets_are_security_to_django(setting: dict[str, Any]) -> None:
    """`check --deploy --tag security` runs them as well."""
    with override_settings(MLEMBED={**setting, "LOG_KEY": "open sesame"}):
        messages = run_checks(tags=["security"], include_deployment_checks=True)

    assert "mlembed.W006" in [message.id for message in messages]


@pytest.mark.parametrize(
    ("permission", "advice"),
    [
        ("store.view_customer", None),
        ("mlembed.predict", None),
        ("mlembed.retry_delivery", None),
        ("store.view_custmer", "Did you mean 'store.view_customer'?"),
        ("shop.view_customer", "No installed app 'shop' has a model"),
    ],
)
def test_w009_tells_of_a_permission_that_nobody_can_have(
    setting: dict[str, Any], permission: str, advice: str | None
) -> None:
    """A permission is one that a model's Meta defines, by itself or by its default."""
    models = {"toy": {"REF": "toy", "PERMISSION": permission}}

    with override_settings(MLEMBED={**setting, "MODELS": models}):
        messages = checked()

    assert [message.id for message in messages] == ([] if advice is None else ["mlembed.W009"])
    assert all(str(message.hint).startswith(advice or "") for message in messages)
