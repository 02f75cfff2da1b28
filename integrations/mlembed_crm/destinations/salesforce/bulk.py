"""Write many records of one kind with a job of Salesforce's Bulk API 2.0.

Salesforce returns the rows of a job in any order, so each is found again by its key. One that is
not told of exactly once is taken for neither written nor refused.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from mlembed_crm.destinations import Receipt
from mlembed_crm.destinations.salesforce.answers import (
    accepted,
    changed,
    mentioned,
    names_in,
    refusal,
    row_error,
)
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.destinations.endpoint import Answer
    from mlembed_crm.destinations.salesforce.answers import Result
    from mlembed_crm.destinations.salesforce.login import Session


CLEARED = "#N/A"
# Salesforce takes 100 MB, but so much is not sent within the time of one call.
MAX_UPLOAD_BYTES = 20 * 1024 * 1024

_ENDED = {"JobComplete", "Failed", "Aborted"}
_JOB_ID = re.compile(r"[A-Za-z0-9]{15,18}")
_FIRST_PAUSE_SECONDS = 0.5
_MOST_PAUSE_SECONDS = 10.0
_GROWTH = 1.6
# Kept back of the time of a job, for its results or to abort it.
_LAST_SECONDS = 20.0
_ROW_BYTES = 1024  # what the results may add to a row
_ONCE = 1


def fits(action: Action) -> bool:
    """Tell whether CSV can say what *action* sets; `#N/A` there means nothing but no value."""
    texts = [action.key, *(value for value in action.payload.values() if isinstance(value, str))]
    return not any(
        text and (text == CLEARED or "\r" in text or "\0" in text or not _is_utf8(text))
        for text in texts
    )


def csv_of(actions: Sequence[Action]) -> bytes:
    """Return the upload: the key first, then every field that any of *actions* sets.

    A cell that is empty leaves its field alone.
    """
    names = list(dict.fromkeys(name for action in actions for name in action.payload))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([actions[0].id_field, *names])
    for action in actions:
        cells = (_cell(action.payload[name]) if name in action.payload else "" for name in names)
        writer.writerow([action.key, *cells])
    return text.getvalue().encode()


def load(
    session: Session, base: str, actions: Sequence[Action], ends: float
) -> list[Result | None]:
    """Write *actions*, all of one record and key field.

    Args:
        session: To call with.
        base: Path of the API's version.
        actions: To write.
        ends: The `time.monotonic` by which to end; a job that has not is aborted.

    Returns:
        One for each: None where Salesforce took nothing of it, and not for its own fault.

    Raises:
        DeliveryError: If it was not done in time, or could not be told whether it was.
    """
    content = csv_of(actions)
    if len(content) > MAX_UPLOAD_BYTES and len(actions) > 1:
        half = len(actions) // 2
        first = load(session, base, actions[:half], ends)
        return first + _rest(session, base, actions[half:], ends)
    made = session.call("POST", f"{base}/jobs/ingest", ends, content=_job(actions[0]))
    if refusal(made).permanent:
        return [None] * len(actions)
    name = accepted(made).json()
    name = name.get("id") if isinstance(name, dict) else None
    if not isinstance(name, str) or not _JOB_ID.fullmatch(name):
        raise DeliveryError("a job was made, and has no id", status=made.status)
    return _Job(session, f"{base}/jobs/ingest/{name}", ends).run(actions, content)


def _rest(
    session: Session, base: str, actions: Sequence[Action], ends: float
) -> list[Result | None]:
    """Load what is left, without losing what is known of the part before."""
    try:
        return load(session, base, actions, ends)
    except DeliveryError as error:
        return [error] * len(actions)


class _Job:
    def __init__(self, session: Session, path: str, ends: float) -> None:
        self._session = session
        self._path = path
        self._ends = ends

    def run(self, actions: Sequence[Action], content: bytes) -> list[Result | None]:
        began = False
        try:
            self._call("PUT", "/batches", content, "text/csv")
            began = True
            self._call("PATCH", "", b'{"state":"UploadComplete"}')
            state = self._end()
            most = 2 * len(content) + _ROW_BYTES * len(actions)
            lists = [
                self._results(name, most)
                for name in ("successfulResults", "failedResults", "unprocessedrecords")
            ]
        except DeliveryError as error:
            self._abort()
            if error.permanent and not began:
                return [None] * len(actions)
            raise changed(error, permanent=False, unknown=began) from error
        return results(actions, *lists, failed=state == "Failed")

    def _end(self) -> str:
        """Wait for the job to end; return its state."""
        pause = _FIRST_PAUSE_SECONDS
        while time.monotonic() + pause < self._ends - _LAST_SECONDS:
            time.sleep(pause)
            pause = min(pause * _GROWTH, _MOST_PAUSE_SECONDS)
            try:
                told = self._call("GET", "").json()
            except DeliveryError as error:
                if error.stops or error.permanent or error.retry_after is not None:
                    raise
                continue  # the job goes on, whether or not we are told of it
            state = told.get("state") if isinstance(told, dict) else None
            if state in _ENDED:
                return str(state)
        raise DeliveryError("the job did not end in time, and is aborted")

    def _results(self, name: str, most: int) -> list[dict[str, str]]:
        answer = self._call("GET", f"/{name}", max_bytes=most)
        return rows_of(answer.body, answer.status)

    def _abort(self) -> None:
        # Else it could write in an hour what is not so any more.
        with contextlib.suppress(DeliveryError):
            self._call("PATCH", "", b'{"state":"Aborted"}')

    def _call(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        kind: str = "application/json",
        max_bytes: int = 1024 * 1024,
    ) -> Answer:
        path = self._path + path
        return accepted(
            self._session.call(
                method, path, self._ends, content=content, kind=kind, max_bytes=max_bytes
            )
        )


def rows_of(body: bytes, status: int) -> list[dict[str, str]]:
    """Return the rows of a CSV of results.

    Raises:
        DeliveryError: If it is none.
    """
    # What does not end with its line was cut, and its last row may name another's key.
    whole = body[: body.rfind(b"\n") + 1]
    try:
        lines = list(csv.reader(io.StringIO(whole.decode(), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError):
        raise DeliveryError("the results are no CSV", status=status, unknown=True) from None
    if not lines:
        return []
    header, *rest = lines
    return [dict(zip(header, line, strict=True)) for line in rest if len(line) == len(header)]


def results(
    actions: Sequence[Action],
    written: Sequence[Mapping[str, str]],
    refused: Sequence[Mapping[str, str]],
    untouched: Sequence[Mapping[str, str]],
    *,
    failed: bool = False,
) -> list[Result | None]:
    """Return what became of *actions*, by the three lists of a job that has ended.

    Args:
        actions: That were uploaded.
        written: Rows that were taken.
        refused: Rows that were not.
        untouched: Rows that were not looked at.
        failed: Whether the job as a whole failed, so that *untouched* are best sent otherwise.
    """
    id_field = actions[0].id_field
    names = list(dict.fromkeys(name for action in actions for name in action.payload))
    told: dict[str, Result | None] = {}
    times = Counter(action.key for action in actions)
    for key, result in _told(id_field, names, written, refused, untouched, failed=failed):
        told[key] = _odd("twice") if key in told else result
    return [
        told.get(action.key or "", _odd("not at all"))
        if times[action.key] == _ONCE
        else _odd("as one of several")
        for action in actions
    ]


def _told(
    id_field: str,
    names: Sequence[str],
    written: Sequence[Mapping[str, str]],
    refused: Sequence[Mapping[str, str]],
    untouched: Sequence[Mapping[str, str]],
    *,
    failed: bool,
) -> Iterator[tuple[str, Result | None]]:
    for row in written:
        status = 201 if row.get("sf__Created") == "true" else 200
        yield row.get(id_field, ""), Receipt(status, row.get("sf__Id", ""))
    for row in refused:
        code, _, said = row.get("sf__Error", "").partition(":")
        fields = mentioned(said.rpartition(":")[2], [id_field, *names])
        yield row.get(id_field, ""), row_error(names_in([code]), fields, said, 200)
    for row in untouched:
        left = DeliveryError("the job ended before it came to this record", status=200)
        yield row.get(id_field, ""), None if failed else left


def _odd(how: str) -> DeliveryError:
    return DeliveryError(f"the job tells of this record {how}", status=200, unknown=True)


def _job(action: Action) -> bytes:
    job = {
        "object": action.record,
        "operation": "upsert",
        "externalIdFieldName": action.id_field,
        "contentType": "CSV",
        "columnDelimiter": "COMMA",
        "lineEnding": "LF",
    }
    return json.dumps(job).encode()


def _cell(value: Any) -> str:
    if value is None or value == "":
        return CLEARED
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _is_utf8(text: str) -> bool:
    return text.encode(errors="ignore").decode() == text
