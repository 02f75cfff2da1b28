"""An action as a row of the SQLite outbox, and the statements that settle and forget it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from mlembed_crm.action import Action, payload_text
from mlembed_crm.memory import memory_id

if TYPE_CHECKING:
    import sqlite3

    from mlembed_crm.memory import Memory
    from mlembed_crm.outboxes import Attempt

_COLUMNS = tuple(
    field.name for field in dataclasses.fields(Action) if field.name not in {"lease", "unsettled"}
)

SETTLE = {
    "sent": """UPDATE mlembed_action SET state = 'sent', lease_until = 0, lease = '',
        last_error = '', settled = :now WHERE id = :id""",
    "failed": """UPDATE mlembed_action SET lease_until = 0, lease = '', next_attempt = :retry_at,
        last_error = :detail, attempts = max(0, attempts - :uncounted)
        WHERE id = :id AND state = 'pending' AND lease = :lease""",
    "dead": """UPDATE mlembed_action SET state = 'dead', lease_until = 0, lease = '',
        last_error = :detail, settled = :now
        WHERE id = :id AND state = 'pending' AND lease = :lease""",
}
# Nothing but what stands here is put into these statements.
_OLD = "state IN ('sent', 'superseded', 'held') AND settled < :before"
_NEEDED = "memory IS NOT NULL AND (armed = 0 OR seen <> 'null' OR quiet_until > :now)"
FORGETTABLE = f"""SELECT id FROM mlembed_action
    WHERE {_OLD} AND {_NEEDED} LIMIT :limit"""  # noqa: S608
PRUNABLE = f"""SELECT id FROM mlembed_action
    WHERE ({_OLD} OR state = 'remembered') AND NOT ({_NEEDED}) LIMIT :limit"""  # noqa: S608


def row_of(action: Action, now: float, memory: Memory | None) -> dict[str, Any]:
    """Return the row of a new *action*.

    Args:
        action: In the state in which it is queued.
        now: Unix time.
        memory: What its rule remembers of it.

    Raises:
        PayloadError: If the payload is no JSON.
    """
    row = {name: getattr(action, name) for name in _COLUMNS}
    row |= {
        "label": json.dumps(action.label),
        "payload": payload_text(action.payload),
        "slot": action.slot,
        "queued": now,
        "settled": 0.0 if action.state == "pending" else now,
    }
    if memory is not None:
        row |= {
            "memory": memory_id(action.rule, action.key or ""),
            "seen": json.dumps(memory.label),
            "armed": memory.armed,
            "quiet_until": memory.quiet_until,
        }
    return row


def actions_of(rows: sqlite3.Cursor) -> tuple[Action, ...]:
    """Return the actions that *rows* hold."""
    names = [column[0] for column in rows.description]
    found = []
    for row in rows:
        values = {name: value for name, value in zip(names, row, strict=True) if name in _COLUMNS}
        values["payload"] = json.loads(values["payload"])
        values["label"] = json.loads(values["label"])
        found.append(Action(**values))
    return tuple(found)


def settled(attempt: Attempt, now: float) -> dict[str, Any]:
    """Return the values of the statement in `SETTLE` for *attempt*."""
    return {
        "now": now,
        "id": attempt.action.id,
        "lease": attempt.action.lease,
        "uncounted": 0 if attempt.counted else 1,
        "retry_at": attempt.retry_at,
        "detail": attempt.detail,
    }
