"""Where a host runs out of files, memory, threads or time, it gets answers, and losses are counted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlembed.monitoring.log import read_log
from processes import run_script
from serving.logs import whole

if TYPE_CHECKING:
    from pathlib import Path


START = """
    import json, os, resource, shutil, sys, threading
    from pathlib import Path
    import numpy as np
    import mlembed

    folder = Path(sys.argv[1])
    record = json.loads((folder / "record.json").read_text())

    def load(ref="toy", timeout_ms=None, **rest):
        rest = {"poll_seconds": 0, "flush_seconds": 600} | rest
        settings = mlembed.Settings(log_dir=folder / "log", **rest)
        return mlembed.load(
            ref, registry=folder / "registry", settings=settings, timeout_ms=timeout_ms
        )
"""


def test_no_file_is_to_be_had(folder: Path) -> None:
    """Predictions go on, their records are counted as lost, and all is well once files are free."""
    script = f"""{START}
    model = load()
    expected = model.predict(record).score
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    assert {{model.predict(record).score for _ in range(299)}} == {{expected}}
    assert model.flush(30)
    assert model.lost == {{"store_OSError": 300}}, model.lost
    assert not model.refresh() and model.state == "STALE"
    for descriptor in taken:
        os.close(descriptor)
    assert not model.refresh() and model.state == "READY"
    ids = [model.predict(record).id for _ in range(200)]
    assert model.flush(30) and model.lost == {{"store_OSError": 300}}
    print(json.dumps(ids))
    """

    ids = json.loads(run_script(script, folder))

    assert sorted(whole(folder).ids) == sorted(ids)


def test_no_memory_is_to_be_had(folder: Path) -> None:
    """A table too large for the memory is an error of ours; records are answered before and after."""
    script = f"""{START}
    model, graph = load(), load("graph", breaker_failures=0)
    expected = model.predict(record).score
    graph.predict({{"x": 1.0}})
    table = {{"x": np.broadcast_to(1.0, 40_000_000)}}
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2**26
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    for _ in range(5):
        try:
            graph.predict_batch(table)
        except mlembed.errors.InferenceError as error:
            print(type(error.__cause__).__name__)
        assert model.predict(record).score == expected
    assert model.flush(30)
    assert not model.lost, model.lost
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    assert graph.predict_batch({{"x": [2.0, 2.0]}}).scores.tolist() == [2.0, 2.0]
    """

    causes = run_script(script, folder).split()

    assert len(causes) == 5
    assert all("MemoryError" in cause for cause in causes)
    assert len(whole(folder)) == 6
    assert whole(folder, "graph").reason.tolist() == ["ok", *["error"] * 5, "ok", "ok"]


def test_no_thread_is_to_be_had(folder: Path) -> None:
    """Without one for the log, the looks at the registry or the limit of a run, answers are right."""
    script = f"""{START}
    def refuse(thread):
        raise RuntimeError("can't start new thread")
    start, threading.Thread.start = threading.Thread.start, refuse
    model = load(poll_seconds=0.01)
    graph = load("graph", timeout_ms=60_000, poll_seconds=0.01)
    first = model.predict(record)
    assert graph.predict({{"x": 50.0}}).score == 50.0
    assert graph.predict_batch({{"x": [2.0, 2.0]}}).scores.tolist() == [2.0, 2.0]
    assert (model.state, graph.state, threading.active_count()) == ("READY", "READY", 1)
    assert model.flush(30) and model.flush(30)
    threading.Thread.start = start
    assert not model.refresh()
    assert model.predict(record).score == first.score
    print([thread.name for thread in threading.enumerate() if "refresh" in thread.name])
    """

    assert run_script(script, folder) == "['mlembed-refresh-toy']\n"
    assert len(whole(folder)) == 2
    assert len(whole(folder, "graph")) == 3


def test_threads_that_change_at_every_instruction(folder: Path) -> None:
    """However threads alternate, what is written and what is lost are all that was predicted."""
    script = f"""{START}
    model = load(queue_bytes=65_536, flush_seconds=0.001)
    expected, wrong = model.predict(record).score, []
    sys.setswitchinterval(1e-6)

    def work(number):
        for turn in range(300):
            if model.predict(record, key=None if turn % 3 else "k" * turn).score != expected:
                wrong.append(number)

    for _ in range(3):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
    assert model.flush(30)
    print(sum(model.lost.values()))
    """

    lost = int(run_script(script, folder))

    log = whole(folder)
    assert len(log) + lost == 1 + 3 * 6 * 300
    assert len(set(log.score)) == 1


def test_log_that_is_taken_away_begins_anew(folder: Path) -> None:
    """Who removes the log of a running host loses what was in it and nothing that comes after."""
    script = f"""{START}
    model = load()
    for _ in range(3):
        ids = [model.predict(record).id for _ in range(100)]
        assert model.flush(30)
        kept = folder / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        (folder / "log").rename(kept)
    ids += [model.predict(record).id for _ in range(100)]
    assert model.flush(30) and not model.lost
    print(json.dumps(ids))
    """

    ids = json.loads(run_script(script, folder))

    assert sorted(whole(folder).ids) == sorted(ids[100:])
    assert sorted(read_log(folder / "kept", "toy").ids) == sorted(ids[:100])
