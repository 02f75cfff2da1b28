"""What is wrong with a request, or kept a model from answering; as RFC 9457 and protocol v2 say it.

A client may rely on the types: they are stable. No answer shows a value of a record, a path, a
setting or a traceback: of a failure that is not the client's, only its type is named.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mlembed.endpoints.messages import json_answer
from mlembed.errors import (
    BundleError,
    CircuitOpenError,
    InferenceError,
    OutcomeError,
    PredictionTimeoutError,
    RegistryError,
    SchemaError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed.endpoints.messages import Answer

PREFIX = "urn:problem-type:mlembed:"
KINDS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "forbidden": (403, "The caller may not do this"),
        "not-found": (404, "There is nothing at this path"),
        "unknown-model": (404, "There is no such model"),
        "unknown-version": (404, "There is no such version in service"),
        "method": (405, "The path has no such method"),
        "too-large": (413, "The body is too large"),
        "too-many-records": (413, "There are too many records"),
        "media-type": (415, "The body is not of a type that is read"),
        "json": (400, "The body is not strict JSON"),
        "request": (422, "The body is not what the path takes"),
        "record": (422, "The record does not fit the model"),
        "outcome": (422, "The outcome cannot be joined to a prediction"),
        "rate": (429, "There are too many requests"),
        "bug": (500, "The server has a fault"),
        "model-failed": (500, "The model failed on a record that fits"),
        "unavailable": (503, "The model cannot serve now"),
        "circuit-open": (503, "The model is left alone for a while"),
        "timeout": (504, "The model took too long"),
    }
)
_MAX_NAMED = 20
_RETRY_SECONDS = 5.0
_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (PredictionTimeoutError, "timeout"),
    (CircuitOpenError, "circuit-open"),
    (InferenceError, "model-failed"),
    (RegistryError, "unavailable"),
    (BundleError, "unavailable"),
)


class Problem(Exception):  # noqa: N818  an answer more than an error
    """A request is answered with what is wrong.

    Args:
        kind: One of `KINDS`.
        detail: What is wrong with this very request, and the remedy.
        problems: One sentence each, where there are several.
        headers: What is sent beside the usual headers.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        problems: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.problems = tuple(problems)
        self.headers = headers or {}

    def answer(self) -> Answer:
        """Say it as RFC 9457 has it."""
        status, title = KINDS[self.kind]
        body: dict[str, Any] = {
            "type": f"{PREFIX}{self.kind}",
            "title": title,
            "status": status,
            "detail": self.detail,
        }
        if self.problems:
            body["problems"] = list(self.problems)
        return json_answer(
            body, status, {"Content-Type": "application/problem+json", **self.headers}
        )

    def answer_v2(self) -> Answer:
        """Say it as protocol v2 has it; what does not fit is 400 there."""
        status = KINDS[self.kind][0]
        text = "; ".join((self.detail, *self.problems))
        return json_answer({"error": text}, 400 if status == 422 else status, self.headers)  # noqa: PLR2004


def problem_of(error: Exception) -> Problem:
    """Return what is told of *error*; of whatever is no error of ours, that it happened."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, SchemaError):
        return Problem("record", f"The record does not fit {error.bundle}", error.problems)
    if isinstance(error, OutcomeError):
        return Problem("outcome", str(error))
    for kind, name in _FAILURES:
        if isinstance(error, kind):
            headers = retry_after(_RETRY_SECONDS) if KINDS[name][0] == 503 else None  # noqa: PLR2004
            return Problem(name, f"{type(error).__name__}; the server's log says more", (), headers)
    return Problem("bug", "The server's log says more")


def told(error: str) -> str:
    """Return what a client may read of `Prediction.error`: a path may stand in all but one kind."""
    return error if error.startswith("SchemaError: ") else error.partition(":")[0]


def unknown_model(names: Sequence[str]) -> Problem:
    """Return the problem of a model that is none of *names*."""
    shown = ", ".join(names[:_MAX_NAMED]) or "none"
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return Problem("unknown-model", f"The models are: {shown}{more}")


def retry_after(seconds: float) -> dict[str, str]:
    """Return the header that asks a client to come back after *seconds*."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}
