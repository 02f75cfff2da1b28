"""An action as a line for people, on a terminal that nothing in it can steer."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed_crm.action import Action
    from mlembed_crm.delivery import Delivery

_STEERING = re.compile("[\0-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


HEAD = f"{'id':36}  {'state':10}  tries  {'predicted':19}  score   rule -> destination"


def line_of(action: Action) -> str:
    """Return what is known of *action*, in the columns of `HEAD`."""
    key = "" if action.key is None else f"  key {action.key}"
    error = f"  {action.last_error}" if action.last_error else ""
    return printable(
        f"{action.id}  {action.state:10}  {action.attempts:5}  {action.time[:19]}  "
        f"{action.score:<6.4g}  {action.rule} -> {action.destination}{key}{error}"
    ).rstrip()


def shown(action: Action) -> tuple[dict[str, Any], str]:
    """Return what would be sent, for programs and for people."""
    event = json.loads(action.event())
    text = json.dumps(event, indent=2, ensure_ascii=False)
    lines = f"to {action.destination}: {text}".split("\n")
    whole = {"destination": action.destination, "event": event}
    return whole, "\n".join(map(printable, lines))


def waiting(delivery: Delivery, when: Callable[[float], str], resume: str) -> list[str]:
    """Return a line for each destination that is left alone although actions wait for it.

    Args:
        delivery: To these destinations.
        when: Writes a Unix time.
        resume: The command that sends to a destination at once; `{name}` is its name.
    """
    outbox: Any = delivery.outbox
    names = set(outbox.destinations()) & delivery.destinations.keys()
    return [
        f"'{name}' is left alone until {when(until)}, and actions wait for it: "
        f"{why or 'it asked to wait'}. To go on at once: {resume.replace('{name}', name)}"
        for name, (until, why) in sorted(outbox.pauses().items())
        if name in names
    ]


def printable(text: str) -> str:
    """Return *text* with the characters that steer a terminal, or turn its text, as escapes."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)
