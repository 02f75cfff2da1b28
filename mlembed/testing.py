"""What hosts use in their own tests: no registry, no network, no files."""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from mlembed.errors import ConflictError, IntegrityError, NotFoundError
from mlembed.registry.pointer import DEFAULT_ALIAS, Ref, Target
from mlembed.serving import hooks
from mlembed.serving.arrays import count_records
from mlembed.serving.handle import override
from mlembed.serving.loading import Scored
from mlembed.telemetry.block import CLOSED
from mlembed.telemetry.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlembed.bundle.bundle import Bundle
    from mlembed.serving.prediction import Prediction

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["InMemoryRegistry", "capture_predictions", "override_model"]


class InMemoryRegistry:
    """A registry of bundles held in memory; hand it to `load(registry=...)`."""

    def __init__(self) -> None:
        self._bundles: dict[str, Bundle] = {}
        self._targets: dict[Ref, Target] = {}

    def publish(self, bundle: Bundle, alias: str = DEFAULT_ALIAS) -> Target:
        """Store *bundle* and point *alias* at it.

        Raises:
            ConflictError: If the version exists with other contents.
        """
        name, version = bundle.manifest.name, bundle.manifest.version
        target = Target(name, version, bundle.id)
        if self._targets.get(Ref(name, version), target) != target:
            raise ConflictError(f"{name}@{version} is published already with other contents")
        self._bundles[bundle.id] = bundle
        self._targets[Ref(name, version)] = self._targets[Ref(name, alias)] = target
        return target

    def resolve(self, ref: Ref) -> Target:
        """Return what *ref* points at now."""
        if ref not in self._targets:
            known = ", ".join(map(str, self._targets)) or "nothing"
            raise NotFoundError(f"the in-memory registry has no {ref}; it has {known}")
        return self._targets[ref]

    def fetch(self, target: Target) -> Bundle:
        """Return the bundle of *target*."""
        if target.bundle_id not in self._bundles:
            raise IntegrityError(f"{target.name}@{target.version} is not in the in-memory registry")
        return self._bundles[target.bundle_id]


class override_model:  # noqa: N801  used like the function it reads as
    """Make every model called *name* answer *returns*, or fail with *raises*, inside the block.

    Records are not read and nothing is logged as a version: it is `override`. Works as a decorator
    too, of plain and coroutine functions; the innermost override answers. A fallback that the host
    named applies to *raises* as it would to a real failure.

    Args:
        name: Name of the model.
        returns: The score.
        label: The label, a class's name where there are several; None by default.
        raises: What fails, instead of an answer.
    """

    def __init__(
        self,
        name: str,
        *,
        returns: float = 0.0,
        label: bool | str | None = None,
        raises: Exception | None = None,
    ) -> None:
        self._name = name
        self._canned = functools.partial(Canned, name, returns, label=label, error=raises)
        self._ends: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        """Begin to answer."""
        canned: Any = self._canned()
        self._ends.append(override(self._name, canned))

    def __exit__(self, *_: object) -> None:
        """Let the model behind answer again."""
        self._ends.pop()()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return *function* with the override around each call."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return awaited  # type: ignore[return-value]  # a coroutine function, as it was

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return called


@contextlib.contextmanager
def capture_predictions() -> Iterator[list[Prediction]]:
    """Collect every single prediction made inside the block, on any thread."""
    captured: list[Prediction] = []
    unsubscribe = hooks.subscribe(captured.append)
    try:
        yield captured
    finally:
        unsubscribe()


class Canned:
    """Stands where a loaded version would, and answers without a graph.

    Args:
        name: Name of the model.
        score: What it answers.
        label: The label.
        error: What fails, instead of an answer.
    """

    answers_itself = False

    def __init__(
        self, name: str, score: float, *, label: bool | str | None, error: Exception | None
    ) -> None:
        self.id = self.version = "override"
        self.source = Source(
            *(name, self.version, "", ()), log_features=False, decide=lambda _: (label, "ok")
        )
        self.rows = types.SimpleNamespace(free=[])
        self.band = None
        self.run_seconds = 0.0
        self.encode_dict = self.encode
        self.cells = bytearray()
        self.block = CLOSED
        self.scores = (float(score),)
        self.decide = self.source.decide
        self._error = error

    def new_row(self) -> Canned:
        return self

    def encode(self, _record: Any, _cells: bytearray) -> None:
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        """Do nothing: the score is given."""

    def score_columns(self, data: Any) -> Scored:
        if self._error is not None:
            raise self._error
        return Scored(np.full(count_records(data), self.scores[0]), None, {})
