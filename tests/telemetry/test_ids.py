"""Prediction ids are UUIDs of version 7: unique without coordination, and sorted by time."""

from __future__ import annotations

import json
import threading
import time
import uuid

from hypothesis import given
from hypothesis import strategies as st

from mlembed.telemetry.ids import SEQUENCE, STEP, Sequence, uuid7
from processes import run_script

MILLISECONDS = st.integers(0, 2**48 - 1)
SEQUENCES = st.integers(0, 2**74 - 1)


@given(milliseconds=MILLISECONDS, sequence=SEQUENCES)
def test_uuid7_follows_rfc_9562(milliseconds: int, sequence: int) -> None:
    """The text is a UUID of version 7 and variant 10 that holds its time and its 74 bits."""
    text = uuid7(milliseconds, sequence)

    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == milliseconds
    assert (parsed.int >> 64 & 0xFFF) << 62 | parsed.int & (2**62 - 1) == sequence


def test_uuid7_equals_the_example_of_the_rfc() -> None:
    """Appendix A.6 of RFC 9562 gives this id for this time and these random bits."""
    sequence = 0xCC3 << 62 | 0x18C4DC0C0C07398F

    assert uuid7(0x017F22E279B0, sequence) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(
    a=st.tuples(MILLISECONDS, SEQUENCES),
    b=st.tuples(MILLISECONDS, SEQUENCES),
)
def test_uuid7_sorts_by_time_then_sequence(a: tuple[int, int], b: tuple[int, int]) -> None:
    """The order of the texts is the order of the moments."""
    assert (uuid7(*a) < uuid7(*b)) == (a < b)


def test_sequence_never_leaves_its_bits() -> None:
    """Counting on from any start keeps the order within a millisecond for good."""
    for _ in range(1_000):
        first = Sequence().next()

        assert 0 <= first < 2**73
    assert [SEQUENCE.next() - SEQUENCE.next() for _ in range(3)] == [-STEP] * 3


def test_ids_are_unique_across_threads() -> None:
    """Threads that predict in the same millisecond never share an id."""
    found: list[list[int]] = [[] for _ in range(8)]

    def draw(mine: list[int]) -> None:
        mine.extend(SEQUENCE.next() for _ in range(20_000))

    threads = [threading.Thread(target=draw, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({number for mine in found for number in mine}) == 160_000
    assert all(mine == sorted(mine) for mine in found)


def test_ids_are_unique_across_forks() -> None:
    """A forked child draws anew, so parent and children never share an id."""
    script = """
    import json, os
    from mlembed.telemetry.ids import SEQUENCE

    SEQUENCE.next()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            os.write(1, (json.dumps([SEQUENCE.next() for _ in range(50)]) + "\\n").encode())
            os._exit(0)
        os.waitpid(child, 0)
    os.write(1, (json.dumps([SEQUENCE.next() for _ in range(50)]) + "\\n").encode())
    """

    drawn = [json.loads(line) for line in run_script(script).splitlines()]

    assert len({number for mine in drawn for number in mine}) == 250


def test_ids_hold_the_time_of_day() -> None:
    """An id says when its prediction was made, to the millisecond."""
    now = time.time_ns() // 1_000_000

    assert uuid.UUID(uuid7(now, SEQUENCE.next())).int >> 80 == now
