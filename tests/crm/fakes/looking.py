"""Read changes as those do who read outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlembed_crm.truths import Found, Readable, Truth


def look(source: Readable, truth: Truth, cursor: str = "") -> tuple[list[Found], str, int]:
    """Read to the end of a look; return the outcomes, the cursor, and how many pages it took."""
    found: list[Found] = []
    for pages in range(1, 100):
        page = source.changes(truth, cursor)
        found += page.found
        cursor = page.cursor
        if not page.more:
            return found, cursor, pages
    raise AssertionError("it goes on for ever")
