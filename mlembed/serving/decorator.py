"""Make a function that builds a record into one that predicts."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from mlembed.errors import SettingsError
from mlembed.serving.fallback import RAISE
from mlembed.serving.model import Model, load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from mlembed.registry import AnyRegistry
    from mlembed.serving.fallback import Fallback
    from mlembed.serving.prediction import Prediction
    from mlembed.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


class _Predicts:
    def __init__(self, find: Callable[[], Model]) -> None:
        self._make = find
        self._made: dict[str, Model] = {}

    def _find(self) -> Model:
        # Threads that come first together may make one each; all use the one that is kept.
        return self._made.get("model") or self._made.setdefault("model", self._make())

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a coroutine function is a function too
        self, function: Callable[P, Awaitable[R]]
    ) -> Callable[P, Coroutine[Any, Any, Prediction]]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Callable[P, Prediction]: ...

    def __call__(self, function: Callable[P, Any]) -> Callable[P, Any]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def apredict(*args: P.args, **kwargs: P.kwargs) -> Prediction:
                return await self._find().apredict(await function(*args, **kwargs))

            return apredict

        @functools.wraps(function)
        def predict(*args: P.args, **kwargs: P.kwargs) -> Prediction:
            return self._find().predict(function(*args, **kwargs))

        return predict


def predicts(
    model: str | Model,
    *,
    registry: AnyRegistry | None = None,
    fallback: Fallback = RAISE,
    settings: Settings | None = None,
) -> _Predicts:
    """Decorate a function that returns a record: a call of it returns the prediction.

    Works for plain and coroutine functions. The model is loaded at the first call, never at import.
    An error of the function itself is raised as it is.

    Args:
        model: A reference such as `income@champion`, or a model already loaded.
        registry: As for `load`.
        fallback: As for `load`.
        settings: As for `load`.

    Raises:
        SettingsError: If a loaded model is given together with what `load` takes.
    """
    if isinstance(model, Model):
        if registry is not None or fallback is not RAISE or settings is not None:
            raise SettingsError(
                "predicts(model): a loaded model has its own registry, fallback and settings; "
                "give them to load()"
            )
        return _Predicts(lambda: model)
    return _Predicts(lambda: load(model, registry=registry, fallback=fallback, settings=settings))
