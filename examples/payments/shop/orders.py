"""Read the JSON bodies of the API; a bad one is answered with 400 and every bad field.

No answer repeats a value: bodies hold what people pay for.
"""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
from django.http import JsonResponse
from record import Payment

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

_MAX_BODY_BYTES = 64 * 1024


class Order(Payment):
    """A payment and the id that the shop gave it."""

    id: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    at: pydantic.AwareDatetime


class Outcome(pydantic.BaseModel):
    """What became of a payment."""

    model_config = pydantic.ConfigDict(extra="forbid")

    fraud: bool


def reads(
    kind: type[pydantic.BaseModel], name: str
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Decorate a view: it is called with the body, read as a *kind*, in its keyword *name*."""

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @functools.wraps(view)
        def read(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            # The API takes no cookie, so there is no session that another site could ride on. It
            # takes only JSON, which a browser does not send to another site without asking first.
            if request.content_type != "application/json":
                status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
                return refusal(status, "expected Content-Type: application/json")
            try:
                body = kind.model_validate_json(request.body, strict=True)
            except pydantic.ValidationError as error:
                return refusal(HTTPStatus.BAD_REQUEST, f"no valid {name}", _fields(error))
            return view(request, *args, **{name: body}, **kwargs)

        return read

    return decorate


def refusal(status: HTTPStatus, error: str, fields: dict[str, str] | None = None) -> JsonResponse:
    """Answer with *error* and what is wrong with each field."""
    return JsonResponse({"error": error, "fields": fields or {}}, status=status)


def _fields(error: pydantic.ValidationError) -> dict[str, str]:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return {".".join(map(str, p["loc"])) or "body": p["msg"] for p in problems}
