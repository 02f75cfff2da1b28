"""Predict where a view or function is called, and hand it the prediction.

The record is built by a function beside the view, so the view holds only what it does with the
answer. Sync and async alike; functions, views, and class-based views, each handler of which gets it.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.views import View

from mlembed.errors import DeclarationError
from mlembed.serving.prediction import Prediction
from mlembed_django.conf import get_model
from mlembed_django.requests import predictions_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed_django.live import SiteModel
    from mlembed_django.requests import RequestModel

    Function = Callable[..., Any]
    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]

_GIVES, _HANDLER = "_mlembed_gives", "_mlembed_handler"


def predicts(
    name: str,
    *,
    record: Callable[..., Any] | None = None,
    key: Callable[..., Any] | None = None,
) -> Callable[[Any], Any]:
    """Decorate a view or a function: it is called with `prediction=`, the answer on *record*.

        @predicts("payments", record=payment_of, key=lambda request, pk: pk)
        def charge(request, pk, prediction): ...

    Without *record* the function itself returns the record, and a call of it the prediction:

        @predicts("churn", key=lambda customer: customer.pk)
        def churn_of(customer): return {"orders": customer.order_set.count(), ...}

    It works without the middleware; in a view `request.predictions` is there afterwards. A
    `View` class may be decorated as it stands. What *record*, *key* or the model raises is raised
    to the caller, as if the function had raised it.

    A subclass of such a class may be decorated again, and that holds for all its handlers. A handler
    that an undecorated one defines is called as it stands; it hands on to `super()` for a prediction.

    Args:
        name: The model, as MLEMBED['MODELS'] declares it.
        record: Called with what the function is called with, without a handler's `self`, to give
            the record; or an instance of the site's own model, where `RECORD` maps it. Where it
            gives None nothing is predicted and the function gets `prediction=None`. For an async
            function it may be a coroutine function, and must be one if it reads the database.
        key: Called in the same way, to give the host's own key of the entity.

    A plain function with a coroutine function as *record* or *key* raises `DeclarationError` when
    it is called: Django's `method_decorator` does not show the decorator what it decorates sooner.

    Raises:
        DeclarationError: If a view class has no *record*, or a view would get two predictions.
    """

    def decorate(target: Any) -> Any:
        asks = _Asks(name, record, key, target)
        if isinstance(target, type) and issubclass(target, View):
            if record is None:
                raise DeclarationError(
                    f"@predicts on '{target.__name__}': a view class gives no record; name what "
                    "does with record="
                )
            return _decorate_class(target, asks)
        if record is None:
            return _decorate_record(target, asks)
        _require_single(target, target, getattr(target, "view_class", None))
        return _decorate_function(target, asks)

    return decorate


class _Asks:
    """What is asked of the model when *target* is called."""

    def __init__(
        self, name: str, record: Function | None, key: Function | None, target: Any
    ) -> None:
        self.name = name
        self._record, self._key, self._target = record, key, target

    def now(self, args: Args, kwargs: Kwargs, built: Any = None) -> Any:
        """Return the prediction; None where there is no record."""
        model = _model(self.name, args)
        if self._record is not None:
            built = self._plain(self._record(*args, **kwargs))
        if built is None:
            return None
        entity = None if self._key is None else self._plain(self._key(*args, **kwargs))
        return model.predict(built, key=entity)

    async def later(self, args: Args, kwargs: Kwargs, built: Any = None) -> Prediction | None:
        """Return the prediction, from a coroutine."""
        model = _model(self.name, args)
        if self._record is not None:
            built = await _finished(self._record(*args, **kwargs))
        if built is None:
            return None
        entity = None if self._key is None else await _finished(self._key(*args, **kwargs))
        return await model.apredict(built, key=entity)

    def _plain(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            value.close()
            raise DeclarationError(
                f"@predicts on '{getattr(self._target, '__name__', 'a view')}': the view is a plain "
                "function and its record or key is a coroutine function; make both async, or neither"
            )
        return value


def _model(name: str, args: Args) -> SiteModel | RequestModel:
    """Return the model, bound to the request if the first argument is one."""
    if args and isinstance(args[0], HttpRequest):
        return predictions_of(args[0])[name]
    return get_model(name)


def _decorate_function(function: Function, asks: _Asks) -> Function:
    if iscoroutinefunction(function):

        @functools.wraps(function)
        async def apredict(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, prediction=await asks.later(args, kwargs), **kwargs)

        return _marked(apredict, _GIVES)

    @functools.wraps(function)
    def predict(*args: Any, **kwargs: Any) -> Any:
        return function(*args, prediction=asks.now(args, kwargs), **kwargs)

    return _marked(predict, _GIVES)


def _marked(function: Function, name: str, value: Any = True) -> Function:  # noqa: FBT002  the mark itself
    # What wraps the function takes its marks over, as `functools.wraps` does.
    function.__dict__[name] = value
    return function


def _require_single(target: Any, *already: Any) -> None:
    """See that none of what stands for *target* gives a prediction already.

    Raises:
        DeclarationError: If one does.
    """
    if any(getattr(each, _GIVES, False) for each in already):
        raise DeclarationError(
            f"@predicts on '{getattr(target, '__name__', 'a view')}': it gets a prediction from another "
            "@predicts already; keep one, and ask request.predictions[...] for the other"
        )


def _decorate_record(function: Function, asks: _Asks) -> Function:
    """Return what gives the prediction on the record that *function* returns."""
    if iscoroutinefunction(function):

        @functools.wraps(function)
        async def apredict(*args: Any, **kwargs: Any) -> Any:
            return await asks.later(args, kwargs, await function(*args, **kwargs))

        return apredict

    @functools.wraps(function)
    def predict(*args: Any, **kwargs: Any) -> Any:
        return asks.now(args, kwargs, function(*args, **kwargs))

    return predict


def _decorate_class(view: type[View], asks: _Asks) -> type[View]:
    """Give each handler of *view* the prediction, those it inherits too; `options` asks nothing."""
    handlers = {
        verb: _bare(handler)
        for verb in view.http_method_names
        if verb != "options" and (handler := getattr(view, verb, None)) is not None
    }
    twice = view if _GIVES in vars(view) else None
    _require_single(view, twice, view.dispatch, *handlers.values())
    for verb, handler in handlers.items():
        decorated = _decorate_method(handler, asks)
        setattr(view, verb, _marked(decorated, _HANDLER, (decorated, handler)))
    setattr(view, _GIVES, True)
    return view


def _bare(handler: Function) -> Function:
    """Return *handler* as it was before a base class was decorated; with whatever stands around it."""
    decorated, bare = getattr(handler, _HANDLER, (None, handler))
    return bare if handler is decorated else handler


def _decorate_method(handler: Function, asks: _Asks) -> Function:
    """Return *handler* with the prediction, unless a subclass's hands its own on by `super()`."""
    if iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def apredict(self: View, *args: Any, **kwargs: Any) -> Any:
            if _is_handed_on(kwargs):
                return await handler(self, *args, **kwargs)
            made = await asks.later(args, kwargs)
            return await handler(self, *args, prediction=made, **kwargs)

        return apredict

    @functools.wraps(handler)
    def predict(self: View, *args: Any, **kwargs: Any) -> Any:
        if _is_handed_on(kwargs):
            return handler(self, *args, **kwargs)
        return handler(self, *args, prediction=asks.now(args, kwargs), **kwargs)

    return predict


def _is_handed_on(kwargs: Kwargs) -> bool:
    """Tell whether a subclass gives its prediction; what a URL holds is none."""
    given = kwargs.get("prediction")
    return isinstance(given, Prediction) or (given is None and "prediction" in kwargs)


async def _finished(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
