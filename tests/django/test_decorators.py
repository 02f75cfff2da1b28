"""`@predicts` on a view: every kind of view, with and without the middleware."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View

from bundles import RECORD
from mlembed.errors import DeclarationError, SchemaError
from mlembed.testing import capture_predictions
from mlembed_django.decorators import predicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from mlembed import Prediction

    Serving = Callable[[Any], AbstractContextManager[None]]

MIDDLEWARE = "mlembed_django.middleware.PredictionMiddleware"

pytestmark = pytest.mark.usefixtures("declared")


def customer(_request: HttpRequest, name: str) -> dict[str, Any] | None:
    """Return the record of a customer; None where there is none."""
    return None if name == "nobody" else RECORD


async def acustomer(request: HttpRequest, name: str) -> dict[str, Any] | None:
    """Return the record of a customer, after a wait."""
    await asyncio.sleep(0)
    return customer(request, name)


def named(_request: HttpRequest, name: str) -> str:
    """Return the customer's key."""
    return name


async def anamed(_request: HttpRequest, name: str) -> str:
    """Return the customer's key, from a coroutine."""
    return name


def answer(request: Any, name: str, prediction: Prediction | None) -> HttpResponse:
    """Describe the prediction that a view was given."""
    made = getattr(request, "predictions", None)
    return JsonResponse(
        {
            "name": name,
            "key": prediction and prediction.key,
            "version": prediction and prediction.version,
            "made": None if made is None else len(made.made),
        }
    )


async def aanswer(request: Any, name: str, prediction: Prediction | None) -> HttpResponse:
    """Describe the prediction that an async view was given."""
    return answer(request, name, prediction)


class Answers(View):
    """A class-based view."""

    @method_decorator(predicts("toy", record=customer, key=named))
    def get(self, request: Any, name: str, prediction: Prediction | None) -> HttpResponse:
        """Describe the prediction."""
        return answer(request, name, prediction)


class AsyncAnswers(View):
    """A class-based view of coroutines."""

    @method_decorator(predicts("toy", record=acustomer, key=anamed))
    async def get(self, request: Any, name: str, prediction: Prediction | None) -> HttpResponse:
        """Describe the prediction."""
        return answer(request, name, prediction)


@predicts("toy", record=customer, key=named)
class Decorated(View):
    """A class-based view that is decorated as it stands."""

    def get(self, request: Any, name: str, prediction: Prediction | None) -> HttpResponse:
        """Describe the prediction."""
        return answer(request, name, prediction)


@predicts("toy", record=acustomer, key=anamed)
class AsyncDecorated(View):
    """A class-based view of coroutines that is decorated as it stands."""

    async def get(self, request: Any, name: str, prediction: Prediction | None) -> HttpResponse:
        """Describe the prediction."""
        return answer(request, name, prediction)


VIEWS = {
    "decorated class": Decorated.as_view(),
    "decorated async class": AsyncDecorated.as_view(),
    "function": predicts("toy", record=customer, key=named)(answer),
    "async function": predicts("toy", record=customer, key=named)(aanswer),
    "async function and record": predicts("toy", record=acustomer, key=anamed)(aanswer),
    "class": Answers.as_view(),
    "async class": AsyncAnswers.as_view(),
}
EXPECTED = {"name": "ada", "key": "ada", "version": "1.0.0", "made": 1}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_predicts_hands_the_prediction_to_the_view(serving: Serving, view: Any) -> None:
    """Every kind of view gets the model's answer on its record, under WSGI."""
    with serving(view):
        got = Client().get("/ada").json()

    assert got == EXPECTED


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
async def test_predicts_hands_the_prediction_to_the_view_under_asgi(
    serving: Serving, view: Any
) -> None:
    """Every kind of view gets the model's answer on its record, under ASGI."""
    with serving(view):
        got = (await AsyncClient().get("/ada")).json()

    assert got == EXPECTED


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_predicts_needs_no_middleware(serving: Serving, view: Any) -> None:
    """Without the middleware the view gets its prediction, and the request lists it."""
    with serving(view), override_settings(MIDDLEWARE=[]):
        got = Client().get("/ada").json()

    assert got == EXPECTED


@pytest.mark.parametrize("middleware", [[], [MIDDLEWARE]], ids=["without", "with"])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_predicts_asks_no_model_without_a_record(
    serving: Serving, view: Any, middleware: list[str]
) -> None:
    """A record of None means that there is nothing to predict; the view is called all the same."""
    with serving(view), override_settings(MIDDLEWARE=middleware):
        got = Client().get("/nobody").json()

    assert got == {"name": "nobody", "key": None, "version": None, "made": 0}


def test_predicts_raises_what_the_model_raises(serving: Serving) -> None:
    """A bad record of a model without a fallback is an error of the view, fields named."""
    view = predicts("toy", record=lambda *_, **__: {**RECORD, "age": "old"})(answer)

    with serving(view), pytest.raises(SchemaError, match="'age' is str"):
        Client().get("/ada")


def test_predicts_answers_with_the_fallback(serving: Serving) -> None:
    """A model that cannot be loaded answers with the score that the site named."""

    def view(_request: HttpRequest, name: str, prediction: Prediction) -> HttpResponse:
        return JsonResponse({name: [prediction.score, prediction.reason]})

    with serving(predicts("gone", record=customer)(view)):
        got = Client().get("/ada").json()

    assert got == {"ada": [0.25, "fallback"]}


def test_predicts_keeps_the_view_s_name_and_marks() -> None:
    """What Django and others read from a view is still there: name, docstring, csrf exemption."""

    def plain(_request: HttpRequest, prediction: Prediction) -> HttpResponse:
        """Say something."""
        return HttpResponse(str(prediction.score))

    plain.csrf_exempt = True  # type: ignore[attr-defined]  # as Django's decorator sets it

    view: Any = predicts("toy", record=customer)(plain)

    assert (view.__name__, view.__doc__, view.csrf_exempt) == ("plain", "Say something.", True)


@pytest.mark.parametrize("arguments", [{"record": acustomer}, {"record": customer, "key": anamed}])
def test_predicts_refuses_coroutines_on_a_plain_view(serving: Serving, arguments: Any) -> None:
    """A plain view cannot wait for a coroutine; it says so and leaves none unawaited."""
    view = predicts("toy", **arguments)(answer)

    with serving(view), pytest.raises(DeclarationError, match="@predicts on 'answer'"):
        Client().get("/ada")


@predicts("toy", key=lambda name: name)
def toy_of(name: str) -> dict[str, Any] | None:
    """Return the record of a customer; None where there is none."""
    return None if name == "nobody" else RECORD


@predicts("toy", key=lambda name: name)
async def atoy_of(name: str) -> dict[str, Any] | None:
    """Return the record of a customer, from a coroutine."""
    return None if name == "nobody" else RECORD


def test_a_function_that_gives_a_record_gives_the_prediction() -> None:
    """Outside of a request a decorated function returns what the site's model says."""
    made = toy_of("ada")

    assert (made.version, made.key) == ("1.0.0", "ada")
    assert toy_of("nobody") is None


async def test_a_coroutine_that_gives_a_record_gives_the_prediction() -> None:
    """A decorated coroutine function is awaited for the same."""
    made = await atoy_of("ada")

    assert (made.version, made.key) == ("1.0.0", "ada")
    assert await atoy_of("nobody") is None


def test_a_function_beside_its_record_gets_the_prediction() -> None:
    """A function that is no view is handed the prediction, as a view is."""

    @predicts("toy", record=lambda _: RECORD, key=lambda name: name)
    def call(name: str, prediction: Prediction) -> str:
        return f"{name}: {prediction.key}"

    assert call("ada") == "ada: ada"


def test_a_view_class_needs_a_record() -> None:
    """A class cannot return a record, so leaving it out is refused where it stands."""
    with pytest.raises(DeclarationError, match="record="):
        predicts("toy")(Answers)


def test_options_asks_no_model(serving: Serving) -> None:
    """What a view class answers to OPTIONS by itself needs no record and no model."""
    with serving(Decorated.as_view()), capture_predictions() as made:
        response = Client().options("/ada")

    assert response.status_code == 200
    assert made == []


def first(*_: Any, **__: Any) -> dict[str, Any]:
    """Return a record that the model `toy` answers."""
    return RECORD


class Plain(View):
    """A view of two verbs, which returns what it was given."""

    def get(self, _request: HttpRequest, prediction: Prediction) -> Any:
        """Return the prediction."""
        return prediction

    def post(self, _request: HttpRequest, prediction: Prediction) -> Any:
        """Return the prediction."""
        return prediction


def ask(view: Any, method: str = "GET") -> Any:
    """Return what *view* returns."""
    request = HttpRequest()
    request.method = method
    return view(request)


def views_that_get_two() -> Iterator[Any]:
    """Yield what decorates a view twice, each way."""
    both, only = predicts("toy", record=first), predicts("gone", record=first)
    handler, whole = method_decorator(only, name="get"), method_decorator(only, name="dispatch")
    yield pytest.param(lambda: both(only(answer)), id="function")
    yield pytest.param(lambda: both(only(acustomer)), id="coroutine function")
    yield pytest.param(lambda: both(only(type("Twice", (Plain,), {}))), id="class")
    yield pytest.param(lambda: both(handler(type("Own", (Plain,), {}))), id="handler")
    yield pytest.param(lambda: both(whole(type("Whole", (Plain,), {}))), id="dispatch")
    yield pytest.param(lambda: both(only(type("Made", (Plain,), {})).as_view()), id="as_view")


@pytest.mark.parametrize("decorate", [*views_that_get_two()])
def test_a_view_that_would_get_two_predictions_is_refused(decorate: Callable[[], Any]) -> None:
    """When it is decorated, and not when somebody asks for the page."""
    with pytest.raises(DeclarationError, match=r"request\.predictions"):
        decorate()


def test_a_subclass_is_decorated_in_place_of_its_base() -> None:
    """Its own handlers and those it inherits get its prediction; the base keeps its own."""
    base = predicts("gone", record=first)(type("Base", (Plain,), {}))
    sub = predicts("toy", record=first)(type("Sub", (base,), {"put": Plain.get}))

    assert {ask(sub.as_view(), verb).model for verb in ("GET", "POST", "PUT")} == {"toy"}
    assert ask(base.as_view()).model == "gone"


def test_a_subclass_may_hand_its_prediction_on() -> None:
    """`super()` with a prediction asks no model again, without one it asks the base's."""
    base: Any = predicts("gone", record=first)(type("Base", (Plain,), {}))

    @predicts("toy", record=first)
    class Sub(base):  # type: ignore[misc]  # made here
        def get(self, request: HttpRequest, prediction: Prediction) -> Any:
            return super().get(request, prediction=prediction)

    class Bare(base):  # type: ignore[misc]  # idem
        def get(self, request: HttpRequest) -> Any:
            return super().get(request)

    assert ask(Sub.as_view()).model == "toy"
    assert ask(Bare.as_view()).model == "gone"


async def test_a_coroutine_handler_may_hand_its_prediction_on() -> None:
    """As a plain one."""

    @predicts("gone", record=first)
    class Base(View):
        async def get(self, _request: HttpRequest, prediction: Prediction) -> Any:
            return prediction

    @predicts("toy", record=first)
    class Sub(Base):
        async def get(self, request: HttpRequest, prediction: Prediction) -> Any:
            return await super().get(request, prediction=prediction)

    answered = await ask(Sub.as_view())

    assert answered.model == "toy"


def test_what_stands_around_an_inherited_handler_stays() -> None:
    """A guard of the host's is not taken off with the base's decoration."""

    def guarded(handler: Any) -> Any:
        @functools.wraps(handler)
        def guard(self: View, *args: Any, **kwargs: Any) -> Any:
            seen.append(True)
            return handler(self, *args, **kwargs)

        return guard

    seen: list[bool] = []
    base: Any = predicts("gone", record=first)(type("Base", (Plain,), {}))
    sub = predicts("toy", record=first)(type("Sub", (base,), {"get": guarded(base.get)}))

    assert ask(sub.as_view()).model == "toy"
    assert seen == [True]


def test_a_model_may_be_told_what_another_answers() -> None:
    """A function that gets a prediction and gives the record of another is no view."""

    @predicts("toy")
    @predicts("gone", record=first)
    def record_of(prediction: Prediction) -> dict[str, Any]:
        assert prediction.model == "gone"
        return RECORD

    assert record_of().model == "toy"


def test_a_part_of_the_url_is_no_prediction(serving: Serving) -> None:
    """A visitor cannot hand a view what the model is to say."""

    @predicts("toy", record=lambda _request, **_: RECORD)
    class Charge(View):
        def get(self, _request: HttpRequest, prediction: Any) -> HttpResponse:
            return HttpResponse(repr(prediction))

    with (
        override_settings(ROOT_URLCONF=(path("<str:prediction>", Charge.as_view()),)),
        pytest.raises(TypeError, match="multiple values"),
    ):
        Client().get("/forged")
    with serving(Charge.as_view()):
        assert b"Prediction" in Client().get("/").content
