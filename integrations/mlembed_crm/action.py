"""One queued action: what a rule decided, for whom, and how its delivery stands.

What is sent is a function of the columns that never change, so every attempt sends the same bytes
under the same id.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mlembed_crm.errors import PayloadError

State = Literal["pending", "sent", "dead", "superseded", "held", "remembered"]
STATES: tuple[State, ...] = ("pending", "sent", "dead", "superseded", "held", "remembered")

MAX_PAYLOAD_BYTES = 64 * 1024
EVENT_TYPE = "mlembed.action"

_NAMESPACE = uuid.UUID("6f0f6a4e-5a0e-5f0e-9d53-0b6f2a3f9c51")
_MAX_DEPTH = 32


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action as the outbox holds it; times are Unix seconds.

    Attributes:
        id: The idempotency id, a UUID; the same for the same rule, destination and prediction.
        rule: Name of the rule.
        model: Name of the model.
        version: Version of the model that answered.
        prediction_id: `Prediction.id`.
        key: The host's key of the entity, or None.
        score: The prediction's score.
        destination: Name of the destination.
        payload: What the rule adds, plain JSON; for a record, its fields and their new values.
        record: The destination's kind of record that is written, such as `contacts`; empty for an
            event.
        id_field: Its field that holds the key; empty for an event.
        label: The prediction's label.
        reason: The prediction's reason, `ok` or `abstain`.
        trace: The span in which it was predicted, as W3C traceparent; empty outside of any.
        created: When the prediction was made.
        state: `pending`, `sent`, `dead` (given up), `superseded` (a newer value went instead),
            `held` (in the control group, never sent) or `remembered` (all that is left of it is
            that its rule acted).
        attempts: Deliveries begun so far.
        next_attempt: Not before this; 0 until an attempt failed, but for quiet hours.
        lease_until: A delivery has it until then; 0 where none has.
        lease: Name of the lease under which this delivery has it; empty for who only looks.
        unsettled: Whether a delivery before this one had it, and never told what became of it.
        quiet: The rule's quiet hours, as `QuietHours.text` writes them; empty for none.
        last_error: Why the last attempt failed; empty where none did.
        queued: When it was queued, or last redelivered.
        settled: When it was sent or given up; 0 where it was neither.
    """

    id: str
    rule: str
    model: str
    version: str
    prediction_id: str
    key: str | None
    score: float
    destination: str
    payload: Mapping[str, Any]
    created: float
    record: str = ""
    id_field: str = ""
    label: bool | str | None = None
    reason: str = "ok"
    trace: str = ""
    state: State = "pending"
    attempts: int = 0
    next_attempt: float = 0.0
    lease_until: float = 0.0
    lease: str = ""
    unsettled: bool = False
    quiet: str = ""
    last_error: str = ""
    queued: float = 0.0
    settled: float = 0.0

    @property
    def time(self) -> str:
        """When the prediction was made, in RFC 3339 form, UTC."""
        return dt.datetime.fromtimestamp(self.created, dt.UTC).isoformat(timespec="microseconds")

    @property
    def slot(self) -> str:
        """What a newer value of the same fields of the same record replaces; empty for an event."""
        if not self.record:
            return ""
        record = self.destination, self.record, self.id_field, self.key or ""
        return digest(*record, *sorted(self.payload))

    def event(self) -> bytes:
        """Return the action as a CloudEvents 1.0 structured JSON event, UTF-8."""
        subject = {} if self.key is None else {"subject": self.key}
        trace = {"traceparent": self.trace} if self.trace else {}
        record = {"record": self.record, "id_field": self.id_field} if self.record else {}
        event = {
            "specversion": "1.0",
            "id": self.id,
            "source": f"/mlembed/models/{self.model}",
            "type": EVENT_TYPE,
            **subject,
            "time": self.time,
            "datacontenttype": "application/json",
            **trace,
            "data": {
                "rule": self.rule,
                "model": self.model,
                "version": self.version,
                "prediction_id": self.prediction_id,
                "key": self.key,
                "score": plain(self.score),
                "label": self.label,
                "reason": self.reason,
                **record,
                "payload": self.payload,
            },
        }
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def digest(*parts: str) -> str:
    """Return a name for *parts* that is short and the same everywhere: 32 hexadecimal digits."""
    whole = "".join(f"{len(part)}:{part}" for part in parts).encode(errors="surrogatepass")
    return hashlib.blake2b(whole, digest_size=16).hexdigest()


def action_id(rule: str, destination: str, prediction_id: str) -> str:
    """Return the id that one rule's action on one prediction has, whoever queues it."""
    return str(uuid.uuid5(_NAMESPACE, f"{rule}\x00{destination}\x00{prediction_id}"))


def payload_text(payload: Mapping[str, Any]) -> str:
    """Write *payload* as the JSON that is stored and sent.

    Numbers that JSON does not have (NaN, infinities) become null.

    Raises:
        PayloadError: If it is no mapping, a value has no JSON form, is nested too deeply or cannot
            be UTF-8, or the whole exceeds 64 KiB; names the place, not the value.
    """
    if not isinstance(payload, Mapping):
        raise PayloadError(f"payload: {type(payload).__name__} is no mapping; give names to values")
    text = json.dumps(plain(payload), ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise PayloadError("payload: a text holds half a surrogate pair; give valid text") from (
            error
        )
    if size > MAX_PAYLOAD_BYTES:
        raise PayloadError(
            f"payload: {size} bytes, at most {MAX_PAYLOAD_BYTES} can be sent; send a reference"
        )
    return text


def plain(value: Any, place: str = "payload", depth: int = 0) -> Any:
    """Return *value* in JSON types, refusing what has no JSON form."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if depth >= _MAX_DEPTH:
        raise PayloadError(f"{place}: nested more than {_MAX_DEPTH} deep; flatten it")
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise PayloadError(f"{place}: names must be text, as JSON's are")
        return {name: plain(item, f"{place}.{name}", depth + 1) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [plain(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise PayloadError(
        f"{place}: {type(value).__name__} has no JSON form; give text, numbers, booleans, "
        "None, lists or mappings"
    )
