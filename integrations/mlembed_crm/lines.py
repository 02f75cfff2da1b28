"""An action as a line for people, on a terminal that nothing in it can steer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlembed_crm.action import Action

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


def printable(text: str) -> str:
    """Return *text* with the characters that steer a terminal, or turn its text, as escapes."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)
