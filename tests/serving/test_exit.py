"""However a host ends or is interrupted, it ends in its own way and what was logged is whole."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from bundles import RECORD
from processes import run_script, start_script
from serving.logs import whole

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


START = """
    import asyncio, atexit, json, os, signal, sys, threading, time
    from pathlib import Path
    import mlembed

    folder = Path(sys.argv[1])
    record = json.loads((folder / "record.json").read_text())
    table = {name: [value] * 2000 for name, value in record.items()}

    def load(ref="toy", flush_seconds=600, **rest):
        settings = mlembed.Settings(
            log_dir=folder / "log", poll_seconds=0, flush_seconds=flush_seconds, breaker_failures=0
        )
        return mlembed.load(ref, registry=folder / "registry", settings=settings, **rest)
"""
CALLS = {
    "one": "model.predict(record)",
    "slow": 'graph.predict({"x": 3e4})',
    "slow, with a limit": 'limited.predict({"x": 3e4})',
    "table": "model.predict_batch(table)",
    "first": "load().predict(record)",
}


def end_of(process: subprocess.Popen[str]) -> str:
    """Return what a process wrote on stderr until its end, within a minute."""
    try:
        return process.communicate(timeout=60)[1]
    finally:
        process.kill()


@pytest.mark.parametrize("call", CALLS)
def test_daemon_threads_predict_while_the_interpreter_ends(folder: Path, call: str) -> None:
    """A thread that is inside the runtime when the host ends does not abort the process."""
    script = f"""{START}
    model, graph, limited = load(), load("graph"), load("graph", timeout_ms=60_000)
    model.predict(record), graph.predict({{"x": 1.0}}), limited.predict({{"x": 1.0}})
    called = threading.Semaphore(0)

    def work():
        while True:
            {CALLS[call]}
            called.release()

    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(4):
        called.acquire()
    """

    with start_script(script, folder) as process:
        errors = end_of(process)

    assert (process.returncode, errors) == (0, "")
    assert len(set(whole(folder).score)) == 1


def test_host_predicts_at_its_end(folder: Path) -> None:
    """What a host registered before it knew mlembed still gets an answer from the ending thread."""
    script = f"""
    import atexit
    atexit.register(lambda: print(model.predict(record).score, len(model.predict_batch(table))))
    {START}
    model = load()
    print(model.predict(record).score)
    """

    before, after = run_script(script, folder).splitlines()

    assert after == f"{before} 2000"


def test_thread_that_the_end_waits_for_gets_an_error(folder: Path) -> None:
    """A thread that the host joins when all else is over is held back, but not for good."""
    script = f"""
    import atexit
    atexit.register(lambda: (over.set(), thread.join(), print(failed)))
    {START}
    from mlembed.serving import ending
    ending._WAIT_SECONDS = 0.05
    model, over, failed = load(), threading.Event(), []

    def work():
        model.predict(record)
        over.wait()
        for call in (model.predict, load().predict, lambda _: model.predict_batch(table)):
            try:
                call(record)
            except mlembed.errors.InferenceError as error:
                failed.append("interpreter is ending" in str(error))

    thread = threading.Thread(target=work, daemon=True)
    model.predict(record)
    thread.start()
    """

    assert run_script(script, folder) == "[True, True, True]\n"


def test_exit_without_an_end_keeps_what_was_flushed(folder: Path) -> None:
    """`os._exit` loses what waits and nothing else."""
    script = f"""{START}
    model = load()
    ids = [model.predict(record).id for _ in range(500)]
    ids += model.predict_batch(table).ids
    assert model.flush(30)
    print(json.dumps(ids), flush=True)
    model.predict(record)
    os._exit(7)
    """

    ids = json.loads(run_script(script, folder, returncode=7))

    assert sorted(whole(folder).ids) == sorted(ids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_that_the_host_turns_into_its_end_loses_nothing(
    folder: Path, number: signal.Signals
) -> None:
    """What waits when a host's handler ends it, as in a server's worker, is written on the way."""
    script = f"""{START}
    signal.signal({int(number)}, lambda *_: sys.exit(3))
    model = load()
    print(json.dumps([model.predict(record, key=str(n)).id for n in range(5000)]), flush=True)
    while True:
        time.sleep(0.01)
    """
    with start_script(script, folder, measured=False) as process:
        assert process.stdout is not None
        ids = json.loads(process.stdout.readline())
        process.send_signal(number)
        errors = end_of(process)

    assert (process.returncode, errors) == (3, "")
    assert sorted(whole(folder).ids) == sorted(ids)
    assert not list((folder / "log").rglob("*.open"))


def test_signal_handlers_stay_the_hosts(folder: Path) -> None:
    """Neither an import nor a prediction takes a signal, its alarm or its wakeup from the host."""
    script = """
    import signal
    def handlers():
        return {number: signal.getsignal(number) for number in signal.valid_signals()}
    before = handlers()
    %s
    model = load(flush_seconds=0.01)
    model.predict(record), model.predict_batch(table), model.flush(), model.close()
    assert handlers() == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.set_wakeup_fd(-1) == -1
    """

    run_script(script % START, folder)


STORM = """
    hits, armed = 0, False

    def handler(*_):
        global armed, hits
        if armed:
            armed, hits = False, hits + 1
            raise Interrupt

    def interrupted(call, *arguments):
        global armed
        try:
            armed = True
            return call(*arguments)
        except (Interrupt, mlembed.errors.InferenceError) as error:
            assert isinstance(error, Interrupt) or isinstance(error.__cause__, Interrupt)
            return None
        finally:
            armed = False

    signal.signal(signal.SIGALRM, handler)
"""


@pytest.mark.parametrize("interrupt", ["KeyboardInterrupt", "SystemExit", "TimeoutError"])
def test_predictions_that_are_interrupted_leave_nothing_corrupt(
    folder: Path, interrupt: str
) -> None:
    """Hundreds of exceptions out of a signal's handler, amid predictions, spoil no later answer."""
    script = f"""{START}
    Interrupt = {interrupt}
    {STORM}
    model, limited = load(flush_seconds=0.001), load("graph", timeout_ms=60_000)
    expected, ids, n = model.predict(record).score, [], 1
    limited.predict({{"x": 3.0}})
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    while hits < 400:
        n += 1
        answer = interrupted(model.predict, record)
        if answer is not None:
            assert answer.score == expected
            ids.append(answer.id)
        if n % 64 == 0:
            interrupted(limited.predict, {{"x": 50.0}})
    signal.setitimer(signal.ITIMER_REAL, 0)
    for _ in range(200):
        ids.append(model.predict(record, key="after").id)
        assert limited.predict({{"x": 3.0}}).score == 3.0
    n += 200
    assert model.flush(30) and not model.lost
    print(json.dumps([expected, n, ids]))
    """

    expected, n, ids = json.loads(run_script(script, folder))

    log = whole(folder)
    found = log.select(log.reason == "ok")
    assert set(ids) <= set(found.ids)
    assert len(ids) < len(log) <= n
    assert set(found.score) == {expected}
    assert found.features["town"].tolist() == [RECORD["town"]] * len(found)


def test_first_load_that_is_interrupted_is_done_again(folder: Path) -> None:
    """An exception amid the first load leaves no lock behind: the next call loads."""
    script = f"""{START}
    Interrupt = KeyboardInterrupt
    {STORM}
    expected = load().predict(record).score
    for number in range(1, 40):
        model = load()
        signal.setitimer(signal.ITIMER_REAL, number * 0.0005)
        interrupted(model.predict, record)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert model.predict(record).score == expected
        assert model.state == "READY"
    assert hits, "no load was interrupted"
    """

    run_script(script, folder)


def test_a_thousand_coroutines_then_the_end(folder: Path) -> None:
    """A thousand predictions awaited at once, cold, from two loops, are answered and logged."""
    script = f"""{START}
    async def ask():
        calls = [model.apredict(record, key=str(n)) for n in range(1000)]
        return [answer.id for answer in await asyncio.gather(*calls)]

    model, ids = load(), []
    other = threading.Thread(target=lambda: ids.extend(asyncio.run(ask())))
    other.start()
    ids += asyncio.run(ask())
    other.join()
    print(json.dumps(ids))
    """

    ids = json.loads(run_script(script, folder))

    log = whole(folder)
    assert len(set(ids)) == 2_000
    assert set(log.ids) == set(ids)
    assert sorted(log.keys) == sorted([*map(str, range(1_000))] * 2)


NS = 1_000_000_000
CLOCKS = {
    "back to the epoch": [1_772_645_400 * NS, 5, 6, 7],
    "backwards": [1_772_645_400 * NS - n for n in range(4)],
    "standing": [1_772_645_400 * NS] * 4,
    "forth and back": [0, 2**62, 1, 2**62 + 1],
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_clock_that_jumps(folder: Path, clock: str) -> None:
    """Whatever the clock says, ids differ, answers stand and the log gives the clock's own times."""
    script = f"""
    import itertools, time
    moments = itertools.cycle({CLOCKS[clock]})
    time.time_ns = lambda: next(moments)
    {START}
    model, told = load(flush_seconds=0.001), []
    for _ in range(200):
        answer = model.predict(record)
        told.append([answer.id, answer.score, answer.time_ns])
    assert model.flush(30) and not model.lost
    print(json.dumps(told))
    """

    told = json.loads(run_script(script, folder))

    log = whole(folder)
    assert len({answer[0] for answer in told}) == 200
    assert len({answer[1] for answer in told}) == 1
    assert sorted(zip(log.ids, log.score, log.time_ns, strict=True)) == sorted(map(tuple, told))


STREAMS = {
    "closed": "sys.stderr.close()",
    "none": "sys.stderr = None",
    "closed below": "os.close(2)",
    "a pipe that nobody reads": "r, w = os.pipe(); os.dup2(w, 2); os.close(r); os.close(w)",
}


@pytest.mark.parametrize("stream", STREAMS)
def test_host_without_stderr(folder: Path, stream: str) -> None:
    """What cannot be told to anybody costs no prediction: hooks, registry and log in trouble."""
    script = f"""{START}
    from mlembed.serving import hooks
    model, pinned = load(fallback=0.5), load("toy@1.0.0")
    model.predict(record)
    assert model.flush()
    hooks.subscribe(lambda _: 1 / 0)
    {STREAMS[stream]}
    assert model.predict(record).reason == "ok"
    (folder / "registry").rename(folder / "gone")
    assert not model.refresh()
    assert model.state == "STALE"
    assert model.predict(record).reason == "ok"
    try:
        pinned.predict(record)
    except mlembed.errors.RegistryError as error:
        print(type(error).__name__)
    """

    name = run_script(script, folder, returncode=0)

    assert name.endswith("Error\n")
    assert set(whole(folder).reason) == {"ok", "error"}
