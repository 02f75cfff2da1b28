"""What hosts use in their own tests: no registry, no network, no files."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from mlembed.errors import NotFoundError
from mlembed.registry.pointer import DEFAULT_ALIAS, Ref, Target
from mlembed.serving import hooks
from mlembed.serving.handle import override
from mlembed.telemetry.events import unknown_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.bundle.bundle import Bundle
    from mlembed.serving.prediction import Prediction, Reason

__all__ = ["InMemoryRegistry", "capture_predictions", "override_model"]


class InMemoryRegistry:
    """A registry of bundles held in memory; hand it to `load(registry=...)`."""

    def __init__(self) -> None:
        self._bundles: dict[str, Bundle] = {}
        self._targets: dict[Ref, Target] = {}

    def publish(self, bundle: Bundle, alias: str = DEFAULT_ALIAS) -> Target:
        """Store *bundle* and point *alias* at it."""
        name, version = bundle.manifest.name, bundle.manifest.version
        target = Target(name, version, bundle.id)
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
        return self._bundles[target.bundle_id]


@contextlib.contextmanager
def override_model(
    name: str,
    *,
    returns: float = 0.0,
    label: bool | None = None,
    raises: Exception | None = None,
) -> Iterator[None]:
    """Make every model called *name* answer *returns*, or fail with *raises*, inside the block.

    Records are not read and nothing is logged as a version: it is `override`. Works as a decorator
    too. A fallback that the host named applies to *raises* as it would to a real failure.
    """
    override(name, _Canned(name, returns, label=label, error=raises))  # type: ignore[arg-type]
    try:
        yield
    finally:
        override(name, None)


@contextlib.contextmanager
def capture_predictions() -> Iterator[list[Prediction]]:
    """Collect every single prediction made inside the block, on any thread."""
    captured: list[Prediction] = []
    unsubscribe = hooks.subscribe(captured.append)
    try:
        yield captured
    finally:
        unsubscribe()


class _Canned:
    """Stands where a loaded version would, and answers without a graph."""

    def __init__(
        self, name: str, score: float, *, label: bool | None, error: Exception | None
    ) -> None:
        self.id = self.version = "override"
        self.source = unknown_source(name)
        self.encoder = self.rows = self.row = self
        self.cells = memoryview(b"")
        self.scores = (score,)
        self._label = label
        self._error = error

    def encode(self, _record: Any, _cells: memoryview) -> None:
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        """Do nothing: the score is given."""

    def decide(self, _score: float) -> tuple[bool | None, Reason]:
        return self._label, "ok"
