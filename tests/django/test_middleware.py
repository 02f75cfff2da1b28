"""`request.predictions`: lazy, of one request alone, and no thread in an async stack."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, override_settings

from bundles import RECORD, toy_table
from mlembed.testing import capture_predictions, override_model
from mlembed_django.conf import UndeclaredModelError, get_model
from mlembed_django.context import current
from mlembed_django.middleware import PredictionMiddleware
from mlembed_django.models import Prediction

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


@pytest.mark.usefixtures("db")
def test_rows_of_a_streamed_response_are_their_requests(
    declared: dict[str, Any], serving: Serving
) -> None:
    """Each chunk is kept under the request's id, and what is done between two rows is not."""
    outside: list[object] = []

    def view(request: Any) -> StreamingHttpResponse:
        rows = request.predictions["toy"].predict_queryset([RECORD] * 3, chunk_size=1)

        def lines() -> Iterator[str]:
            for row in rows:
                outside.append(current.get())
                yield f"{row.reason}\n"

        return StreamingHttpResponse(lines())

    with serving(view), override_settings(MLEMBED={**declared, "DATABASE": {}}):
        response = Client(headers={"X-Request-ID": "r-1"}).get("/")
        told = b"".join(response)

    assert told == b"ok\nok\nok\n"
    assert list(Prediction.objects.values_list("request", flat=True)) == ["r-1"] * 3
    assert outside == [None] * 3


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


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize("view", [score, ascore])
def test_server_timing_names_the_predictions(
    serving: Serving, declared: dict[str, Any], view: Any
) -> None:
    """Where the site asks for it a response says which predictions it is made of."""
    with (
        serving(view),
        override_settings(MLEMBED={**declared, "SERVER_TIMING": True}),
        capture_predictions() as made,
    ):
        header = Client().get("/").headers["Server-Timing"]

    ids = re.findall(r'(\w+);dur=[0-9.]+;desc="([0-9a-f-]{36})"', header)
    assert ids == [(p.model, p.id) for p in made]


@pytest.mark.usefixtures("declared")
def test_server_timing_is_silent_unless_asked_for(serving: Serving) -> None:
    """Ids of predictions leave the site only where it says so."""
    with serving(score):
        response = Client().get("/")

    assert "Server-Timing" not in response.headers


@pytest.mark.usefixtures("declared")
def test_server_timing_keeps_what_a_view_said(serving: Serving, declared: dict[str, Any]) -> None:
    """The header of a view's own stays in front."""

    def view(request: Any) -> HttpResponse:
        return HttpResponse(
            request.predictions["toy"].predict(RECORD).id, headers={"Server-Timing": "db;dur=5"}
        )

    with serving(view), override_settings(MLEMBED={**declared, "SERVER_TIMING": True}):
        response = Client().get("/")

    assert response.headers["Server-Timing"].startswith("db;dur=5, toy;dur=")


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"X-Request-ID": "order-7:a"}, True),
        ({"X-Request-ID": 'a" onload='}, False),
        ({"X-Request-ID": "a" * 200}, False),
        ({}, False),
    ],
)
def test_a_request_has_one_id(serving: Serving, headers: dict[str, str], *, kept: bool) -> None:
    """A good id of the proxy is kept, any other replaced, and it stays the same."""

    def view(request: Any) -> HttpResponse:
        context = request.predictions.context
        return JsonResponse({"ids": [context.id, context.id]})

    with serving(view):
        first, second = Client().get("/", headers=headers).json()["ids"]

    assert first == second
    assert (first == headers.get("X-Request-ID")) is kept
    assert re.fullmatch(r"[A-Za-z0-9._:/+=-]{1,128}", first)


def test_a_request_knows_its_trace(serving: Serving) -> None:
    """The trace of a W3C header is told, and anything else is no trace."""
    trace = "0af7651916cd43dd8448eb211c80319c"

    def view(request: Any) -> HttpResponse:
        return HttpResponse(request.predictions.context.trace)

    with serving(view):
        good = Client().get("/", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
        bad = Client().get("/", headers={"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"})

    assert (good.content.decode(), bad.content.decode()) == (trace, "")


@pytest.mark.usefixtures("declared")
def test_a_user_is_known_by_a_hash_and_only_if_loaded(serving: Serving) -> None:
    """Asking who it was makes no query, and the answer is not the user's key."""

    def view(request: Any) -> HttpResponse:
        before = request.predictions.context.user
        request._cached_user = User(pk=4711)
        return JsonResponse({"users": [before, request.predictions.context.user]})

    with serving(view):
        before, after = Client().get("/").json()["users"]

    assert before == ""
    assert re.fullmatch("[0-9a-f]{64}", after)


@pytest.mark.usefixtures("declared")
def test_a_user_that_an_async_view_loaded_is_known(serving: Serving) -> None:
    """`await request.auser()` keeps the user elsewhere than `request.user` does."""

    async def view(request: Any) -> HttpResponse:
        request._acached_user = User(pk=4711)
        return JsonResponse({"user": request.predictions.context.user})

    with override_settings(SECRET_KEY=b"as bytes, which Django takes, too"), serving(view):
        told = Client().get("/").json()["user"]

    assert re.fullmatch("[0-9a-f]{64}", told)


@pytest.mark.usefixtures("declared")
def test_the_context_ends_with_its_request(serving: Serving) -> None:
    """Code behind a view finds the request's context, and finds none afterwards."""
    found = []

    def view(request: Any) -> HttpResponse:
        found.append(current.get() is request.predictions.context)
        return HttpResponse()

    with serving(view):
        Client().get("/")

    assert found == [True]
    assert current.get() is None


@pytest.mark.usefixtures("declared")
async def test_a_cancelled_request_leaves_nothing_behind(serving: Serving) -> None:
    """A request that is cancelled while it predicts ends its context, and the model goes on."""
    reached = asyncio.Event()

    async def view(request: Any) -> HttpResponse:
        await request.predictions["toy"].apredict(RECORD)
        reached.set()
        await asyncio.sleep(60)
        return HttpResponse()

    handler = ASGIHandler.__new__(ASGIHandler)
    with serving(view):
        handler.load_middleware(is_async=True)
        task = asyncio.ensure_future(handler.get_response_async(AsyncRequestFactory().get("/")))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert current.get() is None
    assert (await get_model("toy").apredict(RECORD)).reason == "ok"


@pytest.mark.parametrize("load", ["lazy", "worker_start"])
def test_worker_start_loads_before_the_first_request(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch, load: str
) -> None:
    """A server that builds the middleware loads the models declared so, and no others."""
    monkeypatch.delattr("django.core.mail.outbox")  # as outside of a test run
    models = {"toy": {"REF": "toy@champion", "LOAD": load}}

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        PredictionMiddleware(lambda _: HttpResponse())

        state = get_model("toy").state

    assert state == ("READY" if load == "worker_start" else "NOT_READY")


def test_a_model_that_cannot_load_at_start_stops_no_server(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The site serves what it can; the log names the model and why."""
    monkeypatch.delattr("django.core.mail.outbox")
    models = {"gone": {"REF": "gone@champion", "LOAD": "worker_start"}}

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        PredictionMiddleware(lambda _: HttpResponse())

    assert "gone is not loaded at the start" in caplog.text


def test_a_malformed_setting_stops_no_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A setting that cannot be read is told in the log, and the site is built all the same."""
    monkeypatch.delattr("django.core.mail.outbox")
    models = {"toy": {"REF": "toy@champion", "LOAD": "worker_start", "LODA": 1}}

    with override_settings(MLEMBED={"MODELS": models}):
        PredictionMiddleware(lambda _: HttpResponse())

    assert "unknown key 'LODA'" in caplog.text
