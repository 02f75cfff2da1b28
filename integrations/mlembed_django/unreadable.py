"""Stand for a record that cannot be made, so that the model says which field is to blame.

Where the host asked for a fallback, what its own functions and properties raise is no error of the
call: the record is refused like any other that does not fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed_django.sources import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class UnreadableFieldError(RuntimeError):
    """A field of the record is read on an attribute that is not there."""


class UnlistedFieldError(LookupError):
    """Rows of `values()` lack what a field of the record is read from."""


class Unreadable:
    """A record whose fields are read again where they are asked for; what failed fails again.

    Args:
        getters: What reads each field.
        row: On what.
    """

    __slots__ = ("_getters", "_row")

    def __init__(self, getters: Mapping[str, Callable[[Any], Any]], row: Any) -> None:
        self._getters = getters
        self._row = row

    def __getattr__(self, name: str) -> Any:
        if name not in self._getters:
            raise AttributeError(name)
        try:
            return plain(self._getters[name](self._row))
        except AttributeError as error:
            # As it is it would say that the field is missing, which a model may allow.
            raise UnreadableFieldError(name) from error


def unlisted(_row: Any) -> Any:
    """Refuse to read a field that the rows do not hold.

    Raises:
        UnlistedFieldError: Always.
    """
    raise UnlistedFieldError
