"""A HubSpot account for tests: it keeps records, and fails as it is told to.

It knows what actions rely on: a record is found by a property of unique values, values are texts, a
batch with one bad row is refused whole, and a search sees what there is at the moment of the call.
It is not HubSpot: what it does is what the public reference says, not what was seen of the service.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import http.server
import json
import re
import threading
import time
import urllib.parse
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from crm.fakes.running import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Answer = tuple[int, dict[str, str], bytes]

TOKEN = "pat-eu1-secret"  # noqa: S105  of a fake
BATCH = 100

_PATH = re.compile(r"/crm/(objects|properties)/(\d{4}-\d{2})/([^/]+)(?:/(batch/upsert|search))?")
_PROPERTIES: dict[str, dict[str, Any]] = {
    "ext_id": {"type": "string", "hasUniqueValue": True},
    "email": {"type": "string", "hasUniqueValue": True},
    "ml_score": {"type": "number"},
    "ml_prediction": {"type": "string"},
    "ml_time": {"type": "datetime"},
    "ml_day": {"type": "date"},
    "ml_likely": {"type": "bool"},
    "dealstage": {"type": "enumeration", "options": ["open", "closedwon", "closedlost"]},
    "hs_object_id": {"type": "number", "read_only": True},
    "hs_lastmodifieddate": {"type": "datetime", "read_only": True},
    "lastmodifieddate": {"type": "datetime", "read_only": True},
}


class Call(NamedTuple):
    """One request, as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class Account:
    """The state of the account; answers without a socket.

    Attributes:
        calls: All requests so far.
        properties: Of every kind of record, by name: `type`, `hasUniqueValue`, `read_only` and
            `options`. Tests add their own.
        multi_status: Whether a bad row is told of in 207, instead of refusing the batch.
        traces: Whether rows of the answer repeat the trace id that was sent.
        clock: Unix seconds.
        released: Ends calls that stall.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.properties = {name: dict(one) for name, one in _PROPERTIES.items()}
        self.multi_status = False
        self.traces = True
        self.clock: Callable[[], float] = time.time
        self.released = threading.Event()
        self._lock = threading.RLock()
        self._records: dict[str, dict[int, dict[str, str]]] = {}
        self._failures: deque[tuple[str, dict[str, Any]]] = deque()
        self._last_id = 500

    def records(self, kind: str) -> dict[int, dict[str, str]]:
        """Return the properties of the records of *kind*, by id."""
        with self._lock:
            return {number: dict(one) for number, one in self._records.get(kind, {}).items()}

    def put(self, kind: str, properties: Mapping[str, str], number: int | None = None) -> int:
        """Write a record as a person at HubSpot would; return its id."""
        with self._lock:
            if number is None:
                self._last_id += 1
                number = self._last_id
            moment = dt.datetime.fromtimestamp(self.clock(), dt.UTC)
            changed = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            record = self._records.setdefault(kind, {}).setdefault(number, {})
            record |= properties
            record |= {"hs_object_id": str(number)}
            record |= {"hs_lastmodifieddate": changed, "lastmodifieddate": changed}
            return number

    def fail_next(self, how: str, times: int = 1, **arguments: Any) -> None:
        """Fail the next calls.

        Args:
            how: `limit` (429; `policy`, `retry_after`), `status` (`status`, `category`), `html`
                (`status`), `stall` (write, and do not answer), `drop` (write, and hang up).
            times: How many.
            **arguments: Of *how*.
        """
        self._failures.extend([(how, arguments)] * times)

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return status, headers and body of the answer to a request; 0 to hang up."""
        with self._lock:
            parsed = json.loads(body) if body else None
            path = urllib.parse.unquote(target)
            self.calls.append(Call(method, path, dict(headers), parsed))
            how, arguments = self._failures.popleft() if self._failures else ("", {})
            if how in {"limit", "status", "html"}:
                return _failure(how, **arguments)
            answered = self._answer(method, path, headers, parsed)
        if how == "stall":
            self.released.wait(30)
        return (0, {}, b"") if how in {"stall", "drop"} else answered

    def transport(self) -> httpx.MockTransport:
        """Return what carries requests to the account without a socket."""

        def handle(request: httpx.Request) -> httpx.Response:
            headers = {name.lower(): value for name, value in request.headers.items()}
            target = request.url.raw_path.decode()
            status, answered, body = self.answer(request.method, target, headers, request.content)
            if not status:
                raise httpx.ReadError("hung up", request=request)
            return httpx.Response(status, headers=answered, content=body)

        return httpx.MockTransport(handle)

    def _answer(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Answer:
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return _error(401, "INVALID_AUTHENTICATION")
        found = _PATH.fullmatch(path)
        if not found:
            return _error(404, "NOT_FOUND")
        kind, what = found[3], (method, found[1], found[4])
        if what == ("GET", "properties", None):
            return self._json(200, {"results": [*map(self._described, self.properties)]})
        if what == ("POST", "objects", "batch/upsert"):
            return self._upsert(kind, body["inputs"])
        if what == ("POST", "objects", "search"):
            return self._search(kind, body)
        return _error(405, "METHOD_NOT_ALLOWED")

    def _described(self, name: str) -> dict[str, Any]:
        one = self.properties[name]
        return {
            "name": name,
            "type": one["type"],
            "fieldType": one.get("fieldType", "text"),
            "hasUniqueValue": one.get("hasUniqueValue", False),
            "options": [{"value": value, "label": value} for value in one.get("options", ())],
            "modificationMetadata": {"readOnlyValue": one.get("read_only", False)},
        }

    def _upsert(self, kind: str, rows: list[dict[str, Any]]) -> Answer:
        names = [(row["idProperty"], row["id"]) for row in rows]
        if len(rows) > BATCH or len(set(names)) < len(names):
            return _error(400, "VALIDATION_ERROR")
        problems = {place: bad for place, row in enumerate(rows) if (bad := self._bad(row))}
        if problems and not self.multi_status:
            place, bad = next(iter(problems.items()))
            return _error(400, "VALIDATION_ERROR", f'"{rows[place]["id"]}" has a bad "{bad}"')
        good = [row for place, row in enumerate(rows) if place not in problems]
        answered = {
            "status": "COMPLETE",
            # HubSpot promises no order.
            "results": [self._write(kind, row) for row in reversed(good)],
            "numErrors": len(problems),
            "errors": [
                {
                    "status": "error",
                    "category": "VALIDATION_ERROR",
                    "message": f'Property values were not valid: "{bad}"',
                    "context": {"objectWriteTraceId": [rows[place]["objectWriteTraceId"]]},
                }
                for place, bad in problems.items()
            ],
        }
        return self._json(207 if problems else 200, answered)

    def _bad(self, row: dict[str, Any]) -> str:
        """Return the name of a property that a row cannot set; empty if it can be written."""
        if not self.properties.get(row["idProperty"], {}).get("hasUniqueValue"):
            return str(row["idProperty"])
        for name, value in row["properties"].items():
            one = self.properties.get(name)
            if one is None or one.get("read_only") or not isinstance(value, str):
                return str(name)
            if value and not _fits(one, value):
                return str(name)
        return ""

    def _write(self, kind: str, row: dict[str, Any]) -> dict[str, Any]:
        name, key = row["idProperty"], row["id"]
        key = key.lower() if name == "email" else key
        same = [n for n, one in self._records.get(kind, {}).items() if one.get(name) == key]
        number = self.put(kind, {name: key, **row["properties"]}, same[0] if same else None)
        trace = {"objectWriteTraceId": row["objectWriteTraceId"]} if self.traces else {}
        properties = self._records[kind][number]
        return {"id": str(number), "new": not same, "properties": dict(properties), **trace}

    def _search(self, kind: str, body: dict[str, Any]) -> Answer:
        (group,) = body["filterGroups"]
        (order,) = body["sorts"]
        found = [
            one
            for one in self._records.get(kind, {}).values()
            if all(_passes(one, each) for each in group["filters"])
        ]
        found.sort(key=lambda one: _number(one[order["propertyName"]]))
        results = [
            {
                "id": one["hs_object_id"],
                "properties": {name: one.get(name) for name in body["properties"]},
            }
            for one in found[: body["limit"]]
        ]
        more = (
            {"paging": {"next": {"after": str(len(results))}}} if len(found) > len(results) else {}
        )
        return self._json(200, {"total": len(found), "results": results, **more})

    def _json(self, status: int, body: Any) -> Answer:
        headers = {
            "Content-Type": "application/json",
            "Date": email.utils.formatdate(self.clock(), usegmt=True),
        }
        return status, headers, json.dumps(body).encode()


class HubSpotFake(Account):
    """An account behind a socket.

    Attributes:
        url: Where it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.account = self  # type: ignore[attr-defined]  # for the handler
        self.url = f"http://127.0.0.1:{self.server.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        account: Account = self.server.account  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, answered, content = account.answer(self.command, self.path, headers, body)
        self.close_connection = True
        if not status:
            return
        with contextlib.suppress(OSError):
            self.send_response_only(status)
            for name, value in answered.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_POST  # noqa: N815  the name that http.server looks for

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def hubspot() -> Iterator[HubSpotFake]:
    """Run an empty account for the length of the block."""
    fake = HubSpotFake()
    with running(fake.server):
        try:
            yield fake
        finally:
            fake.released.set()


def _failure(how: str, **arguments: Any) -> Answer:
    if how == "limit":
        policy = arguments.get("policy", "TEN_SECONDLY_ROLLING")
        status, headers, body = _error(429, "RATE_LIMITS", policyName=policy)
        if "retry_after" in arguments:
            headers["Retry-After"] = str(arguments["retry_after"])
        return status, headers, body
    if how == "html":
        return arguments.get("status", 502), {"Content-Type": "text/html"}, b"<h1>Sorry</h1>"
    return _error(arguments["status"], arguments.get("category", ""))


def _error(status: int, category: str, message: str = "no", **more: Any) -> Answer:
    body = {"status": "error", "category": category, "message": message, **more}
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()


def _fits(one: dict[str, Any], value: str) -> bool:
    if "options" in one:
        return value in one["options"]
    if one["type"] == "bool":
        return value in {"true", "false"}
    if one["type"] in {"number", "date", "datetime"}:
        with contextlib.suppress(ValueError):
            _number(value)
            return True
        return False
    return True


def _passes(one: dict[str, str], each: dict[str, str]) -> bool:
    has = one.get(each["propertyName"], "")
    if each["operator"] == "HAS_PROPERTY" or not has:
        return bool(has)
    left, right = _number(has), float(each["value"])
    return {"GT": left > right, "GTE": left >= right, "LTE": left <= right}[each["operator"]]


def _number(text: str) -> float:
    """Return a number, or a time as Unix milliseconds."""
    with contextlib.suppress(ValueError):
        return float(text)
    moment = dt.datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return round(moment.timestamp() * 1000)
