"""Behind real servers every worker answers, reloads and ends, and the log has every answer."""

from __future__ import annotations

import contextlib
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from bundles import RECORD, toy_bundle
from mlembed.monitoring.log import read_log
from registry.authority import Authority
from registry.site import Site
from serving.logs import events, wait_until
from serving.servers import GUNICORN, ROOT, UVICORN, UWSGI, are_idle, ask, end, port_of, server

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.file import FileRegistry
SITE = "serving.site:application"


@pytest.fixture
def folder(registry: FileRegistry, tmp_path: Path) -> Path:
    """Return the folder of the site, with its registry and its record."""
    del registry
    (tmp_path / "record.json").write_text(json.dumps(RECORD, default=str))
    return tmp_path


PRELOADED = {
    "gunicorn": (*GUNICORN, "--preload", "--workers", "2", SITE),
    "uwsgi": (*UWSGI, "--master", "--module", SITE),
    "uwsgi with hooks": (*UWSGI, "--master", "--py-call-uwsgi-fork-hooks", "--module", SITE),
}


def followed(port: int, registry: FileRegistry) -> list[dict[str, Any]]:
    """Return answers in which both workers serve one version, and then the one that is promoted."""
    answers: list[dict[str, Any]] = []

    def seen(version: str) -> set[int]:
        answers.append(ask(port))
        return {answer["pid"] for answer in answers if answer["version"] == version}

    wait_until(lambda: len(seen("1.0.0")) == 2, "an answer of each worker")
    registry.promote("toy", "champion", "1.1.0")
    wait_until(lambda: len(seen("1.1.0")) == 2, "the new version in each worker")
    return answers


def logged(folder: Path) -> set[str]:
    """Return the ids that the log holds."""
    return {event["mlembed.prediction.id"] for event in events(folder / "log")}


@pytest.mark.parametrize("remote", [False, True], ids=["directory", "https"])
@pytest.mark.parametrize("name", PRELOADED)
def test_preloaded_workers_serve_follow_and_exit(
    registry: FileRegistry,
    folder: Path,
    name: str,
    remote: bool,  # noqa: FBT001  a parameter
) -> None:
    """Both forks of a loaded application answer, follow a promotion, and end when told to."""
    registry.publish(toy_bundle(version="1.1.0", shift=1.0))
    authority = Authority(folder)
    environment = {}
    with contextlib.ExitStack() as stack:
        if remote:
            site = stack.enter_context(Site(registry.root, authority.context()))
            environment["TOY_REGISTRY"] = site.url
            environment["TOY_CA_FILE"] = str(authority.ca_file)
        stats = ("--stats", str(folder / "stats")) if name.startswith("uwsgi") else ()
        process = stack.enter_context(server(folder, *PRELOADED[name], *stats, **environment))
        answers = followed(port_of(process), registry)
        if stats:  # a worker that it ends in a request skips Python's exit
            wait_until(lambda: are_idle(folder / "stats"), "the end of the last request")
        code = end(process)

    ids = [answer["id"] for answer in answers]
    assert code == 0
    assert len(set(ids)) == len(ids)
    assert set(ids) <= logged(folder)
    assert {answer["reason"] for answer in answers} == {"ok"}


def test_workers_of_uwsgi_without_a_master_follow_and_log(
    registry: FileRegistry, folder: Path
) -> None:
    """Where nobody ends the second worker, what it answers is written while it lives."""
    registry.publish(toy_bundle(version="1.1.0", shift=1.0))
    with server(folder, *UWSGI, "--module", SITE) as process:
        answers = followed(port_of(process), registry)
        ids = [answer["id"] for answer in answers]
        wait_until(lambda: set(ids) <= logged(folder), "all answers in the log")

    assert len(set(ids)) == len(ids)


def asked(port: int, n: int) -> list[dict[str, Any]]:
    """Return the answers to *n* requests, eight at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: ask(port), range(n)))


def all_logged(folder: Path, answers: list[dict[str, Any]]) -> None:
    """Check that each answer is there once, in a log of which every line is whole."""
    log = read_log(folder / "log", "toy")
    assert (log.torn, log.unreadable, log.repeated) == (0, 0, 0)
    assert {answer["id"] for answer in answers} <= set(log.ids)
    assert len({answer["id"] for answer in answers}) == len(answers)
    assert {(answer["reason"], answer["score"]) for answer in answers} == {("ok", log.score[0])}


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["plain", "preloaded"])
def test_threads_of_workers_share_a_model(folder: Path, preload: tuple[str, ...]) -> None:
    """Eight requests at once, in four threads of two workers, are answered and logged."""
    threads = ("--workers", "2", "--threads", "4")
    with server(folder, *GUNICORN, *threads, *preload, SITE) as process:
        answers = asked(port_of(process), 200)
        code = end(process)

    assert code == 0
    all_logged(folder, answers)


@pytest.mark.parametrize("how", ["signal", "file"])
def test_worker_that_is_reloaded_loses_nothing(folder: Path, how: str) -> None:
    """Whether it is told to or its code has changed, the old worker writes what waits as it goes."""
    site = folder / "reloaded.py"
    site.write_text((ROOT / "tests" / "serving" / "site.py").read_text())
    options = ("--reload",) if how == "file" else ()
    with server(folder, *GUNICORN, *options, "reloaded:application") as process:
        port = port_of(process)
        answers = asked(port, 20)
        old = {answer["pid"] for answer in answers}
        if how == "signal":
            process.send_signal(signal.SIGHUP)
        else:
            site.write_text(site.read_text() + "# changed\n")

        def is_new() -> bool:
            answers.append(ask(port))
            return answers[-1]["pid"] not in old

        wait_until(is_new, "an answer of a new worker")
        code = end(process)

    assert code == 0
    all_logged(folder, answers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_uvicorn_that_closes_the_model_loses_nothing(folder: Path, number: signal.Signals) -> None:
    """Uvicorn ends by the signal itself, so its site closes the model when it is told of the end."""
    with server(folder, *UVICORN, "serving.site:asgi") as process:
        answers = asked(port_of(process), 200)
        code = end(process, number)

    assert code in {0, -number}  # it takes SIGINT for a wish of the keyboard
    all_logged(folder, answers)


def test_server_that_is_killed_keeps_all_but_the_last_moment(folder: Path) -> None:
    """A hard stop under load tears no line but the last, and costs nothing that was written."""
    with server(folder, *UVICORN, "serving.site:asgi") as process:
        port = port_of(process)
        answers = asked(port, 50)
        ids = {answer["id"] for answer in answers}
        wait_until(
            lambda: ids <= logged(folder),
            "the write of what is older",
        )
        asked(port, 50)
        code = end(process, signal.SIGKILL)

    log = read_log(folder / "log", "toy")
    assert code == -signal.SIGKILL
    assert ids <= set(log.ids)
    assert (log.unreadable, log.repeated) == (0, 0)
