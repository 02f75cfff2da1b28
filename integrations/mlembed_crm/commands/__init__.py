"""Look after actions from a shell: check, preview, deliver, list, send again, and tell what they brought.

    mlembed actions check actions.py
    mlembed actions preview actions.py --since 7d
    mlembed actions deliver actions.py
    mlembed actions report actions.py

`actions.py` is a Python file that declares `Actions(...)`, `Delivery(...)` or `Outcomes(...)`; what only
looks at an outbox takes its SQLite file as well. Exits 0, 1 (something was given up or waits for a
destination that is paused, or a check found an error), 2 (it could not run) or 130 (Ctrl-C). Needs no more than the library itself:
`python -m mlembed_crm` is the same.
"""

from __future__ import annotations

import argparse
import functools
import sys
from typing import TYPE_CHECKING, Any

from mlembed.errors import MlembedError
from mlembed_crm.action import STATES
from mlembed_crm.commands import judging, looking, sending
from mlembed_crm.declared import Declared
from mlembed_crm.lines import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COULD_NOT_RUN = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None, program: str = "mlembed actions") -> int:
    """Run one command; return the exit status."""
    options = _parser(program).parse_args(arguments)
    try:
        declared = Declared(options.where)
        for outbox in declared.new_outboxes:
            sys.stderr.write(
                f"note: there was no outbox at {outbox.path}, so an empty one was made; is it the one "
                "that your application fills?\n"
            )
        status: int = options.run(declared, options)
    except MlembedError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return COULD_NOT_RUN
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone: nothing may be flushed
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    return status


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Check, preview, deliver and list actions, and tell what they brought.",
        allow_abbrev=False,
    )
    add_commands(parser.add_subparsers(required=True, metavar="COMMAND"))
    return parser


def add_commands(commands: argparse._SubParsersAction[Any], *, site: bool = False) -> None:
    """Add every command.

    Args:
        commands: Where to.
        site: Whether what they are about is declared by a site, and so named by no file, and is
            delivered by a command of its own.
    """
    add = functools.partial(_add, commands, site=site)
    if not site:
        command = add("deliver", sending.deliver, "send what waits, until SIGTERM or Ctrl-C")
        command.add_argument("--once", action="store_true", help="send what is due and exit")
        command.add_argument("--workers", type=_count, default=1, help="threads that send")
        _named(command)
        command.add_argument(
            "--dry-run", action="store_true", help="print the events that are due; send nothing"
        )

    command = add("outcomes", sending.outcomes, "read what came of predictions, and report it")
    command.add_argument("--once", action="store_true", help="read what has changed and exit")
    command.add_argument(
        "--every", type=_seconds, default=300.0, metavar="SPAN", help="pause between looks; 5m"
    )

    add("check", judging.check, "check each rule's fields against its destination")

    command = add("preview", judging.preview, "what the rules would have done about the log")
    _logged(command, "7d", site=site)
    command.add_argument("--limit", type=_count, default=20, help="most actions to show; 20")

    command = add("report", judging.report, "what actions brought, against their control groups")
    _logged(command, "30d", site=site)
    command.add_argument("--rule", action="append", metavar="NAME", help="only this one")
    command.add_argument(
        "--positive", default="", metavar="CLASS", help="the outcome that counts, of several"
    )
    command.add_argument("--html", metavar="PAGE", help="draw it, too, on one HTML page")

    command = add("list", looking.show_all, "show actions, the oldest first")
    # A site's admin can discard what waits.
    command.add_argument("--state", choices=(*STATES, "discarded") if site else STATES)
    _named(command)
    command.add_argument("--limit", type=_count, default=100, help="most to show; 100")

    command = add("show", looking.show, "show one action with its attempts")
    command.add_argument("id", metavar="ID")

    add("status", looking.status, "how many wait for whom, and who is left alone")

    command = add("redeliver", looking.redeliver, "send actions again, under their ids")
    command.add_argument("id", nargs="*", metavar="ID")
    command.add_argument("--dead", action="store_true", help="all that were given up")
    _named(command)

    command = add("resume", looking.resume, "end the pause of a destination")
    command.add_argument("name", nargs="*", metavar="NAME", help="all by default")


def _add(
    commands: argparse._SubParsersAction[Any],
    name: str,
    run: Callable[[Any, argparse.Namespace], int],
    told: str,
    *,
    site: bool,
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=told, description=told, allow_abbrev=False
    )
    if not site:
        command.add_argument(
            "where", metavar="FILE", help="Python file that declares them, or an outbox"
        )
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.set_defaults(run=run)
    return command


def _named(command: argparse.ArgumentParser) -> None:
    told = "only theirs; may be repeated"
    command.add_argument("--destination", action="append", metavar="NAME", help=told)


def _logged(command: argparse.ArgumentParser, since: str, *, site: bool) -> None:
    if not site:
        command.add_argument(
            "--log-dir", metavar="DIR", help="the prediction log; MLEMBED_LOG_DIR by default"
        )
    command.add_argument(
        "--since",
        type=_seconds,
        default=since,
        metavar="SPAN",
        help=f"how far back, such as 12h or 30d; {since or 'all'} by default",
    )


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of 1 or more")
    return number


def _seconds(text: str) -> float:
    """Read a span such as 30s, 5m, 12h or 7d; 0 for an empty one."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
    if not text:
        return 0.0
    number = text[:-1]
    if text[-1] not in units or not (number.isascii() and number.isdecimal()) or int(number) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no span; expected such as 30s, 5m, 12h, 7d")
    return int(number) * units[text[-1]]
