"""A turn is one holder's at a time, and free again however that holder ends."""

from __future__ import annotations

import threading
import time

from mlembed.serving.turn import Holder, Turn


def test_turn_is_one_holders() -> None:
    """Whoever comes while another has it waits as long as told, and no longer."""
    turn, first, second = Turn(), Holder(), Holder()

    assert turn.take(first, 0.0)
    assert not turn.take(second, 0.01)
    turn.give_back(second)
    assert not turn.take(second, 0.0)
    turn.give_back(first)
    assert turn.take(second, 0.0)


def test_turn_is_waited_for() -> None:
    """Who waits has it as soon as it is given back."""
    turn, first = Turn(), Holder()
    turn.take(first, 0.0)
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(turn.take(Holder(), 60)))
    thread.start()
    time.sleep(0.01)
    assert not taken

    turn.give_back(first)
    thread.join()

    assert taken == [True]


def test_turn_ends_with_the_call_that_had_it() -> None:
    """A call that an exception ended before it could give the turn back has it no more."""
    turn = Turn()

    def interrupted() -> None:
        mine = Holder()
        assert turn.take(mine, 0.0)
        raise KeyboardInterrupt

    try:
        interrupted()
    except KeyboardInterrupt:
        assert turn._holder is not None

    assert turn.take(Holder(), 0.0)


def test_many_threads_take_turns() -> None:
    """What is done in a turn is never done twice at once."""
    turn, inside, most = Turn(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            mine = Holder()
            assert turn.take(mine, 60)
            inside += 1
            most = max(most, inside)
            time.sleep(0.0001)
            inside -= 1
            turn.give_back(mine)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1
