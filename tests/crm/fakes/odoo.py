"""A stand-in for Odoo 19's JSON-2 API, on a thread. It is not verified against a live Odoo.

Made from what the public documentation tells: named arguments alone, a transaction a call, errors
by their status with the exception's name, message and traceback, times to the second of what is
kept to the microsecond, False for what is empty, and archived records that a search leaves out.
"""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import http.server
import json
import operator
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from crm.fakes.running import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "0123456789abcdef0123456789abcdef01234567"
DATABASE = "shop"
FIELDS: dict[str, dict[str, Any]] = {
    "id": {"type": "integer", "readonly": True},
    "write_date": {"type": "datetime", "readonly": True},
    "active": {"type": "boolean", "readonly": False},
    "name": {"type": "char", "readonly": False},
    "ref": {"type": "char", "readonly": False, "size": 40},
    "number": {"type": "integer", "readonly": False},
    "probability": {"type": "float", "readonly": False},
    "score": {"type": "integer", "readonly": False},
    "deadline": {"type": "date", "readonly": False},
    "scored_at": {"type": "datetime", "readonly": False},
    "hot": {"type": "boolean", "readonly": False},
    "stage": {
        "type": "selection",
        "readonly": False,
        "selection": [["new", "New"], ["won", "Won"], ["lost", "Lost"]],
    },
    "partner_id": {"type": "many2one", "readonly": False, "relation": "res.partner"},
    "tag_ids": {"type": "many2many", "readonly": False, "relation": "crm.tag"},
}
_ARGUMENTS = {
    "fields_get": {"attributes", "allfields"},
    "search_read": {"domain", "fields", "limit", "order", "offset"},
    "write": {"vals"},
    "create": {"vals_list"},
}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "in": lambda value, values: value in values,
}


class RefusedError(Exception):
    """An exception inside Odoo, as it is answered."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(status, name, message)
        self.status, self.name, self.message = status, name, message


class Odoo(http.server.ThreadingHTTPServer):
    """A server with one database, which has one model, `crm.lead`.

    Attributes:
        leads: Its records by id; times are kept to the microsecond.
        calls: Every call: the method and its arguments.
        answers: Answered to the next calls instead: a status, a body and headers; None lets a
            call pass.
        now: What records are stamped with.
        key: Accepted at present.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.fields = copy.deepcopy(FIELDS)
        self.leads: dict[int, dict[str, Any]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: deque[tuple[int, bytes, dict[str, str]] | None] = deque()
        self.now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        self.key = KEY

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.server_port}"

    def lead(self, **values: Any) -> int:
        """Make a lead; return its id."""
        return self.create([values])[0]

    def called(self, method: str) -> list[dict[str, Any]]:
        """Return the arguments of each call of *method*."""
        return [arguments for name, arguments in self.calls if name == method]

    def fields_get(self, attributes: list[str] | None = None) -> dict[str, Any]:
        return {
            name: {
                key: value for key, value in field.items() if not attributes or key in attributes
            }
            for name, field in self.fields.items()
        }

    def search_read(
        self,
        domain: list[Any],
        fields: list[str],
        limit: int | None = None,
        order: str = "id",
        context: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        archived = (context or {}).get("active_test", True) is False
        found = [
            lead
            for lead in self.leads.values()
            if (archived or lead["active"]) and all(self._holds(lead, one) for one in domain)
        ]
        names = [name.strip() for name in order.split(",")]
        found.sort(key=lambda lead: tuple(lead[name] for name in names))
        return [{name: _shown(lead[name]) for name in ("id", *fields)} for lead in found[:limit]]

    def write(self, ids: list[int], vals: dict[str, Any]) -> bool:
        for number in ids:
            if number not in self.leads:
                raise RefusedError(404, "odoo.exceptions.MissingError", f"Record {number} is gone")
        self._check(vals)
        for number in ids:
            self.leads[number] |= {**vals, "write_date": self.now}
        return True

    def create(self, vals_list: list[dict[str, Any]]) -> list[int]:
        for vals in vals_list:
            self._check(vals)
        made = []
        for vals in vals_list:
            number = max(self.leads, default=0) + 1
            empty = dict.fromkeys(self.fields, False)
            default = {"active": True, "stage": "new", "write_date": self.now, "id": number}
            self.leads[number] = {**empty, **default, **vals}
            made.append(number)
        return made

    def _check(self, vals: dict[str, Any]) -> None:
        for name, value in vals.items():
            if name not in self.fields:
                raise RefusedError(500, "builtins.ValueError", f"Invalid field {name} in {vals}")
            choices = [choice for choice, _ in self.fields[name].get("selection", [])]
            if choices and value not in {*choices, False}:
                raise RefusedError(500, "builtins.ValueError", f"Wrong value for {name}: {value}")
        probability = vals.get("probability", 0)
        if not 0 <= probability <= 100:
            raise RefusedError(
                422, "odoo.exceptions.ValidationError", f"{probability} is no percentage"
            )

    def _holds(self, lead: dict[str, Any], condition: list[Any]) -> bool:
        name, compare, wanted = condition
        if name not in self.fields:
            raise RefusedError(500, "builtins.ValueError", f"Invalid field {name}")
        if self.fields[name]["type"] == "datetime" and wanted is not False:
            wanted = dt.datetime.strptime(wanted, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007  UTC
        return _COMPARE[compare](lead[name], wanted)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Odoo

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.server.lock:
            status, told, headers = self._answer(body)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if self.headers["x-odoo-database"] != DATABASE:
            page = b"<!doctype html><title>404 Not Found</title>"
            return 404, page, {"Content-Type": "text/html"}
        try:
            _, root, version, model, method = self.path.split("/")
            arguments = json.loads(body)
            self.server.calls.append((method, arguments))
            scripted = self.server.answers.popleft() if self.server.answers else None
            if scripted is not None:
                return scripted
            self._check(f"/{root}/{version}", model, method, arguments)
            return 200, json.dumps(self._call(method, arguments)).encode(), {}
        except RefusedError as refused:
            error = {
                "name": refused.name,
                "message": refused.message,
                "arguments": [refused.message],
                "context": {},
                "debug": f"Traceback (most recent call last): {refused.message}",
            }
            return refused.status, json.dumps(error).encode(), {}

    def _check(self, root: str, model: str, method: str, arguments: dict[str, Any]) -> None:
        if self.headers["authorization"] != f"bearer {self.server.key}":
            raise RefusedError(401, "werkzeug.exceptions.Unauthorized", "Invalid apikey")
        if root != "/json/2" or model != "crm.lead" or method not in _ARGUMENTS:
            raise RefusedError(
                404, "werkzeug.exceptions.NotFound", f"the model {model!r} is not there"
            )
        unknown = arguments.keys() - _ARGUMENTS[method] - {"ids", "context"}
        if unknown or ("ids" in arguments) != (method == "write"):
            raise RefusedError(
                422, "werkzeug.exceptions.UnprocessableEntity", f"unexpected {unknown}"
            )

    def _call(self, method: str, arguments: dict[str, Any]) -> Any:
        if method != "search_read":
            arguments.pop("context", None)
        return getattr(self.server, method)(**arguments)


def _shown(value: Any) -> Any:
    return value.strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, dt.datetime) else value


@contextlib.contextmanager
def odoo() -> Iterator[Odoo]:
    """Run an Odoo for the length of the block."""
    with running(Odoo()) as server:
        yield server
