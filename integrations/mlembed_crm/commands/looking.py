"""The commands that look at an outbox, and put things right in it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError
from mlembed_crm.commands.saying import say, table
from mlembed_crm.lines import HEAD, line_of

if TYPE_CHECKING:
    import argparse

    from mlembed_crm.action import State
    from mlembed_crm.declared import Declared

_SHOWN: tuple[State, ...] = ("pending", "sent", "dead", "superseded", "held")


def show_all(declared: Declared, options: argparse.Namespace) -> int:
    """List actions, the oldest first."""
    outbox = declared.outbox
    actions = outbox.list(options.state, options.limit + 1, options.destination)
    if not options.json and actions:
        say(options, {}, HEAD)
    for action in actions[: options.limit]:
        say(options, dataclasses.asdict(action), line_of(action))
    if len(actions) > options.limit and not options.json:
        say(options, {}, f"and more; --limit {options.limit * 10} shows them")
    return 0


def show(declared: Declared, options: argparse.Namespace) -> int:
    """Show one action, what is sent, and each attempt."""
    outbox = declared.outbox
    action = outbox.get(options.id)
    attempts = outbox.attempts(action.id)
    event = json.dumps(json.loads(action.event()), indent=2, ensure_ascii=False)
    lines = [HEAD, line_of(action), event]
    lines += [
        f"{moment(one['started'])}  {one['result']:6}  {one['status'] or '-':>3}  "
        f"{one['seconds']:.2f} s  {one['detail']}".rstrip()
        for one in attempts
    ]
    say(options, {**dataclasses.asdict(action), "history": attempts}, "\n".join(lines))
    return 0


def status(declared: Declared, options: argparse.Namespace) -> int:
    """Show how many actions are in each state, by destination, and which one is left alone."""
    outbox = declared.outbox
    pauses = outbox.pauses()
    rows = []
    for name, counts in outbox.counts_by_destination().items():
        until, why = pauses.get(name, (0.0, ""))
        paused = f"paused until {moment(until)}: {why}" if until else ""
        if options.json:
            pause = {"paused_until": until or None, "why": why}
            say(
                options,
                {"destination": name, **{str(k): n for k, n in counts.items()}, **pause},
                "",
            )
        rows.append([name, *(str(counts[state]) for state in _SHOWN), paused])
    if not options.json:
        head = ("destination", *_SHOWN, "")
        say(options, {}, table(head, rows) if rows else "the outbox is empty")
    return 0


def redeliver(declared: Declared, options: argparse.Namespace) -> int:
    """Queue actions again: those that are named, or all that were given up."""
    outbox = declared.outbox
    ids = list(options.id)
    if options.dead:
        ids += [one.id for one in outbox.list("dead", None, options.destination)]
    elif not ids:
        raise SettingsError("name the ids of actions, or --dead for all that were given up")
    for action_id in ids:
        outbox.redeliver(action_id)
        say(options, {"id": action_id, "state": "pending"}, f"{action_id}  pending")
    return 0


def resume(declared: Declared, options: argparse.Namespace) -> int:
    """End the pauses of destinations."""
    outbox = declared.outbox
    paused = outbox.pauses()
    for name in options.name:
        if name not in paused:
            there = ", ".join(paused) or "none"
            raise SettingsError(f"'{name}' is not paused; paused are: {there}")
    for name in options.name or paused:
        outbox.resume(name)
        say(options, {"destination": name, "paused_until": None}, f"{name}  goes on")
    if not paused and not options.json:
        say(options, {}, "no destination is paused")
    return 0


def moment(seconds: float) -> str:
    """Return a Unix time for people, in UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(" ", "seconds")
