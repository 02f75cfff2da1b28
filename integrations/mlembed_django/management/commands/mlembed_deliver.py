"""`manage.py mlembed_deliver`: send what waits in the outbox, until it is told to stop.

SIGTERM and Ctrl-C end it after the attempt in hand; a second one ends it at once, and what was in
hand is sent again, under the same id, when its lease is over. Any number may run at once. `--list`, `--dry-run` and
`--again` send nothing.

Exit status: 0; with `--once`, 1 if an action was given up, or waits for a destination that is left
alone; 1 where it cannot run at all.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import close_old_connections

from mlembed.errors import MlembedError
from mlembed.telemetry.notices import tell
from mlembed_crm.delivery import Delivered
from mlembed_crm.lines import line_of, shown, waiting
from mlembed_django.conf import Site
from mlembed_django.declaration import nearest
from mlembed_django.management.asked import SiteCommand, require_tables, the_site
from mlembed_django.queued import STATES, listed_actions
from mlembed_django.times import date_of_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from django.core.management.base import CommandParser

    from mlembed_crm.action import Action
    from mlembed_crm.delivery import Delivery

_LOOK_SECONDS = 0.1
_POLL_SECONDS = 1.0


class Command(SiteCommand):
    """Deliver, or show what would be delivered."""

    help = (
        "Send the actions that wait in the outbox to their destinations, until SIGTERM or Ctrl-C, "
        "which end it after the attempt in hand."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to send, how long, and how to tell of it."""
        parser.add_argument("--once", action="store_true", help="send what is due and exit")
        parser.add_argument(
            "--destination", action="append", metavar="NAME", help="only theirs; may be repeated"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="print the events that are due, and send nothing"
        )
        parser.add_argument(
            "--list",
            choices=STATES,
            metavar="STATE",
            help=f"list those that are {', '.join(STATES)}",
        )
        parser.add_argument(
            "--again", action="append", metavar="ID", help="queue an action again; may be repeated"
        )
        parser.add_argument("--limit", type=int, default=100, help="most to list")
        parser.add_argument("--json", action="store_true", help="print one JSON object a line")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Deliver, or show.

        Raises:
            CommandError: If the site or its tables are not as they must be, or `--once` gave up an
                action.
        """
        self._json = options["json"]
        if options["limit"] < 1:
            raise CommandError("--limit is a number of actions, 1 or more")
        site = the_site()
        require_tables(site.declaration.outbox.using)
        names = _names(site, options["destination"])
        using = site.declaration.outbox.using
        if options["again"]:
            self._queue_again(using, options["again"])
        elif options["list"]:
            chosen = options["destination"] and names
            self._show(listed_actions(using, options["list"], chosen, options["limit"]))
        elif options["dry_run"]:
            from mlembed_django.outbox import DjangoOutbox

            self._show_events(DjangoOutbox(using).due(names))
        elif options["once"]:
            self._once(_delivery(site, names))
        else:
            self._forever(_delivery(site, names), names)

    def _once(self, delivery: Delivery) -> None:
        with _Stop() as stop:
            done = delivery.run_once(stop)
        self._tell(done)
        if done.dead:
            raise CommandError(
                f"{done.dead} actions are given up; manage.py mlembed_deliver --list dead"
            )
        self._require_going_on(delivery)

    def _require_going_on(self, delivery: Delivery) -> None:
        """Say for whom actions wait that is left alone, so that whoever runs it by the clock hears."""
        told = waiting(delivery, _clock_time, "manage.py mlembed_actions resume {name}")
        if told:
            raise CommandError("\n".join(told))

    def _forever(self, delivery: Delivery, names: list[str]) -> None:
        if not self._json:
            self.stdout.write(f"delivering to {', '.join(names)}; Ctrl-C ends it")
            self.stdout.flush()
        problem = ""
        with _Stop() as stop:
            while not stop.is_set():
                try:
                    done = delivery.run_once(stop)
                    problem = ""
                    if done != Delivered():
                        self._tell(done)
                except Exception as error:  # noqa: BLE001  it must outlive a restart of the database
                    if problem != str(error):
                        problem = str(error)
                        tell(logging.ERROR, "delivery failed; it goes on", traceback=True)
                close_old_connections()
                stop.wait(_POLL_SECONDS)

    def _queue_again(self, using: str, ids: list[str]) -> None:
        from mlembed_django.outbox import DjangoOutbox

        outbox = DjangoOutbox(using)
        for action_id in ids:
            try:
                outbox.redeliver(action_id)
            except (MlembedError, ValueError) as error:
                raise CommandError(str(error)) from error
            whole = json.dumps({"id": action_id, "state": "pending"})
            self.stdout.write(whole if self._json else f"{action_id}  pending")

    def _tell(self, done: Delivered) -> None:
        self.stdout.write(json.dumps(dataclasses.asdict(done)) if self._json else str(done))
        self.stdout.flush()

    def _show(self, actions: Iterable[Action]) -> None:
        for action in actions:
            whole = json.dumps(dataclasses.asdict(action), allow_nan=False)
            self.stdout.write(whole if self._json else line_of(action))

    def _show_events(self, actions: Iterable[Action]) -> None:
        for action in actions:
            whole, text = shown(action)
            self.stdout.write(json.dumps(whole) if self._json else text)


class _Stop(threading.Event):
    """Set by SIGTERM and SIGINT; nobody waits for a lock, so a handler may set it at any time."""

    def __init__(self) -> None:
        super().__init__()
        self._signals: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Listen, where this is the thread that hears signals."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave signals to whom they were left before."""
        for number, before in self._before.items():
            signal.signal(number, before)

    def is_set(self) -> bool:
        return bool(self._signals)

    def wait(self, timeout: float | None = None) -> bool:
        until = time.monotonic() + (timeout or 0.0)
        while not self.is_set() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        return self.is_set()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)


def _clock_time(seconds: float) -> str:
    return f"{date_of_seconds(seconds):%H:%M:%S %Z}"


def _names(site: Site, wanted: list[str] | None) -> list[str]:
    known = site.declaration.destinations
    if not known:
        raise CommandError("MLEMBED['DESTINATIONS'] declares none; there is nothing to deliver to")
    for name in wanted or ():
        if name not in known:
            raise CommandError(
                f"MLEMBED['DESTINATIONS'] declares no '{name}'. {nearest(name, known)}"
            )
    return list(dict.fromkeys(wanted or known))


def _delivery(site: Site, names: list[str]) -> Delivery:
    from mlembed_django.delivering import delivery_of

    places = {name: site.declaration.destinations[name] for name in names}
    try:
        return delivery_of(Site(dataclasses.replace(site.declaration, destinations=places)))
    except (MlembedError, ImproperlyConfigured) as error:
        raise CommandError(str(error)) from error
