"""Look after an outbox from a shell: deliver it, list it, send an action again.

    python -m mlembed_crm deliver --outbox actions.db --url https://example.com/hook
    python -m mlembed_crm list --outbox actions.db --state dead
    python -m mlembed_crm redeliver --outbox actions.db ID

The secret is read from MLEMBED_WEBHOOK_SECRET, never from the command line, which others can see;
several are separated by spaces. Exits 0, 1 if an action was given up, 2 if it could not run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlembed.errors import MlembedError, SettingsError
from mlembed_crm.delivery import Delivery
from mlembed_crm.destinations.webhook import Webhook
from mlembed_crm.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Sequence

SECRET_VARIABLE = "MLEMBED_WEBHOOK_SECRET"  # noqa: S105  the name of the variable

_LOOK_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if not Path(options.outbox).is_file():
            raise SettingsError(f"there is no outbox at {options.outbox}; give --outbox its path")
        status: int = options.run(Outbox(options.outbox), options)
    except MlembedError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return status


def deliver(outbox: Outbox, options: argparse.Namespace) -> int:
    """Deliver until SIGTERM or SIGINT, or once; return 1 if a single run gave an action up."""
    secrets = os.environ.get(SECRET_VARIABLE, "").split()
    if not secrets:
        raise SettingsError(f"set {SECRET_VARIABLE} to the receiver's secret, 'whsec_...'")
    webhook = Webhook(options.url, secrets, allow_private=options.allow_private)
    names = options.destination or outbox.destinations()
    if not options.destination and len(names) != 1:
        waiting = ", ".join(names) or "nothing"
        raise SettingsError(f"name whose actions go there with --destination; waiting: {waiting}")
    delivery = Delivery(outbox, dict.fromkeys(names, webhook))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if not options.once:
        _run_until_signalled(delivery)
        return 0
    done = delivery.run_once()
    line = f"{done.sent} sent, {done.failed} to be tried again, {done.dead} given up"
    _write(options, dataclasses.asdict(done), line)
    return 1 if done.dead else 0


def show(outbox: Outbox, options: argparse.Namespace) -> int:
    """List actions, the oldest first."""
    for action in outbox.list(options.state, options.limit):
        line = (
            f"{action.id}  {action.state:7}  {action.attempts:3}  {action.time}  "
            f"{action.rule} -> {action.destination}  {action.last_error}"
        )
        _write(options, dataclasses.asdict(action), line.rstrip())
    return 0


def redeliver(outbox: Outbox, options: argparse.Namespace) -> int:
    """Queue actions again."""
    for action_id in options.id:
        outbox.redeliver(action_id)
        _write(options, {"id": action_id, "state": "pending"}, f"{action_id}  pending")
    return 0


def _run_until_signalled(delivery: Delivery) -> None:
    # A handler that sets an Event can deadlock with the wait it interrupts; a list cannot.
    signalled: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: signalled.append(received))
    delivery.start()
    while not signalled:
        time.sleep(_LOOK_SECONDS)
    delivery.close()


def _write(options: argparse.Namespace, value: dict[str, Any], line: str) -> None:
    sys.stdout.write((json.dumps(value) if options.json else line) + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--outbox", required=True, metavar="PATH", help="the SQLite file")
    shared.add_argument("--json", action="store_true", help="one JSON object a line")
    parser = argparse.ArgumentParser(prog="mlembed_crm", description="Look after an outbox.")
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("deliver", parents=[shared], help="send what waits")
    command.add_argument("--url", required=True, help="where to post")
    command.add_argument(
        "--destination", action="append", metavar="NAME", help="whose actions; may be repeated"
    )
    command.add_argument("--allow-private", action="store_true", help="a receiver of your own")
    command.add_argument("--once", action="store_true", help="send what is due and exit")
    command.set_defaults(run=deliver)

    command = commands.add_parser("list", parents=[shared], help="show actions")
    command.add_argument("--state", choices=("pending", "sent", "dead"))
    command.add_argument("--limit", type=int, default=100, help="most to show")
    command.set_defaults(run=show)

    command = commands.add_parser("redeliver", parents=[shared], help="send actions again")
    command.add_argument("id", nargs="+", metavar="ID")
    command.set_defaults(run=redeliver)
    return parser


if __name__ == "__main__":
    sys.exit(main())
