"""The models behind the endpoints: found by name, and loaded when they are first needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from mlembed.endpoints.problems import Problem, unknown_model
from mlembed.endpoints.steps import Work
from mlembed.serving.fallback import Raise

if TYPE_CHECKING:
    from collections.abc import Generator

    from mlembed.endpoints.steps import Step
    from mlembed.serving.loading import Served
    from mlembed.serving.model import Model


class Lookup(Mapping[str, "Model"]):
    """The models of a host that makes them itself, each when it is asked for.

        Endpoints(Lookup(lambda: site().declaration.models, get_model))

    Args:
        names: Returns the names there are, at each request.
        find: Returns the model of one of them.
    """

    def __init__(self, names: Callable[[], Iterable[str]], find: Callable[[str], Model]) -> None:
        self._names = names
        self._find = find

    def __getitem__(self, name: str) -> Model:
        if name not in self._names():
            raise KeyError(name)
        return self._find(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return sum(1 for _ in self._names())


def find(models: Mapping[str, Model], name: str) -> Model:
    """Return the model *name*.

    Raises:
        Problem: Of the kind `unknown-model`, with the names there are.
    """
    try:
        return models[name]
    except KeyError:
        raise unknown_model(sorted(models)) from None


def in_service(model: Model) -> Generator[Step, None, Served | None]:
    """Return the version in service, loading the first one; None where a test answers in its place.

    Raises:
        MlembedError: If there is none and none can be loaded.
    """
    served = model.in_service
    if served is None:
        served = yield Work(lambda: _load(model))
    return served


def served_or_fallback(model: Model) -> Generator[Step, None, Served | None]:
    """Return the version in service as `in_service`; None also where the fallback answers."""
    try:
        return (yield from in_service(model))
    except Exception:
        if isinstance(model.fallback, Raise):
            raise
        return None


def require_version(model: Model, served: Served | None, version: str | None) -> None:
    """Refuse to answer for another version than is in service.

    Raises:
        Problem: Of the kind `unknown-version`, with the version there is.
    """
    there = model.version if served is None else served.version
    if version is not None and version != there:
        raise Problem("unknown-version", f"In service is the version {there}")


def _load(model: Model) -> Served | None:
    _ = model.version
    return model.in_service
