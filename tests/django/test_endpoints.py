"""The site's endpoints: who may ask, with what, and what a hostile request comes to."""

from __future__ import annotations

import functools
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import include, path

from bundles import RECORD
from mlembed.testing import capture_predictions
from mlembed_django.conf import get_model

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = {"record": {**RECORD, "seen": RECORD["seen"].isoformat()}, "key": "ada"}
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "mlembed_django.middleware.PredictionMiddleware",
]
urlpatterns = [path("ml/", include("mlembed_django.urls"))]


def with_key(request: Any, name: str) -> bool:
    """Let in who knows the key, for the model `toy` and what is of no model."""
    return request.headers.get("X-Key") == "sesame" and name in ("", "toy")


@pytest.fixture
def site(declared: dict[str, Any], db: None) -> Iterator[dict[str, Any]]:
    """Serve the endpoints below `/ml/`; return the setting."""
    del db
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=MIDDLEWARE):
        yield declared


def client(*permissions: str, strict: bool = False) -> Client:
    """Return a browser of a user with *permissions*."""
    user = User.objects.create_user("ada")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    made = Client(enforce_csrf_checks=strict)
    made.force_login(user)
    return made


def post(browser: Client, where: str = "models/toy/predict", body: Any = BODY, **more: Any) -> Any:
    """Post JSON."""
    data = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return browser.post(f"/ml/{where}", data, content_type="application/json", **more)


@pytest.mark.usefixtures("site")
def test_a_user_who_may_predict_is_answered() -> None:
    """The answer over HTTP is the model's own."""
    with capture_predictions() as made:
        response = post(client("predict"))

    assert response.status_code == 200
    assert response.json()["score"] == get_model("toy").predict(RECORD).score
    assert [p.id for p in made][:1] == [response.json()["id"]]


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("permissions", "where", "status"),
    [
        ([], "models/toy/predict", 403),
        (["report_outcome"], "models/toy/predict", 403),
        (["predict"], "models/toy/outcome", 403),
        (["predict"], "models/tyo/predict", 404),
        (["predict"], "nowhere", 404),
    ],
)
def test_a_user_may_do_what_his_permissions_say(
    permissions: list[str], where: str, status: int
) -> None:
    """Predicting and reporting outcomes are two permissions; what is not there is 404."""
    response = post(client(*permissions), where)

    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.usefixtures("site")
def test_an_outcome_is_taken() -> None:
    """Who may report outcomes tells what really happened."""
    response = post(client("report_outcome"), "models/toy/outcome", {"key": "ada", "value": True})

    assert response.status_code == 202


@pytest.mark.usefixtures("site")
def test_a_stranger_is_asked_to_log_in() -> None:
    """Nobody but users is answered, in the manner of the path."""
    assert post(Client()).json()["detail"] == "Log in first"
    assert post(Client(), "v2/models/toy/infer").json() == {"error": "Log in first"}


@pytest.mark.usefixtures("site")
def test_a_post_without_a_token_is_refused() -> None:
    """A page elsewhere cannot let a user's browser ask; with the site's token it may."""
    browser = client("predict", strict=True)

    without = post(browser)
    browser.cookies["csrftoken"] = "a" * 32
    with_it = post(browser, headers={"X-CSRFToken": "a" * 32})

    assert (without.status_code, with_it.status_code) == (403, 200)
    assert "CSRF" in without.json()["detail"]


@pytest.mark.usefixtures("site")
def test_a_form_is_no_request() -> None:
    """A form's fields are not even read."""
    response = client("predict").post("/ml/models/toy/predict", {"record": "x"})

    assert response.status_code == 415


def test_a_model_of_a_permission_is_hidden_without_it(site: dict[str, Any]) -> None:
    """To a user without `PERMISSION` there is no such model, in lists and in answers."""
    secret = {"REF": "toy", "PERMISSION": "auth.view_user"}

    with override_settings(MLEMBED={**site, "MODELS": {"toy": "toy", "pay": secret}}):
        browser = client("predict")
        listed = browser.get("/ml/models").content.decode()
        described = browser.get("/ml/openapi.json").content.decode()
        answered = post(browser, "models/pay/predict")
        User.objects.all().delete()
        allowed = post(client("predict", "view_user"), "models/pay/predict")

    assert "toy" in listed
    assert "pay" not in listed + described
    assert (answered.status_code, allowed.status_code) == (404, 200)


@pytest.mark.parametrize(
    ("key", "name", "status"), [("sesame", "toy", 200), ("sesame", "gone", 403), ("", "toy", 403)]
)
def test_a_site_s_own_function_decides(
    site: dict[str, Any], key: str, name: str, status: int
) -> None:
    """With `AUTHENTICATE` neither a user nor a token is asked for; the function sees the model."""
    http = {"AUTHENTICATE": f"{__name__}.with_key"}

    with override_settings(MLEMBED={**site, "HTTP": http}):
        browser = Client(enforce_csrf_checks=True, headers={"X-Key": key})
        response = post(browser, f"models/{name}/predict")

    assert response.status_code == status


def as_written(function: Any) -> Any:
    """Hide from whoever looks at it that *function* is a coroutine's."""

    @functools.wraps(function)
    def inner(*arguments: Any) -> Any:
        return function(*arguments)

    return inner


@as_written
async def never(_request: Any, _name: str) -> bool:
    """Let nobody in, too late."""
    return False


def refusal(_request: Any, _name: str) -> HttpResponse:
    """Answer in the place of deciding."""
    return HttpResponse(status=403)


@pytest.mark.parametrize("name", ["never", "refusal"])
def test_what_is_no_decision_lets_nobody_in(site: dict[str, Any], name: str) -> None:
    """A coroutine and a response are true to Python; the site is told what it must return."""
    http = {"AUTHENTICATE": f"{__name__}.{name}"}

    with (
        override_settings(MLEMBED={**site, "HTTP": http}),
        pytest.raises(ImproperlyConfigured, match="must return True or False"),
    ):
        post(Client())


@pytest.mark.usefixtures("site")
def test_a_fallback_answers_for_each_record_whatever_is_in_it() -> None:
    """Neither do empty records lose their answers, nor do many names become a matrix."""
    wide = {f"a{place}": 1 for place in range(60_000)}
    browser = client("predict")

    lots: list[list[dict[str, int]]] = [[{}, {"age": 1}], [{}, {}], [wide, *[{}] * 999]]
    for records in lots:
        tracemalloc.start()
        response = post(browser, "models/gone/predict", {"records": records})
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert len(response.json()["predictions"]) == len(records)
        assert most < 100e6


def test_a_site_without_users_says_so(site: dict[str, Any]) -> None:
    """Without users and without a function it is a mistake of the site, and told to it."""
    del site
    with (
        override_settings(MIDDLEWARE=[]),
        pytest.raises(ImproperlyConfigured, match="AUTHENTICATE"),
    ):
        post(Client())


@pytest.mark.parametrize("where", ["health/live", "v2/health/live", "v2/health/ready"])
@pytest.mark.usefixtures("site")
def test_probes_need_no_user(where: str) -> None:
    """A load balancer has no login."""
    assert Client().get(f"/ml/{where}").status_code == 200


def test_health_names_a_model_that_cannot_serve(site: dict[str, Any]) -> None:
    """One that has no fallback makes the site unready; one that has is degraded, and it is ready."""
    degraded = Client().get("/ml/health/ready")
    with override_settings(MLEMBED={**site, "MODELS": {"gone": "gone@champion"}}):
        unready = Client().get("/ml/health/ready")

    assert (degraded.status_code, unready.status_code) == (200, 503)
    assert "gone" in degraded.content.decode()
    assert "gone" in unready.content.decode()


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"record": {"age": NaN}}', 400),
        (b'{"record": {}, "record": {}}', 400),
        (b"[" * 100_000, 400),
        (b"\xff", 400),
        (b'{"record": {"age": 1}}', 422),
        (b'{"record": []}', 422),
        (b'{"recrod": {}}', 422),
        (b'"' + b"x" * 2_000_000 + b'"', 413),
    ],
    ids=["cut", "nan", "twice", "deep", "bytes", "short", "list", "name", "huge"],
)
def test_a_body_that_is_none_is_told(body: bytes, status: int) -> None:
    """Whatever comes is answered with what is wrong with it, and never with a fault."""
    response = post(client("predict"), body=body)

    assert response.status_code == status
    assert response.json()["type"].startswith("urn:problem-type:mlembed:")


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("debug", [False, True])
def test_a_hostile_host_gets_nothing(*, debug: bool) -> None:
    """A `Host` that the site does not have is refused, and stands in no answer."""
    with override_settings(DEBUG=debug, ALLOWED_HOSTS=["testserver"]):
        browser = client("predict")
        refused = browser.get("/ml/models", headers={"host": "evil.example"})
        described = browser.get("/ml/openapi.json").content.decode()

    assert refused.status_code == 400
    assert "testserver" not in described


def test_who_asks_too_often_waits(site: dict[str, Any]) -> None:
    """Each user has his own rate, and is told when to come back."""
    with override_settings(MLEMBED={**site, "HTTP": {"RATE": "2/h"}}):
        browser = client("predict")
        answers = [post(browser) for _ in range(3)]

    assert [a.status_code for a in answers] == [200, 200, 429]
    assert int(answers[2].headers["Retry-After"]) > 60


def test_a_site_may_describe_nothing(site: dict[str, Any]) -> None:
    """With `DESCRIBE` off there is no description, even for who may predict."""
    with override_settings(MLEMBED={**site, "HTTP": {"DESCRIBE": False}}):
        response = client("predict").get("/ml/openapi.json")

    assert response.status_code == 404


@pytest.mark.usefixtures("site")
def test_the_description_is_of_this_mount() -> None:
    """Its paths begin where the site includes the endpoints."""
    described = client("predict").get("/ml/openapi.json").json()

    assert described["servers"] == [{"url": "/ml"}]
    assert "/models/toy/predict" in described["paths"]
