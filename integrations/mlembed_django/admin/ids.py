"""What people write into a search field: the id of a prediction, or a key."""

from __future__ import annotations

import uuid

from mlembed_django.rows import fitted

_MOST_ROWS = 2**31 - 1


def by_id(term: str) -> tuple[uuid.UUID, int | None] | None:
    """Return the prediction that *term* names: its UUID, and its row after a `/`; or None."""
    event, _, row = term.partition("/")
    try:
        place = int(row) if row else None
        found = uuid.UUID(event)
    except ValueError:
        return None
    return (found, place) if place is None or 0 <= place <= _MOST_ROWS else None


def as_key(term: str) -> str:
    """Return the key *term* as the tables hold it."""
    return fitted(term)
