"""`mlembed monitor`: judge a model in service from its log."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlembed.cli.inspect import find_bundle
from mlembed.cli.options import JsonOption, LogOption, RegistryOption, log_dir_of
from mlembed.cli.output import say, show_json, show_table
from mlembed.errors import SettingsError

if TYPE_CHECKING:
    from mlembed.monitoring.calls import CallsReport
    from mlembed.monitoring.monitor import Report


def monitor(
    ref: Annotated[str, typer.Argument(help="name, name@alias or name@version.")],
    registry: RegistryOption = "",
    log_dir: LogOption = None,
    since: Annotated[str, typer.Option(help="Oldest prediction, ISO 8601 with a zone.")] = "",
    until: Annotated[str, typer.Option(help="Newest prediction, ISO 8601 with a zone.")] = "",
    html: Annotated[Path | None, typer.Option(help="Write the report as one page.")] = None,
    min_rows: Annotated[int, typer.Option(help="Fewest predictions to judge.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Compare what a model sees and does with what it was trained and measured on.

    Exits 0 (ok, or too few predictions to tell), 1 (alert) or 2 (could not run).
    """
    from mlembed.monitoring.log import read_log
    from mlembed.monitoring.monitor import monitor as judge
    from mlembed.monitoring.policy import Policy

    bundle = find_bundle(ref, registry)
    log = read_log(
        log_dir_of(log_dir), bundle.manifest.name, since=_time(since), until=_time(until)
    )
    policy = Policy(min_rows=min_rows)
    if bundle.manifest.inputs:
        from mlembed.monitoring.calls import judge_calls

        if html is not None:
            raise SettingsError(
                f"{bundle.manifest.title} takes tensors, of which there is no page; leave --html out"
            )
        report: Report | CallsReport = judge_calls(bundle, log, policy=policy)
    else:
        report = judge(bundle, log, policy=policy)
        if html is not None:
            from mlembed.monitoring.report import write_html

            write_html(report, html)
    if as_json:
        show_json(report.to_json())
    else:
        _show(report)
        if html is not None:
            say(f"report: {html}")
    raise typer.Exit(report.exit_code)


def _time(text: str) -> dt.datetime | None:
    if not text:
        return None
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError("--since and --until take ISO 8601, 2026-11-23T00:00:00Z") from error
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _show(report: Report | CallsReport) -> None:
    head, *rows = report.rows()
    show_table(head, rows)
    say("")
    for sentence in report.summary():
        say(sentence)
