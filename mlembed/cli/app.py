"""One Typer app of all commands, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

import mlembed
from mlembed.cli import keys, registry
from mlembed.cli.bench import bench
from mlembed.cli.inspect import inspect
from mlembed.cli.interruption import INTERRUPTED, is_interrupted
from mlembed.cli.monitor import monitor
from mlembed.cli.output import say
from mlembed.cli.pack import pack
from mlembed.cli.predict import predict
from mlembed.cli.report import report
from mlembed.cli.retrain import retrain
from mlembed.cli.signing import sign, verify
from mlembed.cli.train import train
from mlembed.errors import MlembedError

app = typer.Typer(
    name="mlembed",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Machine-learning models inside the application you already have.",
)
for _command in (train, pack, inspect, report, predict, bench, monitor, retrain, sign, verify):
    app.command()(_command)
app.add_typer(registry.app, name="registry")
app.add_typer(keys.app, name="keys")

COULD_NOT_RUN = 2


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def actions(context: typer.Context) -> None:
    """Check, preview, deliver and list actions, and tell what they brought."""
    from mlembed_crm.commands import main

    raise typer.Exit(main(context.args))


def _version(*, wanted: bool) -> None:
    if wanted:
        say(mlembed.__version__)
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version.",
            is_eager=True,
            callback=lambda value: _version(wanted=value),
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: Words after the program's name; those of this process by default.
    """
    try:
        app(arguments)
    except SystemExit as stop:
        if isinstance(getattr(stop.__context__, "__cause__", None), KeyboardInterrupt):
            sys.stderr.write("interrupted\n")  # Typer only exits; what was left told so itself
        return stop.code if isinstance(stop.code, int) else 0
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone: nothing may be flushed to it at exit
        return COULD_NOT_RUN
    except Exception as error:  # noqa: BLE001  Python would exit with 1, which means no here
        if is_interrupted(error):
            sys.stderr.write("interrupted\n")
            return INTERRUPTED
        if isinstance(error, MlembedError | OSError):
            sys.stderr.write(f"error: {error}\n")
        else:
            traceback.print_exc()
        return COULD_NOT_RUN
    return 0
