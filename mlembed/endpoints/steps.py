"""Answer in steps, so that one text serves callers that wait and coroutines alike.

A handler is a generator: it yields what takes time, and is sent what came of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from mlembed.endpoints.messages import Answer

if TYPE_CHECKING:
    from mlembed.serving.model import Model

Steps: TypeAlias = Generator["Step", Any, Answer]
OnThread: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]


class Step(Protocol):
    """What takes time."""

    def run(self) -> Any:
        """Do it, and return what came of it."""

    async def arun(self, on_thread: OnThread, /) -> Any:
        """Do the same without holding up the event loop."""


class Predict(NamedTuple):
    """One prediction."""

    model: Model
    record: Any
    key: str | None

    def run(self) -> Any:
        """Return the prediction."""
        return self.model.predict(self.record, key=self.key)

    async def arun(self, _on_thread: OnThread) -> Any:
        """Return the prediction; a quick model is asked on the loop."""
        return await self.model.apredict(self.record, key=self.key)


class Work(NamedTuple):
    """Whatever else may take long, or wait: many predictions, a database, a model that loads."""

    function: Callable[[], Any]

    def run(self) -> Any:
        """Return what the function does."""
        return self.function()

    async def arun(self, on_thread: OnThread) -> Any:
        """Return what the function does, on another thread."""
        return await on_thread(self.function)


def drive(steps: Steps) -> Answer:
    """Take all *steps* here; return the answer."""
    try:
        step = next(steps)
        while True:
            try:
                result = step.run()
            except Exception as error:  # noqa: BLE001  the handler's to deal with
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        answer: Answer = end.value
        return answer


async def adrive(steps: Steps, on_thread: OnThread) -> Answer:
    """Take all *steps* from a coroutine; return the answer."""
    try:
        step = next(steps)
        while True:
            try:
                result = await step.arun(on_thread)
            except Exception as error:  # noqa: BLE001  the handler's to deal with
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        answer: Answer = end.value
        return answer
