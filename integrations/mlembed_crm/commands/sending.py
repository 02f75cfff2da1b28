"""The commands that run: deliver what waits, and read outcomes."""

from __future__ import annotations

import dataclasses
import logging
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mlembed.errors import MlembedError, SettingsError
from mlembed_crm.commands.looking import moment
from mlembed_crm.commands.saying import say
from mlembed_crm.delivery import Delivered
from mlembed_crm.lines import shown, waiting

if TYPE_CHECKING:
    import argparse

    from mlembed_crm.declared import Declared
    from mlembed_crm.delivery import Delivery
    from mlembed_crm.outcomes import Outcomes

_LOOK_SECONDS = 0.1
_LOG = logging.getLogger("mlembed")


def deliver(declared: Declared, options: argparse.Namespace) -> int:
    """Deliver until SIGTERM or SIGINT, or once; return 1 if a single run gave an action up."""
    delivery = declared.delivery
    if options.destination:
        delivery.only(options.destination)
    if options.dry_run:
        return _show_due(delivery, options)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if not options.once:
        names = ", ".join(sorted(delivery.destinations))
        say(options, {"delivering": sorted(delivery.destinations)}, f"delivering to {names}")
        delivery.start(options.workers)
        _until_signalled()
        delivery.close()
        say(options, dataclasses.asdict(delivery.total), str(delivery.total))
        return 0
    with ThreadPoolExecutor(options.workers) as pool:
        runs = [pool.submit(delivery.run_once) for _ in range(options.workers)]
        done = sum((run.result() for run in runs), start=Delivered())
    say(options, dataclasses.asdict(done), str(done))
    return 1 if done.dead or _show_paused(delivery, options) else 0


def _show_paused(delivery: Delivery, options: argparse.Namespace) -> bool:
    """Say for which of the destinations actions wait that are left alone; return whether any are."""
    found = waiting(delivery, moment, f"mlembed actions resume {options.where} {{name}}")
    sys.stderr.writelines(f"{line}\n" for line in found)
    return bool(found)


def outcomes(declared: Declared, options: argparse.Namespace) -> int:
    """Report what has changed, once or again and again."""
    readers = declared.outcomes
    if options.once:
        _read(readers, options)
        return 0
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    stop = threading.Event()
    reading = threading.Thread(target=_read_on, args=(readers, options, stop), daemon=True)
    reading.start()
    _until_signalled()
    stop.set()
    reading.join(timeout=60)
    return 0


def _read(readers: list[Outcomes], options: argparse.Namespace) -> None:
    for reader in readers:
        if not reader.can_be_read:
            told = f"{reader.name}: nothing to ask; it is told by Outcomes.take"
            say(options, {"name": reader.name, "outcomes": None, "pages": None}, told)
            continue
        done = reader.run_once()
        odd = f", {done.passed_over} passed over" if done.passed_over else ""
        line = f"{reader.name}: {done.outcomes} outcomes{odd}"
        say(options, {"name": reader.name, **dataclasses.asdict(done)}, line)


def _read_on(readers: list[Outcomes], options: argparse.Namespace, stop: threading.Event) -> None:
    while not stop.is_set():
        for reader in readers:
            if stop.is_set():
                return
            try:
                _read([reader], options)
            except MlembedError as error:
                _LOG.error("outcomes '%s' cannot be read: %s", reader.name, error)
            except Exception:  # noqa: BLE001  one that fails keeps no other from being read
                _LOG.exception("outcomes '%s' cannot be read", reader.name)
        stop.wait(options.every)


def _show_due(delivery: Delivery, options: argparse.Namespace) -> int:
    if not hasattr(delivery.outbox, "due"):
        raise SettingsError("--dry-run: this outbox cannot be looked at")
    for action in delivery.outbox.due(sorted(delivery.destinations)):
        say(options, *shown(action))
    return 0


def _until_signalled() -> None:
    # A handler that sets an Event can deadlock with the wait it interrupts; a list cannot.
    signalled: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: signalled.append(received))
    sys.stdout.flush()
    while not signalled:
        time.sleep(_LOOK_SECONDS)
