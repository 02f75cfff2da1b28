"""The commands that judge rules: against their destinations, the log, and what came of them."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError
from mlembed.settings import default_settings
from mlembed_crm.checking import check as findings_of
from mlembed_crm.commands.saying import say, table
from mlembed_crm.effect import effects, lookup
from mlembed_crm.lines import line_of
from mlembed_crm.replaying import logged, outcomes_of, predictions_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mlembed_crm.declared import Declared
    from mlembed_crm.effect import Effect
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
    found = effects(actions, lookup(*outcomes_of(logs, options.positive)))
    if options.json:
        for effect in found:
            say(options, effect.to_json(), "")
    else:
        head = ("rule", "group", "actions", "sent", "entities", "outcomes", "outcome", "95 %")
        rows = [row for effect in found for row in _rows(effect)]
        say(options, {}, table(head, rows) if rows else "no actions yet")
        for effect in found:
            say(options, {}, _sentence(effect))
    return 0


def _rows(effect: Effect) -> list[list[str]]:
    return [
        [
            *(effect.rule, name, str(group.n_actions), str(group.n_sent)),
            *(str(group.n_entities), str(group.n_outcomes)),
            *(_number(group.mean, effect), _interval(group.low, group.high, effect)),
        ]
        for name, group in (("treated", effect.treated), ("control", effect.control))
    ]


def _sentence(effect: Effect) -> str:
    """Say in one sentence what the figures mean."""
    named = f"{effect.rule}: "
    if not effect.control.n_entities:
        return named + "nobody is held back yet; a rule with control=0.1 measures its effect"
    if effect.uplift is None:
        of = [
            name
            for name, group in (("treated", effect.treated), ("control group", effect.control))
            if not group.n_outcomes
        ]
        return f"{named}no outcome is known of the {' and the '.join(of)}"
    ends = _interval(effect.low, effect.high, effect)
    points = " points" if effect.kind == "share" else ""
    uplift = f"{_number(effect.uplift, effect, sign=True)}{points} for whom the action was meant"
    if effect.verdict == "insufficient":
        return f"{named}{uplift}; too few outcomes for an interval"
    proven = "not distinguishable from none" if effect.verdict == "open" else effect.verdict
    return f"{named}{uplift}, 95 % interval {ends}: {proven}"


def _number(value: float | None, effect: Effect, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    plus = "+" if sign else ""
    return f"{value:{plus}.1%}" if effect.kind == "share" else f"{value:{plus}.4g}"


def _interval(low: float | None, high: float | None, effect: Effect) -> str:
    if low is None or high is None:
        return "-"
    return f"{_number(low, effect)} to {_number(high, effect)}"


def _log_dir(options: argparse.Namespace) -> Path:
    return Path(options.log_dir) if options.log_dir else default_settings().log_dir


def _since(options: argparse.Namespace) -> dt.datetime | None:
    if not options.since:
        return None
    return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=options.since)
