"""Answer HTTP requests for models, whatever framework brings them.

Nothing is raised. A 500 is a fault of the host or of the model, and told in the log.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from mlembed.endpoints.call import Call
from mlembed.endpoints.limits import Limits, Throttle
from mlembed.endpoints.messages import Answer
from mlembed.endpoints.problems import KINDS, Problem, problem_of
from mlembed.endpoints.routes import is_v2, route_of
from mlembed.endpoints.steps import adrive, drive
from mlembed.serving.pool import in_pool
from mlembed.telemetry.notices import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlembed.endpoints.messages import Request
    from mlembed.endpoints.routes import Route
    from mlembed.endpoints.steps import OnThread, Steps
    from mlembed.serving.model import Model

_FAULT = 500


class Endpoints:
    """Predict, outcome, health, OpenAPI and the Open Inference Protocol v2 for some models.

        endpoints = Endpoints({"income": mlembed.load("income@champion")})
        answer = endpoints.answer(Request("POST", "models/income/predict", headers, body))
        answer.status, answer.headers, answer.body

    Who may ask is the host's to decide, before. `mlembed_fastapi` and `mlembed_flask` put the object
    behind a path of an application; it may be shared between threads, and across `fork`.

    Args:
        models: The models by the names of their paths; a `Lookup` where a host makes them itself.
        limits: What a request may hold, and how often a client may ask.
        on_thread: Runs a function from a coroutine, on another thread: many predictions at once, a
            model that loads, an outcome. The library's own few threads by default.
        clock: Seconds that only grow, for the throttle.

    Attributes:
        limits: As above; an adapter reads no more than `limits.max_bytes` of a body.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        limits: Limits | None = None,
        *,
        on_thread: OnThread = in_pool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits = limits or Limits()
        self._models = models
        self._on_thread = on_thread
        rate = limits.rate
        self._throttle = None if rate is None else Throttle(rate, limits.max_clients, clock)

    def answer(self, request: Request) -> Answer:
        """Answer *request*."""
        try:
            steps = self._begin(request)
            answer = steps if isinstance(steps, Answer) else drive(steps)
        except Exception as error:  # noqa: BLE001  whatever it is, the client is told
            answer = _failed(request, error)
        return _without_body(answer) if request.method == "HEAD" else answer

    async def aanswer(self, request: Request) -> Answer:
        """Answer *request* from a coroutine, which is never held up for long."""
        try:
            steps = self._begin(request)
            answer = steps if isinstance(steps, Answer) else await adrive(steps, self._on_thread)
        except Exception as error:  # noqa: BLE001  idem
            answer = _failed(request, error)
        return _without_body(answer) if request.method == "HEAD" else answer

    def _begin(self, request: Request) -> Steps | Answer:
        route = route_of(request.path)
        method = "GET" if request.method == "HEAD" else request.method
        if method != route.method:
            return _other_method(request.method, route)
        call = Call(
            *(request, self._models, self.limits, self._throttle),
            *(route.name, route.version),
        )
        return route.handler(call)


def _other_method(method: str, route: Route) -> Answer:
    if method == "OPTIONS":
        return Answer(204, {"Allow": route.allowed})
    raise Problem("method", f"The path has {route.allowed}", (), {"Allow": route.allowed})


def _failed(request: Request, error: Exception) -> Answer:
    problem = problem_of(error)
    if KINDS[problem.kind][0] == _FAULT:
        is_bug = problem.kind == "bug"
        why = "a fault of the server" if is_bug else f"{type(error).__name__} in the model"
        level = logging.ERROR if is_bug else logging.WARNING
        tell(level, "a request was not answered: %s", why, traceback=is_bug)
    return problem.answer_v2() if is_v2(request.path) else problem.answer()


def _without_body(answer: Answer) -> Answer:
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    return answer._replace(headers=headers, body=b"")
