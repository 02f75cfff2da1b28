"""Keep the right version of a model in service while the host runs.

A new version replaces the old one by one assignment, after its bytes were verified and its golden
rows reproduced; whatever fails leaves the last good version serving.
"""

from __future__ import annotations

import atexit
import logging
import math
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from mlembed import forking
from mlembed.errors import BundleError, MlembedError, RegistryError
from mlembed.serving.changes import check_columns
from mlembed.serving.loading import serve
from mlembed.serving.turn import Holder, Turn
from mlembed.telemetry.notices import tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.registry import BundleSource
    from mlembed.registry.follow import Followed
    from mlembed.registry.pointer import Ref, Target
    from mlembed.serving.loading import Served, Serving

    State = Literal["NOT_READY", "READY", "STALE", "ERROR"]

_MAX_DOUBLINGS = 4
_RETRY_SECONDS = 1.0
_AGAIN_SECONDS = 60.0
_EXIT_SECONDS = 5.0

_overrides: list[tuple[str, Served]] = []
# Held for a moment; a signal's handler may predict while its thread holds it.
_switch = threading.RLock()
_handles: weakref.WeakSet[Handle] = weakref.WeakSet()
_inherited: list[Served] = []


class _Refused(NamedTuple):
    """A version that did not prove itself, why, and when it is tried again: it may have been us."""

    target: Target
    error: MlembedError
    retry_at: float

    def still(self, target: Target) -> bool:
        """Tell whether *target* is it, and is not to be tried yet."""
        return target == self.target and time.monotonic() < self.retry_at


class Handle:
    """The live link between a reference and the version that serves it.

    Args:
        ref: What to serve.
        source: The registry.
        serving: How its versions are served, and the pauses and waits.

    Attributes:
        current: What answers: the version in service, or a test's override of it; None until the
            first prediction, and in a fresh fork.
        live: The version in service, whether it is overridden or not.
        names: What it answers for when that is overridden: the model's name, and what `call` added.
        error: What the last look at the registry failed with, or None.
    """

    def __init__(self, ref: Ref, source: BundleSource, serving: Serving) -> None:
        self.ref = ref
        self.names: tuple[str, ...] = (ref.name,)
        self.current: Served | None = None
        self.error: MlembedError | None = None
        self._source = source
        self._followed = cast("Followed", source) if hasattr(source, "last_resorts") else None
        self._serving = serving
        self._settings = serving.settings
        self._turn = Turn()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._not_before = 0.0
        self._refused: _Refused | None = None
        self._problem = ""
        self.live: Served | None = None
        self._inherited: Served | None = None
        self._may_inherit = False
        with _switch:
            _handles.add(self)
            self.answer_with(None)

    @property
    def state(self) -> State:
        """NOT_READY before the first load, READY, STALE (last good serves) or ERROR."""
        if self.current is None:
            return "NOT_READY" if self.error is None else "ERROR"
        return "READY" if self.error is None else "STALE"

    def ready(self) -> Served:
        """Return the version in service, loading the first one if there is none yet.

        Raises:
            RegistryError: If another thread is still loading it after `start_seconds`.
            MlembedError: Whatever keeps the first version from loading.
        """
        mine = Holder()
        if not self._turn.take(mine, self._settings.start_seconds):
            raise RegistryError(
                f"{self.ref} is still loading after {self._settings.start_seconds:g} s; "
                "raise start_seconds or look at the registry"
            )
        try:
            if self._inherited is not None:
                if self._may_inherit:
                    self._inherited.begin_in_child()
                self._serve(self._inherited if self._may_inherit else self._inherited.again())
                self._inherited = None
                self._start_thread()
            if self.current is None:
                if self.error is not None and time.monotonic() < self._not_before:
                    raise self.error.with_traceback(None)
                self._look()
            if self.current is None:
                raise (self.error or RegistryError(f"{self.ref} is closed")).with_traceback(None)
            return self.current
        finally:
            self._turn.give_back(mine)

    def refresh(self) -> bool:
        """Look at the registry now; return whether another version came into service.

        Never raises for a registry or bundle that fails: `state` and `error` tell.
        """
        mine = Holder()
        self._turn.take(mine, math.inf)
        try:
            before = self.live
            self._look()
            return self.live is not before
        finally:
            self._turn.give_back(mine)

    def close(self) -> None:
        """Stop looking for new versions."""
        self._stop.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait at most *timeout_seconds* until a look that has begun is over; call after `close`."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_seconds)

    def _look(self) -> None:
        try:
            target = self._source.resolve(self.ref)
            serving = self.live
            if serving is None or target.bundle_id != serving.id:
                refused = self._refused
                if serving is not None and refused is not None and refused.still(target):
                    self.error = refused.error
                    return
                self._serve(self._bring(target))
                if serving is not None:
                    tell(
                        *(logging.INFO, "%s: %s replaces %s"),
                        *(self.ref, target.version, serving.version),
                    )
            if self._followed is not None:
                self._followed.confirm(self.ref, target)
                self._tell_of(self._followed.problem)
        except MlembedError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  a host must outlive whatever a registry does
            failure = f"{type(error).__name__}: {error}"
            self._fail(RegistryError(f"the look at {self.ref} failed: {failure}"))
        else:
            self.error, self._refused, self._failures = None, None, 0
        if self.live is None:
            self._fall_back()
        self._start_thread()

    def _tell_of(self, problem: str) -> None:
        if problem not in ("", self._problem):
            tell(
                logging.WARNING, "%s: %s; a start without the registry may fail", self.ref, problem
            )
        self._problem = problem

    def _fall_back(self) -> None:
        """Serve what needs no registry."""
        for resort in self._followed.last_resorts(self.ref) if self._followed is not None else ():
            try:
                self._serve(serve(resort.bring(), self._serving))
            except Exception as error:  # noqa: BLE001  as in a look; the next may serve
                why = str(error) if isinstance(error, MlembedError) else type(error).__name__
                tell(logging.WARNING, "%s: %s cannot serve: %s", self.ref, resort.what, why)
            else:
                tell(logging.WARNING, "%s: %s serves", self.ref, resort.what)
                return

    def _bring(self, target: Target) -> Served:
        bundle = self._source.fetch(target)
        try:
            if self.live is not None:
                check_columns(self.live.manifest, bundle.manifest)
            return serve(bundle, self._serving)
        except BundleError as error:
            self._refused = _Refused(
                target,
                error,
                time.monotonic()
                + max(_AGAIN_SECONDS, 2**_MAX_DOUBLINGS * self._settings.poll_seconds),
            )
            raise

    def _serve(self, served: Served) -> None:
        with _switch:
            self.answer_with(served)

    def answer_with(self, served: Served | None) -> None:
        """Put *served* in service, behind an override; call with `_switch` held."""
        self.live = served
        ours = (other for name, other in reversed(_overrides) if name in self.names)
        self.current = next(ours, served)

    def call(self, name: str) -> None:
        """Let overrides of *name* answer, too: a host may call the model otherwise."""
        with _switch:
            self.names = (*self.names, name)
            self.answer_with(self.live)

    def _fail(self, error: MlembedError) -> None:
        if self.error is None or str(self.error) != str(error):
            tell(logging.WARNING, "%s: %s", self.ref, error)
        self.error = error
        self._failures += 1
        self._not_before = time.monotonic() + _RETRY_SECONDS

    def _start_thread(self) -> None:
        # A version never moves, but one that was started without the registry is looked for.
        moves = self.ref.is_alias or (self.live is not None and self.error is not None)
        if self._thread is None and self._settings.poll_seconds > 0 and moves:
            thread = threading.Thread(
                target=_refresh_forever,
                args=(weakref.ref(self), self._stop, self._settings.poll_seconds),
                name=f"mlembed-refresh-{self.ref.name}",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError as error:  # the version in service does not depend on it
                why = "call refresh() to follow promotions"
                tell(logging.WARNING, "%s: no thread can be had (%s); %s", self.ref, error, why)
            else:
                self._thread = thread

    def pause(self) -> float:
        """Return how many poll intervals to wait: one with jitter, more after failures."""
        return 2.0 ** min(self._failures, _MAX_DOUBLINGS) * random.uniform(0.8, 1.2)  # noqa: S311

    def forget_parent(self) -> None:
        """Begin anew in a forked child: no thread, and no session that others were running."""
        served = self.live
        self.answer_with(None)
        self._turn, self._stop = Turn(), threading.Event()
        self._thread = None
        if served is not None:
            # Dropping a session that owned threads before the fork hangs: it is kept for good.
            _inherited.append(served)
            self._inherited, self._may_inherit = served, served.survives_fork()


def _refresh_forever(
    handle: weakref.ref[Handle], stop: threading.Event, poll_seconds: float
) -> None:
    factor = random.uniform(0.8, 1.2)  # noqa: S311  spreads hosts, guards nothing
    while not stop.wait(poll_seconds * factor):
        live = handle()
        if live is None:
            return
        live.refresh()
        factor = live.pause()
        del live


def override(name: str, served: Served) -> Callable[[], None]:
    """Put *served* in front of every handle of the model *name*; return the function that ends it.

    The versions behind go on being refreshed, and answer again at the end.
    """
    mine = (name, served)
    with _switch:
        _overrides.append(mine)
        _answer_again(name)

    def end() -> None:
        with _switch:
            _overrides[:] = [other for other in _overrides if other is not mine]
            _answer_again(name)

    return end


def _answer_again(name: str) -> None:
    for handle in list(_handles):
        if name in handle.names:
            handle.answer_with(handle.live)


def _after_fork() -> None:
    global _switch  # noqa: PLW0603  a lock held by a thread that is gone stays locked
    _switch = threading.RLock()
    for handle in list(_handles):
        handle.forget_parent()


def _close_all() -> None:
    """Let no look run into the end of the interpreter, which aborts a thread in the runtime."""
    handles, deadline = list(_handles), time.monotonic() + _EXIT_SECONDS
    for handle in handles:
        handle.close()
    for handle in handles:
        handle.join(max(0.0, deadline - time.monotonic()))


atexit.register(_close_all)
forking.in_child(_after_fork)
