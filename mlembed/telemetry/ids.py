"""Make prediction ids: unique across threads, processes and forks, ordered by time."""

from __future__ import annotations

import itertools
import secrets

from mlembed import forking

_SEQUENCE_BITS = 74
STEP = 256  # numbers that whoever draws one may use
_MASK_62 = (1 << 62) - 1
_SCATTER = 0x278DDE6E5FD29F05  # 2**62 over the golden ratio, and odd


class Sequence:
    """Numbers that make ids of the same millisecond differ; drawn anew in a forked child.

    Whoever draws one may use it and the 255 that follow.
    """

    __slots__ = ("next",)

    def __init__(self) -> None:
        self._draw()
        forking.in_child(self._draw)

    def _draw(self) -> None:
        # Half the range, so that counting on from any start never wraps.
        start = secrets.randbits(_SEQUENCE_BITS - 1) // STEP * STEP
        self.next = itertools.count(start, STEP).__next__


def uuid7(milliseconds: int, sequence: int) -> str:
    """Format a UUIDv7 (RFC 9562, section 5.7).

    Args:
        milliseconds: Unix time.
        sequence: 74 bits that make the id unique; what exceeds them is dropped.
    """
    high = (milliseconds & 0xFFFF_FFFF_FFFF) << 16 | 0x7000 | (sequence >> 62) & 0xFFF
    low = 0x8000_0000_0000_0000 | sequence & _MASK_62
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_sampled(sequence: int, halvings: int) -> bool:
    """Tell whether the prediction numbered *sequence* is among the 2**-halvings that are kept.

    Decided by the number alone, scattered so that calls that alternate are sampled alike.
    """
    scattered = (sequence & _MASK_62) * _SCATTER & _MASK_62
    return scattered >> (62 - halvings) == 0


SEQUENCE = Sequence()
