"""Ask endpoints directly, as an adapter does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bundles import RECORD
from mlembed.endpoints import Request

if TYPE_CHECKING:
    from mlembed.endpoints import Answer, Endpoints

JSON = {"content-type": "application/json"}
PLAIN: dict[str, Any] = {**RECORD, "seen": RECORD["seen"].isoformat()}
PREFIX = "urn:problem-type:mlembed:"
ID = "0190a5e4-7b2c-7abc-8def-0123456789ab"


def post(
    endpoints: Endpoints, path: str, body: Any, client: str = "me", **headers: str
) -> tuple[int, Any]:
    """Post *body*, bytes or what becomes JSON; return the status and what the answer's JSON is."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = endpoints.answer(Request("POST", path, JSON | named, data, client))
    return answer.status, json.loads(answer.body)


def get(endpoints: Endpoints, path: str) -> tuple[int, Any]:
    """Get *path*; as `post`."""
    answer = endpoints.answer(Request("GET", path))
    return answer.status, json.loads(answer.body)


def kind(answer: Answer) -> str:
    """Return the type of the problem that *answer* is, without what all types have."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = json.loads(answer.body)
    assert told["status"] == answer.status
    return str(told["type"]).removeprefix(PREFIX)
