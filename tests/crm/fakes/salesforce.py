"""An organization of Salesforce on a thread: it lets in, keeps records by their keys, runs jobs.

Made after the public reference, not verified against a live organization.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import email.utils
import http.server
import io
import itertools
import json
import random
import re
import threading
import time
import urllib.parse
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

import jwt

from crm.fakes.running import running
from mlembed_crm import Action
from mlembed_crm.destinations.salesforce import Salesforce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Script = Callable[["Handler"], bool | None]

LABEL = "ML_Label__c"
PRIVATE = "Ada Lovelace"
CLIENT = "3MVG9.consumer-key"
SECRET = "5EC2E7-consumer-secret"  # noqa: S105  of tests
VERSION = "/services/data/v67.0"
LEAD = "Lead"
KEY = "Ext_Id__c"
SCORE = "ML_Score__c"

_WHERE = re.compile(
    r"SELECT (.+) FROM (\w+)(?: WHERE SystemModstamp >= (\S+)"
    r"(?: AND \(SystemModstamp > (\S+) OR Id > '(\w+)'\))?)? "
    r"ORDER BY SystemModstamp, Id LIMIT (\d+)"
)


@dataclasses.dataclass
class Job:
    """A bulk job."""

    name: str
    told: dict[str, Any]
    state: str = "Open"
    polls: int = 0
    lists: dict[str, list[list[str]]] = dataclasses.field(default_factory=dict)
    header: list[str] = dataclasses.field(default_factory=list)
    content: bytes = b""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request: by the next script, or by the organization's state."""

    server: Organization
    body: bytes

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(length)
        with self.server.lock, contextlib.suppress(OSError):
            self.server.calls.append((self.command, self.path, self.body))
            if self.path == "/services/oauth2/token":
                self._log_in()
            elif self.headers.get("authorization", "")[7:] not in self.server.tokens:
                self.refuse(401, "INVALID_SESSION_ID")
            else:
                script = self.server.scripts.popleft() if self.server.scripts else None
                if script is None or script(self):
                    self._route()

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_PATCH(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def say(self, status: int, told: Any = None, content: Any = None, **more: str) -> None:
        """Answer with JSON, or with *content*."""
        body = json.dumps(told).encode() if content is None else content
        self.send_response_only(status)
        if self.server.date is not None:
            self.send_header("Date", email.utils.formatdate(self.server.date, usegmt=True))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "text/csv" if content else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str, message: str = "no") -> None:
        """Answer as Salesforce says no to a whole call."""
        self.say(status, [{"errorCode": code, "message": message}])

    def _log_in(self) -> None:
        form = dict(urllib.parse.parse_qsl(self.body.decode()))
        server = self.server
        server.logins += 1
        time.sleep(server.login_seconds)
        if server.login_scripts:
            server.login_scripts.popleft()(self)
            return
        if server.public_key is not None:
            try:
                claims = jwt.decode(
                    form["assertion"], server.public_key, ["RS256"], audience=server.audience
                )
            except jwt.PyJWTError:
                self.say(400, {"error": "invalid_grant", "error_description": "no " + SECRET})
                return
            server.claims.append(claims)
        elif (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            self.say(400, {"error": "invalid_client", "error_description": f"not {form}"})
            return
        token = f"00D!{uuid.uuid4().hex}"
        if not server.broken:
            server.tokens.add(token)
        url = server.instance_url or server.url
        self.say(200, {"access_token": token, "instance_url": url, "token_type": "Bearer"})

    def _route(self) -> None:
        path, _, query = self.path.removeprefix(VERSION).partition("?")
        parts = path.strip("/").split("/")
        if parts[:2] == ["composite", "sobjects"]:
            self._upsert(parts[2], parts[3])
        elif parts[:2] == ["jobs", "ingest"]:
            self._job(parts[2:])
        elif parts[0] == "query":
            self._query(urllib.parse.parse_qs(query)["q"][0])
        elif parts[0] == "sobjects" and parts[1] in self.server.described:
            self.say(200, {"name": parts[1], "fields": self.server.described[parts[1]]})
        else:
            self.refuse(404, "NOT_FOUND")

    def _upsert(self, record: str, id_field: str) -> None:
        told = json.loads(self.body)
        rows = told["records"]
        if len(rows) > 200:
            self.refuse(400, "EXCEEDED_ID_LIMIT")
            return
        for row in rows:
            if problem := self.server.whole_problem(row):
                self.refuse(400, *problem)
                return
        results = [self.server.write(record, id_field, row) for row in rows]
        time.sleep(self.server.answer_seconds)
        self.say(200, self.server.bend(results))

    def _job(self, parts: list[str]) -> None:
        server = self.server
        if not parts:
            job = Job(f"750{len(server.jobs):012}", json.loads(self.body))
            server.jobs[job.name] = job
            self.say(200, {"id": job.name, "state": job.state})
            return
        job = server.jobs[parts[0]]
        if self.command == "PUT":
            job.content = self.body
            self.say(201, content=b"")
        elif self.command == "PATCH":
            job.state = json.loads(self.body)["state"]
            self.say(200, {"id": job.name, "state": job.state})
        elif len(parts) == 1:
            job.polls += 1
            if job.state == "UploadComplete" and job.polls >= server.job_polls:
                server.run(job)
            self.say(200, {"id": job.name, "state": job.state})
        else:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(job.lists[parts[1]])
            self.say(200, content=server.bend_csv(text.getvalue().encode()))

    def _query(self, soql: str) -> None:
        asked = _WHERE.fullmatch(soql)
        if asked is None:
            self.refuse(400, "MALFORMED_QUERY", soql)
            return
        fields, _, since, _, after, limit = asked.groups()
        rows = sorted(self.server.history, key=lambda row: (row["SystemModstamp"], row["Id"]))
        since = (since or "").replace("Z", "+0000")
        rows = [
            row
            for row in rows
            if (row["SystemModstamp"], row["Id"]) > (since, after or "")
            or (row["SystemModstamp"] == since and not after)
        ]
        most = min(int(limit), self.server.page_rows)
        given = [{name: row.get(name) for name in fields.split(", ")} for row in rows[:most]]
        self.say(200, {"done": len(rows) <= most, "records": given, "nextRecordsUrl": "//evil/x"})


class Organization(http.server.ThreadingHTTPServer):
    """What the organization holds, and how it misbehaves.

    Attributes:
        records: By kind and key field, then by key.
        scripts: What is done with the next calls that are let in; one that returns True goes on.
        calls: Method, path and body of every request so far.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.RLock()
        self.records: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self.refused: dict[str, tuple[str, str, list[str]]] = {}
        self.scripts: deque[Script] = deque()
        self.login_scripts: deque[Script] = deque()
        self.calls: list[tuple[str, str, bytes]] = []
        self.tokens: set[str] = set()
        self.logins = 0
        self.login_seconds = 0.0
        self.answer_seconds = 0.0
        self.broken = False
        self.instance_url = ""
        self.public_key: Any = None
        self.audience = ""
        self.claims: list[dict[str, Any]] = []
        self.fields = {KEY, SCORE, "ML_Label__c", "attributes"}
        self.bend: Callable[[list[Any]], Any] = lambda results: results
        self.bend_csv: Callable[[bytes], bytes] = lambda content: content
        self.jobs: dict[str, Job] = {}
        self.job_polls = 1
        self.job_fails = False
        self.described: dict[str, list[dict[str, Any]]] = {}
        self.history: list[dict[str, Any]] = []
        self.page_rows = 2000
        self.date: float | None = time.time()
        self._ids = itertools.count(1)

    @property
    def url(self) -> str:
        """Scheme and host."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def paths(self) -> list[str]:
        """Paths asked for so far, but for logins."""
        return [path for _, path, _ in self.calls if "oauth2" not in path]

    def handle_error(self, *_: Any) -> None:
        """Say nothing: clients of these tests hang up."""

    def expire(self) -> None:
        """End all sessions."""
        with self.lock:
            self.tokens.clear()

    def whole_problem(self, row: dict[str, Any]) -> tuple[str, str] | None:
        """Return why a row makes the whole call fail."""
        for name in row:
            if name not in self.fields:
                return "INVALID_FIELD", f"No such column '{name}' on sobject of type Lead"
        if isinstance(row.get(SCORE), str):
            return "JSON_PARSER_ERROR", f"Cannot deserialize {row[SCORE]}"
        return None

    def write(self, record: str, id_field: str, row: dict[str, Any]) -> dict[str, Any]:
        """Upsert one row."""
        values = {name: value for name, value in row.items() if name != "attributes"}
        key = values[id_field]
        if key in self.refused:
            code, message, fields = self.refused[key]
            error = {"statusCode": code, "message": message, "fields": fields}
            return {"success": False, "errors": [error]}
        held = self.records.setdefault((record, id_field), {})
        created = key not in held
        known = held.setdefault(key, {"Id": f"00Q{next(self._ids):012}"})
        known.update(values)
        return {"id": known["Id"], "success": True, "created": created, "errors": []}

    def run(self, job: Job) -> None:
        """Do what a job was made for, in an order of its own."""
        record, id_field = job.told["object"], job.told["externalIdFieldName"]
        header, *rows = csv.reader(io.StringIO(job.content.decode(), newline=""))
        random.Random(0).shuffle(rows)  # noqa: S311  the order of a test
        done = [["sf__Id", "sf__Created", *header]]
        wrong = [["sf__Id", "sf__Error", *header]]
        left = [header]
        for row in rows:
            if self.job_fails:
                left.append(row)
                continue
            cells = {name: cell for name, cell in zip(header, row, strict=True) if cell}
            values = {name: None if cell == "#N/A" else cell for name, cell in cells.items()}
            told = self.write(record, id_field, values)
            if told["success"]:
                done.append([told["id"], str(told["created"]).lower(), *row])
            else:
                (error,) = told["errors"]
                fields = " ".join(error["fields"])
                said = f"{error['statusCode']}:{error['message']}:{fields} --"
                wrong.append(["", said, *row])
        job.lists = {"successfulResults": done, "failedResults": wrong, "unprocessedrecords": left}
        job.state = "Failed" if self.job_fails else "JobComplete"


@contextlib.contextmanager
def organization() -> Iterator[Organization]:
    """Run an organization for the length of the block."""
    with running(Organization()) as server:
        yield server


def connect(server: Organization, **settings: Any) -> Salesforce:
    """Return the destination that is *server*."""
    if "private_key" not in settings:
        settings = {"client_secret": SECRET, **settings}
    settings = {"client_id": CLIENT, "timeout_seconds": 5.0, **settings}
    return Salesforce(server.url, allow_private=True, **settings)


def lead(
    key: str | None = "42", fields: Mapping[str, Any] | None = None, *, record: str = LEAD
) -> Action:
    """Return an action that sets *fields*, by default a score."""
    return Action(
        id=str(uuid.uuid4()),
        rule="score",
        model="leads",
        version="1",
        prediction_id="p-1",
        key=key,
        score=0.83,
        destination="crm",
        payload={SCORE: 0.83} if fields is None else fields,
        created=1_800_000_000.0,
        record=record,
        id_field=KEY if record else "",
    )


def leads(count: int) -> list[Action]:
    """Return actions of different keys."""
    return [lead(f"k-{number}") for number in range(count)]


def keys(server: Organization, record: str = LEAD) -> set[str]:
    """Return the keys of the records that *server* holds."""
    return set(server.records.get((record, KEY), {}))


def refuse(status: int, code: str, message: str = "no", **headers: str) -> Script:
    """Return a script that says no to a whole call."""

    def script(handler: Handler) -> None:
        handler.say(status, [{"errorCode": code, "message": message}], **headers)

    return script


def say(status: int, content: bytes, **headers: str) -> Script:
    """Return a script that answers with bytes."""

    def script(handler: Handler) -> None:
        handler.say(status, content=content, **headers)

    return script


def go_on(_: Handler) -> bool:
    """Let a call through."""
    return True


def statuses(answers: Sequence[Any]) -> list[int]:
    """Return the status of each answer."""
    return [answer.status for answer in answers]
