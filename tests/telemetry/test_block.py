"""Plain predictions wait as numbers, are logged as any other, and none is lost uncounted."""

from __future__ import annotations

import json
import math
import struct
import threading
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from bundles import RECORD
from mlembed.columns import Column
from mlembed.telemetry.block import CLOSED, MAX_SLOTS, Block, n_slots
from mlembed.telemetry.events import Entry
from mlembed.telemetry.ids import SEQUENCE
from mlembed.telemetry.lines import prediction_record, slot_records
from mlembed.telemetry.recorder import recorder_for
from processes import run_script
from serving.logs import attributes_of, events, read_lines
from telemetry.entries import LEAST_ROOM, SOURCE, TIME_NS, source_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import mlembed
    from mlembed.registry.file import FileRegistry
    from mlembed.telemetry.source import Source

N_COLUMNS = SOURCE.n_columns


class Owner:
    """Who predicts."""

    def __init__(self) -> None:
        self.block = CLOSED


def write(block: Block, source: Source, row: list[float], score: float, **given: Any) -> None:
    """Write one prediction as `Model.predict` does."""
    cells = bytearray(struct.pack(f"={len(row)}d", *row))
    time_ns, latency = given.get("time_ns", TIME_NS), given.get("latency_ns", 1_234)
    source.pack(block.cells, block.n * source.slot_bytes, cells, score, time_ns, latency)
    if given.get("key") is not None:
        block.keys[block.n] = given["key"]
    if given.get("unknown"):
        block.unknown[block.n] = given["unknown"]
    block.n += 1


ANY = st.floats(allow_nan=True, allow_infinity=True, width=64)
PREDICTIONS = st.tuples(
    st.lists(ANY, min_size=N_COLUMNS, max_size=N_COLUMNS),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 2**62),
    st.integers(0, 2**40),
    st.none() | st.text(max_size=64),
    st.none() | st.fixed_dictionaries({"town": st.text(max_size=64)}),
)


@given(predictions=st.lists(PREDICTIONS, min_size=1, max_size=20), cut=st.integers(0, 20))
def test_slots_are_logged_as_the_calls_they_stand_for(predictions: list[Any], cut: int) -> None:
    """Hundreds written with one join mean what each of them means alone, whenever they are read."""
    owner = Owner()
    owner.block = block = Block(SOURCE, lambda: owner, MAX_SLOTS, SEQUENCE.next())
    found: list[Any] = []
    expected: list[Any] = []
    for some in (predictions[:cut], predictions[cut:]):
        for row, score, time_ns, latency_ns, key, unknown in some:
            moments = {"time_ns": time_ns, "latency_ns": latency_ns}
            write(block, SOURCE, row, score, **moments, key=key, unknown=unknown)
        slots = block.take()
        if slots.start < slots.stop:
            found += json.loads(b"[" + slot_records(slots).data + b"]")
            expected += [json.loads(prediction_record(Entry(*call)).data) for call in slots.calls()]

    assert found == expected
    ids = [attributes_of(record)["mlembed.prediction.id"] for record in found]
    assert len(set(ids)) == len(predictions)


def test_a_block_is_left_when_it_is_full_or_its_owner_is_gone() -> None:
    """Only then may the writer let go of it."""
    owner = Owner()
    block = Block(SOURCE, lambda: owner, 2, SEQUENCE.next())
    assert block.is_left
    owner.block = block
    assert not block.is_left
    write(block, SOURCE, [0.0] * N_COLUMNS, 0.5)
    write(block, SOURCE, [0.0] * N_COLUMNS, 0.5)
    assert block.is_left
    assert Block(SOURCE, lambda: None, 2, SEQUENCE.next()).is_left


def test_blocks_are_a_small_part_of_the_room() -> None:
    """A bundle of many columns has few slots, and any has one."""
    wide = source_of([Column(name=f"x{i}", kind="number") for i in range(5_000)])

    assert n_slots(SOURCE, 32 * 1024 * 1024) == MAX_SLOTS
    assert n_slots(SOURCE, LEAST_ROOM) * SOURCE.slot_bytes <= LEAST_ROOM / 32
    assert n_slots(wide, LEAST_ROOM) == 1


def test_threads_that_end_leave_nothing_behind(model: mlembed.Model) -> None:
    """What a thread predicted just before its end is written, each with an id of its own."""
    answers: list[mlembed.Prediction] = []

    def predict() -> None:
        answers.extend(model.predict(RECORD | {"visits": i}, key=str(i)) for i in range(3))

    for _ in range(20):
        thread = threading.Thread(target=predict)
        thread.start()
        thread.join()
    assert model.flush()

    found = events(model.settings.log_dir)
    assert {event["mlembed.prediction.id"] for event in found} == {answer.id for answer in answers}
    assert len(found) == 60
    assert model._recorder is not None
    assert not model._recorder.blocks
    for answer, event in zip(answers, sorted(found, key=_id), strict=True):
        assert event["mlembed.prediction.key"] == answer.key
        assert math.isclose(event["mlembed.prediction.score"], answer.score)


def test_memory_that_waits_is_counted_right(small: mlembed.Model) -> None:
    """Whether a thread ends with its block full or goes on: once all is written, nothing waits."""
    recorder = recorder_for(small.settings)

    def predict(n: int) -> None:
        for _ in range(n):
            small.predict(RECORD)

    size = n_slots(small._handle.ready().source, LEAST_ROOM)
    for n in (size, size + 1, 3 * size):
        thread = threading.Thread(target=predict, args=(n,))
        thread.start()
        thread.join()
        assert small.flush()
        predict(n)
        assert small.flush()
    predict(1)
    assert small.flush()

    (block,) = recorder.blocks  # this thread's, and nothing else
    assert recorder.waiting_bytes == block.n_bytes


def test_texts_in_a_block_are_counted(small: mlembed.Model) -> None:
    """Keys and strange words of a block take room, from when it is full to when it is written."""
    recorder = recorder_for(small.settings)
    size = n_slots(small._handle.ready().source, LEAST_ROOM)
    with recorder._writing:  # nothing is taken out meanwhile
        small.predict(RECORD)
        (plain,) = recorder.blocks
        empty = plain.n_bytes
        for i in range(1, size):
            small.predict(RECORD | {"town": f"{i:032}"}, key=f"{i:032}")
        small.predict(RECORD)
        full, _ = recorder.blocks

        assert recorder.waiting_bytes == full.n_bytes + empty
        assert full.n_bytes - empty >= (size - 1) * 2 * 32
    assert small.flush()
    assert recorder.waiting_bytes == empty
    *_, last, _plain = events(small.settings.log_dir)
    assert last["mlembed.payload.unknown"] == json.dumps({"town": {"0": f"{size - 1:032}"}})


def test_long_strange_words_are_bounded_too(small: mlembed.Model) -> None:
    """While nothing is written they fill the room as numbers do, and what is lost is counted."""
    recorder = recorder_for(small.settings)
    with recorder._writing:  # nothing is taken out meanwhile
        for i in range(1_000):
            small.predict(RECORD | {"town": f"{i:0300}"})
            assert recorder.waiting_bytes <= LEAST_ROOM * 1.02
        (*_, last) = recorder.blocks
        assert sum(block.n_bytes for block in recorder.blocks) <= LEAST_ROOM
        assert last.room == 0
    assert small.flush()
    written = events(small.settings.log_dir)
    assert len(written) + sum(small.lost.values()) == 1_000
    towns = [json.loads(event["mlembed.payload.unknown"])["town"]["0"] for event in written]
    assert towns[:3] == [f"{i:0300}"[:256] for i in range(3)]
    assert recorder.waiting_bytes < LEAST_ROOM / 32


def _id(event: dict[str, Any]) -> str:
    text: str = event["mlembed.prediction.id"]
    return text


def test_a_stuck_disk_costs_records_each_counted_and_no_memory(
    small: mlembed.Model, stuck: Callable[[], bytes]
) -> None:
    """From many threads at once: what is written and what is lost are all there were."""
    recorder = recorder_for(small.settings)
    small.predict(RECORD)
    assert not small.flush(0.05)
    n, threads = 3_000, 4

    def predict() -> None:
        for _ in range(n):
            assert small.predict(RECORD).reason == "ok"

    workers = [threading.Thread(target=predict) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lost = sum(small.lost.values())
    waiting = sum(block.n_bytes for block in recorder.blocks)

    assert recorder._sinks
    assert waiting <= LEAST_ROOM + threads * LEAST_ROOM / 64
    assert small.lost["queue_full"] > n
    assert len(read_lines(stuck())) + sum(small.lost.values()) == n * threads + 1
    assert sum(small.lost.values()) == lost  # counted when they were lost, not when it was read


def test_room_that_comes_back_is_used_at_once(
    small: mlembed.Model, stuck: Callable[[], bytes]
) -> None:
    """The first prediction after the disk came back is kept."""
    small.predict(RECORD)
    assert not small.flush(0.05)
    for _ in range(3_000):
        small.predict(RECORD)
    before = small.lost
    written = len(read_lines(stuck()))

    assert small.predict(RECORD).reason == "ok"

    recorder = recorder_for(small.settings)
    assert small.lost == before
    assert sum(block.n - block.read for block in recorder.blocks) == 1
    assert written + sum(before.values()) == 3_001


def test_a_child_forked_amid_losses_counts_its_own(registry: FileRegistry, tmp_path: Any) -> None:
    """What fell into the parent's sink is the parent's loss; the child logs from its first call."""
    written = run_script(
        """
        import dataclasses, os, pathlib, sys
        import mlembed
        from bundles import RECORD
        from mlembed.settings import Settings
        from mlembed.telemetry.recorder import recorder_for

        root, log = sys.argv[1:]
        settings = Settings(log_dir=pathlib.Path(log), queue_bytes=65_536, flush_seconds=600)
        model = mlembed.load("toy", registry=root, settings=settings)
        model.predict(RECORD)
        recorder = recorder_for(settings)

        class Forking:
            def __getattr__(self, name):
                global child
                if name == "age":
                    child = os.fork()
                return RECORD[name]

        with recorder._writing:  # nothing is taken out meanwhile
            for _ in range(3_010):
                model.predict(RECORD)
            model.predict(Forking())  # which goes on in both
        if child == 0:
            for _ in range(5):
                model.predict(RECORD, key="child")
            assert model.flush(20)
            assert model.lost == {}, model.lost
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert model.flush(20)
        assert model.lost["queue_full"] > 1_000
        print(3_012 - sum(model.lost.values()))
        model.close()
        """,
        registry.root,
        tmp_path / "log",
    )
    keys = [event.get("mlembed.prediction.key") for event in events(tmp_path / "log")]
    assert keys.count("child") == 5
    assert len(keys) - 6 == int(written)
