"""The commands that judge rules: against their destinations, the log, and what came of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError
from mlembed.settings import default_settings
from mlembed_crm.checking import check as findings_of
from mlembed_crm.commands.saying import say, table
from mlembed_crm.effect import effects, wording
from mlembed_crm.effect.outcomes import lookup
from mlembed_crm.lines import line_of
from mlembed_crm.replaying import logged, outcomes_of, predictions_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mlembed_crm.declared import Declared
    from mlembed_crm.rules import Rule


def check(declared: Declared, options: argparse.Namespace) -> int:
    """Say what is wrong with the rules; return 1 if an action would not be taken."""
    rules, destinations = declared.actions.rules, declared.delivery.destinations
    found = list(findings_of(rules, destinations))
    for finding in found:
        say(options, dataclasses.asdict(finding), str(finding))
    n_errors = sum(finding.level == "error" for finding in found)
    if not options.json:
        counts = (len(rules), "rule"), (n_errors, "error"), (len(found) - n_errors, "warning")
        said = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in counts]
        say(options, {}, f"{said[0]} checked: {said[1]}, {said[2]}")
        for name in sorted({rule.destination for rule in rules}):
            if name in destinations and not hasattr(destinations[name], "describe"):
                say(options, {}, f"'{name}' has no fields that could be looked at")
    return 1 if n_errors else 0


def preview(declared: Declared, options: argparse.Namespace) -> int:
    """Show what the rules would have done about the logged predictions; write nothing."""
    actions = declared.actions
    n_predictions, counts = 0, {rule.name: [0, 0] for rule in actions.rules}
    shown = 0
    for log in logged(_log_dir(options), (rule.model for rule in actions.rules), _since(options)):
        n_predictions += len(log)
        for action in actions.preview(predictions_of(log), afresh=True):
            counts[action.rule][action.state == "held"] += 1
            shown += 1
            if options.json or shown <= options.limit:
                would = "hold back" if action.state == "held" else "send"
                line = line_of(action).replace(action.state.ljust(10), would.ljust(10), 1)
                say(options, {**dataclasses.asdict(action), "would": would}, line)
    if not options.json:
        if shown > options.limit:
            say(options, {}, f"and {shown - options.limit:,} more; --limit shows them")
        rows = [[name, f"{sent:,}", f"{held:,}"] for name, (sent, held) in counts.items()]
        say(options, {}, table(("rule", "would be sent", "held back"), rows))
        say(options, {}, f"{n_predictions:,} predictions, as if no rule had acted before them")
        _tell_unseen(actions.rules, options)
    return 0


def _tell_unseen(rules: Sequence[Rule], options: argparse.Namespace) -> None:
    """Say of which rules the log cannot tell all."""
    for rule in rules:
        if rule.when.kind == "label":
            told = "the log holds labels of models with several classes alone"
            say(options, {}, f"note: rule '{rule.name}' is about labels, and {told}")
        elif rule.when.kind == "top":
            say(options, {}, f"note: rule '{rule.name}' took the whole time as one run")


def report(declared: Declared, options: argparse.Namespace) -> int:
    """Say what each rule brought, with an interval, against its control group."""
    since = _since(options)
    after = 0.0 if since is None else since.timestamp()
    every = [action for action in declared.outbox.list(limit=None) if action.created >= after]
    for name in options.rule or ():
        if name not in {action.rule for action in every}:
            raise SettingsError(f"no action of a rule '{name}' is in the outbox")
    actions = [one for one in every if not options.rule or one.rule in options.rule]
    logs = logged(_log_dir(options), {action.model for action in actions}, since)
    found = effects(actions, lookup(outcomes_of(logs, options.positive)))
    if options.json:
        for effect in found:
            say(options, effect.to_json(), "")
    else:
        rows = [row for effect in found for row in wording.rows(effect)]
        say(options, {}, table(wording.HEAD, rows) if rows else "no actions yet")
        for effect in found:
            say(options, {}, f"{effect.rule}: {wording.sentence(effect)}")
    if options.html:
        from mlembed_crm.effect.page import write

        write(found, since, Path(options.html))
        sys.stderr.write(f"the page is in {options.html}\n")
    return 0


def _log_dir(options: argparse.Namespace) -> Path:
    return Path(options.log_dir) if options.log_dir else default_settings().log_dir


def _since(options: argparse.Namespace) -> dt.datetime | None:
    if not options.since:
        return None
    return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=options.since)
