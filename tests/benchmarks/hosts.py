"""What the middleware and a prediction add to a request of a Django site."""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import scenes
from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIDDLEWARE = "mlembed_django.middleware.PredictionMiddleware"
PLAIN = "django.middleware.common.CommonMiddleware"
_CHUNK = 50


def hosts(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Time requests with and without; microseconds, medians of interleaved chunks."""
    n = 1_000 if short else 20_000
    with tempfile.TemporaryDirectory() as folder:
        record, bare = _site(Path(folder))
        without = _sync_handler([PLAIN], _quiet)
        with_it = _sync_handler([PLAIN, MIDDLEWARE], _quiet)
        yield _added("hosts: middleware", without, with_it, n, 15.0)
        for kind, most in (("logistic", 60.0), ("trees", None)):
            view = _sync_handler([PLAIN, MIDDLEWARE], _predicting(kind, record))
            what = f"hosts: a view that predicts once, {kind}"
            yield _added(what, without, view, n, most)
            view = _sync_handler([PLAIN], bare[kind])
            what = f"hosts: a view that runs a bare session, {kind}"
            yield _added(what, without, view, n, None)
        yield from _async(n, record)
        yield _queries(record)


def _site(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Set a site up whose models are there; return a record, and views that run them bare."""
    import django
    import numpy as np
    from django.conf import settings
    from django.http import HttpResponse

    from mlembed.cli import trial
    from mlembed.registry.file import FileRegistry

    registry, bare = FileRegistry(folder / "registry"), {}
    for kind in ("logistic", "trees"):
        bundle = scenes.bundle(kind)
        registry.publish(bundle)
        registry.promote(bundle.manifest.name, "champion", bundle.manifest.version)
        run = trial.single(bundle).bare

        def view(_request: Any, run: Any = run) -> Any:
            run()
            return HttpResponse(b"")

        bare[kind] = view
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["mlembed_django"],
        LOGGING_CONFIG=None,
        MLEMBED={
            "REGISTRY": folder / "registry",
            "LOG_DIR": folder / "log",
            "MODELS": {"logistic": "logistic20@champion", "trees": "trees20@champion"},
        },
        ROOT_URLCONF=__name__,
        SECRET_KEY="of a benchmark",  # noqa: S106
    )
    django.setup()
    columns = scenes.table(1)
    return {name: float(np.ravel(v)[0]) for name, v in columns.items() if name != "y"}, bare


def _sync_handler(middleware: list[str], view: Any) -> Callable[[], None]:
    """Return what sends one request through the layers of a WSGI site to *view*."""
    from django.core.handlers.base import BaseHandler
    from django.test import RequestFactory, override_settings
    from django.urls import path

    urls = (path("", view),)
    handler = BaseHandler()
    with override_settings(MIDDLEWARE=middleware):
        handler.load_middleware()
    factory = RequestFactory()

    def send() -> None:
        request = factory.get("/")
        request.urlconf = urls  # type: ignore[assignment]  # a module's attributes are all it needs
        handler.get_response(request)

    return send


def _quiet(_request: Any) -> Any:
    from django.http import HttpResponse

    return HttpResponse(b"")


def _predicting(kind: str, record: dict[str, Any]) -> Callable[[Any], Any]:
    from django.http import HttpResponse

    def view(request: Any) -> Any:
        request.predictions[kind].predict(record)
        return HttpResponse(b"")

    return view


def _added(
    what: str, without: Callable[[], None], with_it: Callable[[], None], n: int, most: float | None
) -> Finding:
    """Return the median of what *with_it* takes beyond *without*, in microseconds."""
    kinds = (without, with_it)
    for kind in kinds:
        _microseconds(kind)
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(n // _CHUNK):
        for which in (0, 1) if turn % 2 else (1, 0):
            times[which].append(_microseconds(kinds[which]))
    bare, whole = map(statistics.median, times)
    return Finding(what, whole - bare, most, "us", f"{whole:.1f} - {bare:.1f} us")


def _microseconds(send: Callable[[], None]) -> float:
    gc.collect(0)
    start = time.perf_counter_ns()
    for _ in range(_CHUNK):
        send()
    return (time.perf_counter_ns() - start) / 1e3 / _CHUNK


def _async(n: int, record: dict[str, Any]) -> Iterator[Finding]:
    """Do the same in an async site, whose loop no layer of ours may leave."""
    from django.core.handlers.base import BaseHandler
    from django.test import AsyncRequestFactory, override_settings
    from django.urls import path

    async def quiet(request: Any) -> Any:
        return _quiet(request)

    async def predicting(request: Any) -> Any:
        await request.predictions["logistic"].apredict(record)
        return _quiet(request)

    factory, loop = AsyncRequestFactory(), asyncio.new_event_loop()

    def sender(middleware: list[str], view: Any) -> Callable[[], None]:
        handler, urls = BaseHandler(), (path("", view),)
        with override_settings(MIDDLEWARE=middleware):
            handler.load_middleware(is_async=True)

        async def send() -> None:
            request = factory.get("/")
            request.urlconf = urls  # type: ignore[assignment]  # as above
            await handler.get_response_async(request)

        return lambda: loop.run_until_complete(send())

    bare = sender([], quiet)
    threads = threading.active_count()
    yield _added("hosts: middleware, async", bare, sender([MIDDLEWARE], quiet), n, 15.0)
    yield Finding("hosts: threads it started", threading.active_count() - threads, 0, "threads")
    what = "hosts: a view that predicts once, logistic, async"
    yield _added(what, bare, sender([MIDDLEWARE], predicting), n, 60.0)
    loop.close()


def _queries(record: dict[str, Any]) -> Finding:
    """Count the queries of a request that predicts."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        _sync_handler([MIDDLEWARE], _predicting("logistic", record))()
    return Finding("hosts: queries of a request that predicts", len(queries), 0, "queries")
