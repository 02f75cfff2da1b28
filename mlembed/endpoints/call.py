"""What a handler is given: the request, what its path names, and what the endpoints have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mlembed.endpoints.models import find
from mlembed.endpoints.reading import check_names, check_size, check_type, read_object
from mlembed.endpoints.steps import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping

    from mlembed.endpoints.limits import Limits, Throttle
    from mlembed.endpoints.messages import Request
    from mlembed.endpoints.steps import Step
    from mlembed.serving.model import Model

INLINE_BYTES = 32 * 1024  # a body that is read within a millisecond

T = TypeVar("T")


class Call(NamedTuple):
    """One request on its way.

    Attributes:
        request: The request.
        models: All models.
        limits: What a request may hold.
        throttle: Counts the requests of clients; None for no throttle.
        name: The model that the path names; empty where it names none.
        version: The version that it names, or None.
    """

    request: Request
    models: Mapping[str, Model]
    limits: Limits
    throttle: Throttle | None
    name: str = ""
    version: str | None = None

    def model(self) -> Model:
        """Return the model that the path names.

        Raises:
            Problem: If there is none of this name.
        """
        return find(self.models, self.name)

    def asked(self) -> Model:
        """Return the model that the path names, for a request that counts and has a body.

        Raises:
            Problem: If there is no such model, the client asks too often, or the body is too large.
        """
        model = self.model()
        if self.throttle is not None:
            self.throttle.take(self.request.client, self.name)
        check_size(self.request, self.limits.max_bytes)
        return model

    def body(self, known: Collection[str]) -> Generator[Step, Any, dict[str, Any]]:
        """Return the JSON object of the body, which has none but the *known* names.

        Raises:
            Problem: If it is anything else.
        """
        check_type(self.request)
        body = yield from self.read(lambda: read_object(self.request.body, self.limits.max_bytes))
        check_names(body, known, "The body")
        return body

    def read(self, reader: Callable[[], T]) -> Generator[Step, Any, T]:
        """Return what *reader* makes of the body; a long one must not hold up an event loop."""
        if len(self.request.body) <= INLINE_BYTES:
            return reader()
        made: T = yield Work(reader)
        return made
