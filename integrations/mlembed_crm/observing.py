"""Tell the host's OpenTelemetry of each delivery: a span a call, a count an action.

A span is linked to those in which its actions were predicted. No provider is ever set here, and
OpenTelemetry is not even imported unless the host has.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from mlembed import __version__
from mlembed_crm.errors import DeliveryError
from mlembed_crm.trace import link_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.destinations import Destination, Receipt
    from mlembed_crm.outboxes import Attempt

SCOPE = "mlembed.actions"
ACTIONS = "mlembed.actions.delivered"
CALLS = "mlembed.actions.call.duration"

_MOST_LINKS = 128  # what the SDK keeps of one span


class Observer:
    """Tells of the deliveries to one destination.

    Args:
        name: As rules call it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tracer: Any = None
        self._actions: Any = None
        self._calls: Any = None

    def watching(self, destination: Destination) -> Destination:
        """Return *destination*, with a span for each of its calls."""
        return _Watched(self, destination)

    def span(self, actions: Sequence[Action]) -> contextlib.AbstractContextManager[Any]:
        """Return a span for a call with *actions*, to be entered; one of no effect without a host's."""
        if not self._found():
            return contextlib.nullcontext()
        from opentelemetry.trace import SpanKind

        links = [link_to(action.trace) for action in actions if action.trace]
        span: contextlib.AbstractContextManager[Any] = self._tracer.start_as_current_span(
            f"deliver {self._name}",
            kind=SpanKind.CLIENT,
            links=[link for link in links if link is not None][:_MOST_LINKS],
            attributes={"mlembed.destination": self._name, "mlembed.actions.count": len(actions)},
            # A bug's message may hold anything; what a destination says is put into the status.
            record_exception=False,
            set_status_on_exception=False,
        )
        return span

    def settled(self, attempts: Sequence[Attempt]) -> None:
        """Count what became of actions, and how long their calls took."""
        if not self._found():
            return
        for attempt in attempts:
            action = attempt.action
            named = {"mlembed.destination": self._name, "mlembed.rule": action.rule}
            self._actions.add(1, {**named, "mlembed.result": attempt.result})
        calls = {(attempt.started, attempt.seconds) for attempt in attempts if attempt.tried}
        for _, seconds in calls:
            self._calls.record(seconds, {"mlembed.destination": self._name})

    def _found(self) -> bool:
        if self._tracer is None and "opentelemetry" in sys.modules:
            from opentelemetry import metrics, trace

            meter = metrics.get_meter(SCOPE, __version__)
            self._actions = meter.create_counter(
                ACTIONS, "{action}", "Actions by what a delivery made of them."
            )
            self._calls = meter.create_histogram(
                CALLS, "s", "Time that a destination took to answer."
            )
            self._tracer = trace.get_tracer(SCOPE, __version__)
        return self._tracer is not None


class _Watched:
    """A destination whose calls are seen."""

    def __init__(self, observer: Observer, destination: Destination) -> None:
        self._observer = observer
        self._destination = destination
        self.name = destination.name
        self.limits = destination.limits

    def send(self, actions: Sequence[Action], /) -> Sequence[Receipt | DeliveryError]:
        with self._observer.span(actions) as span:
            try:
                answers = list(self._destination.send(actions))
            except DeliveryError as error:
                _tell(span, [error] * len(actions))
                raise
            _tell(span, [answer for answer in answers if isinstance(answer, DeliveryError)])
            return answers


def _tell(span: Any, errors: Sequence[DeliveryError]) -> None:
    if span is None:
        return
    span.set_attribute("mlembed.actions.not_taken", len(errors))
    if errors:
        from opentelemetry.trace import Status, StatusCode

        span.set_status(Status(StatusCode.ERROR, errors[0].reason))
