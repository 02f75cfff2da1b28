"""`request.predictions`: lazy, of one request alone, and no thread in an async stack."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, override_settings

from bundles import RECORD, toy_table
from mlembed.testing import capture_predictions, override_model
from mlembed_django.conf import UndeclaredModelError, get_model
from mlembed_django.middleware import PredictionMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Serving = Callable[[Any], AbstractContextManager[None]]

N_REQUESTS = 8


class ThreadNoting(PredictionMiddleware):
    """Notes the thread that runs it."""

    def __call__(self, request: HttpRequest) -> Any:
        response = super().__call__(request)
        request.middleware_thread = threading.get_ident()  # type: ignore[attr-defined]  # of this test
        return response


def score(request: Any, **_: str) -> HttpResponse:
    """Predict once with each declared model."""
    answers = [request.predictions[name].predict(RECORD, name) for name in request.predictions]
    made = request.predictions.made
    return JsonResponse({"same": made == answers, "reasons": [p.reason for p in made]})


async def ascore(request: Any, **_: str) -> HttpResponse:
    """Predict once with each declared model, from a coroutine."""
    answers = [
        await request.predictions[name].apredict(RECORD, name) for name in request.predictions
    ]
    made = request.predictions.made
    return JsonResponse({"same": made == answers, "reasons": [p.reason for p in made]})


def meet(barrier: threading.Barrier) -> Callable[..., HttpResponse]:
    """Return a view that predicts, waits until all requests have, and lists what it made."""

    def view(request: Any, name: str) -> HttpResponse:
        request.predictions["toy"].predict(RECORD, key=name)
        barrier.wait(10)
        return JsonResponse({"keys": [made.key for made in request.predictions.made]})

    return view


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize("view", [score, ascore])
def test_predictions_answer_under_wsgi(serving: Serving, view: Any) -> None:
    """Sync and async views predict by name and find what they made."""
    with serving(view):
        answer = Client().get("/").json()

    assert answer == {"same": True, "reasons": ["ok", "fallback"]}


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize("view", [score, ascore])
async def test_predictions_answer_under_asgi(serving: Serving, view: Any) -> None:
    """The same views give the same answers behind an async server."""
    with serving(view):
        answer = (await AsyncClient().get("/")).json()

    assert answer == {"same": True, "reasons": ["ok", "fallback"]}


@pytest.mark.usefixtures("declared")
async def test_middleware_stays_on_the_loop_under_asgi(serving: Serving) -> None:
    """In an async stack middleware, prediction and view run on the event loop's own thread."""
    get_model("toy").refresh()
    threads: dict[str, int] = {}

    async def view(request: Any) -> HttpResponse:
        await request.predictions["toy"].apredict(RECORD)
        threads["view"] = threading.get_ident()
        threads["middleware"] = request.middleware_thread
        return HttpResponse()

    handler = ASGIHandler.__new__(ASGIHandler)
    with serving(view), override_settings(MIDDLEWARE=[f"{__name__}.ThreadNoting"]):
        handler.load_middleware(is_async=True)
        response = await handler.get_response_async(AsyncRequestFactory().get("/"))

    assert response.status_code == 200
    assert set(threads.values()) == {threading.get_ident()}


@pytest.mark.parametrize("is_async", [False, True])
def test_middleware_is_what_it_wraps(*, is_async: bool) -> None:
    """It is a coroutine function exactly where the next layer is one."""

    def plain(_: HttpRequest) -> HttpResponse:
        return HttpResponse()

    async def coroutine(_: HttpRequest) -> HttpResponse:
        return HttpResponse()

    middleware = PredictionMiddleware(coroutine if is_async else plain)

    assert iscoroutinefunction(middleware) is is_async


def test_nothing_is_read_until_a_model_is_used(serving: Serving) -> None:
    """A view that asks no model is served even where the setting is malformed."""

    def view(request: Any) -> HttpResponse:
        return JsonResponse({"made": request.predictions.made})

    with serving(view), override_settings(MLEMBED={"MODLES": {}}):
        answer = Client().get("/").json()

    assert answer == {"made": []}


@pytest.mark.usefixtures("declared")
def test_a_model_is_loaded_at_its_first_prediction(serving: Serving) -> None:
    """Naming a model, or listing them, loads none."""

    def view(request: Any) -> HttpResponse:
        models = request.predictions
        return JsonResponse({"names": [*models], "n": len(models), "is_in": "toy" in models})

    with serving(view):
        answer = Client().get("/").json()

    assert answer == {"names": ["toy", "gone"], "n": 2, "is_in": True}
    assert get_model("toy").state == "NOT_READY"


@pytest.mark.usefixtures("declared")
def test_an_undeclared_model_is_named(serving: Serving) -> None:
    """It behaves as a mapping: `in` and `get` find nothing, `[]` says what there is."""

    def view(request: Any) -> HttpResponse:
        assert "toys" not in request.predictions
        assert request.predictions.get("toys") is None
        return HttpResponse(request.predictions["toys"].name)

    with serving(view), pytest.raises(UndeclaredModelError, match="Known are: toy, gone"):
        Client().get("/")


@pytest.mark.usefixtures("declared")
def test_concurrent_threads_see_their_own_predictions(serving: Serving) -> None:
    """Requests in flight at once on threads list what each made, and nothing else."""
    answers: dict[str, list[str]] = {}

    def ask(name: str) -> None:
        answers[name] = Client().get(f"/{name}").json()["keys"]

    with serving(meet(threading.Barrier(N_REQUESTS))):
        threads = [threading.Thread(target=ask, args=(str(i),)) for i in range(N_REQUESTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert answers == {str(i): [str(i)] for i in range(N_REQUESTS)}


@pytest.mark.usefixtures("declared")
async def test_concurrent_tasks_see_their_own_predictions(serving: Serving) -> None:
    """Requests in flight at once on one event loop list what each made, and nothing else."""
    waiting = asyncio.Barrier(N_REQUESTS)

    async def view(request: Any, name: str) -> HttpResponse:
        await request.predictions["toy"].apredict(RECORD, key=name)
        await waiting.wait()
        return JsonResponse({"keys": [made.key for made in request.predictions.made]})

    with serving(view):
        responses = await asyncio.gather(*(AsyncClient().get(f"/{i}") for i in range(N_REQUESTS)))

    assert [response.json()["keys"] for response in responses] == [
        [str(i)] for i in range(N_REQUESTS)
    ]


@pytest.mark.usefixtures("declared")
def test_predictions_last_as_long_as_a_streamed_response(serving: Serving) -> None:
    """A response that is written bit by bit may predict while it is."""

    def view(request: Any) -> StreamingHttpResponse:
        def lines() -> Iterator[str]:
            for _ in range(3):
                request.predictions["toy"].predict(RECORD)
                yield f"{len(request.predictions.made)}\n"

        return StreamingHttpResponse(lines())

    with serving(view):
        response = Client().get("/")

        assert b"".join(response) == b"1\n2\n3\n"


@pytest.mark.usefixtures("declared")
def test_batches_and_outcomes_reach_the_model(serving: Serving, tmp_path: Path) -> None:
    """The handle of a request predicts batches and reports outcomes like the model itself."""

    def view(request: Any) -> HttpResponse:
        toy = request.predictions["toy"]
        batch = toy.predict_batch(toy_table(3))
        toy.outcome(batch.ids[0], value=True, revision=1)
        return JsonResponse({"n": len(batch.scores), "made": len(request.predictions.made)})

    with serving(view):
        answer = Client().get("/").json()
    get_model("toy").flush()

    assert answer == {"n": 3, "made": 0}
    (log,) = (tmp_path / "log" / "toy").rglob("*.jsonl*")
    assert "mlembed.outcome" in log.read_text()


@pytest.mark.usefixtures("declared")
def test_the_library_s_test_helpers_work_in_a_site(serving: Serving) -> None:
    """A host tests its views with `mlembed.testing` alone."""
    with serving(score), override_model("toy", returns=0.9), capture_predictions() as captured:
        Client().get("/")

    assert [(p.model, p.version, p.score) for p in captured] == [
        ("toy", "override", 0.9),
        ("gone", "", 0.25),
    ]
