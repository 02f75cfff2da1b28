"""Connections are kept, shared by threads, left by forked children, and closed in the end."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import itertools
import json
import time
from typing import TYPE_CHECKING

import pytest

from mlembed.errors import RegistryError
from mlembed.registry.http.transport import Transport
from processes import run_script
from registry.hostile import Answer, Server, redirect
from registry.wires import Wire, cut

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/v2/toy/manifests/champion"


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a running server."""
    with Server() as running:
        yield running


@pytest.fixture
def transport(server: Server) -> Iterator[Transport]:
    """Return a transport to it, with short patience."""
    made = Transport(server.url, timeout_seconds=1.0, deadline_seconds=2.0)
    yield made
    made.close()


def test_get_keeps_one_connection(server: Server, transport: Transport) -> None:
    """Calls that follow each other go through one connection, redirects included."""
    server.routes |= {PATH: Answer(body=b"x"), "/away": redirect(PATH)}

    for path in (PATH, "/away", PATH, PATH):
        transport.get(path, max_bytes=1)
    transport.send("POST", PATH)
    transport.get(PATH, max_bytes=1)

    assert [asked.connection for asked in server.asked] == [1, 1, 1, 1, 1, 2, 2]


def test_get_does_not_read_a_long_farewell(server: Server, transport: Transport) -> None:
    """A redirect with a large body is left at once, and its connection with it."""
    endless = itertools.repeat(bytes(64 * 1024))
    server.routes |= {
        PATH: Answer(body=b"x"),
        "/away": Answer(302, {"Location": PATH}, endless),
    }

    assert transport.get("/away", max_bytes=1).body == b"x"
    assert server.connections == 2


def test_get_leaves_the_connections_of_another_process(
    server: Server, transport: Transport
) -> None:
    """What was connected before a fork is closed, not used."""
    server.routes[PATH] = Answer(body=b"x")
    transport.get(PATH, max_bytes=1)
    for connection in transport._connections._idle:
        connection._pid += 1

    assert transport.get(PATH, max_bytes=1).body == b"x"
    assert server.connections == 2
    assert len(transport._connections._idle) == 1


def test_get_survives_a_server_that_hung_up_meanwhile(server: Server) -> None:
    """A kept connection that the server has closed, or cuts when used, does no harm."""
    server.routes[PATH] = Answer(body=b"x")
    with Wire(server, cut(len(b"HTTP/1.1 200 OK") + 1_000), cut(0)) as wire:
        transport = Transport(wire.url)
        for _ in range(20):
            assert transport.get(PATH, max_bytes=1).body == b"x"
        transport.close()


def test_transport_serves_many_threads(server: Server, transport: Transport) -> None:
    """Eight threads at once each get their own answers, and keep a few connections."""
    server.routes |= {
        f"/{n}": Answer(body=str(n).encode() * 1000, pause_seconds=0.002) for n in range(8)
    }

    def ask(n: int) -> set[bytes]:
        return {transport.get(f"/{n}", max_bytes=1000).body for _ in range(25)}

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [{str(n).encode() * 1000} for n in range(8)]
    assert len(server.asked) == 200
    assert server.connections <= 16


def test_transport_lives_on_in_a_forked_child(server: Server) -> None:
    """Parent and child each ask over a connection of their own, and get their own answers."""
    server.routes |= {name: Answer(body=name.encode()) for name in ("/parent", "/child")}
    script = """
    import json, os, sys
    from mlembed.registry.http.transport import Transport

    transport = Transport(sys.argv[1])
    said = [transport.get("/parent", max_bytes=99).body.decode()]
    for _ in range(2):
        if os.fork() == 0:
            for _ in range(3):
                assert transport.get("/child", max_bytes=99).body == b"/child"
            transport.close()
            os._exit(0)
    said += [transport.get("/parent", max_bytes=99).body.decode() for _ in range(3)]
    for _ in range(2):
        assert os.wait()[1] == 0
    said += [transport.get("/parent", max_bytes=99).body.decode()]
    transport.close()
    print(json.dumps(said))
    """

    said = json.loads(run_script(script, server.url))

    assert said == ["/parent"] * 5
    used: dict[str, set[int]] = {"/parent": set(), "/child": set()}
    for asked in server.asked:
        used[asked.path].add(asked.connection)
    assert (len(used["/parent"]), len(used["/child"])) == (1, 2)
    assert not used["/parent"] & used["/child"]


def test_close_ends_every_connection(server: Server, transport: Transport) -> None:
    """After it nothing is asked; a call that is under way ends, and leaves no connection."""
    server.routes |= {PATH: Answer(body=b"x"), "/slow": Answer(body=b"y", pause_seconds=0.2)}
    transport.get(PATH, max_bytes=1)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(transport.get, "/slow", max_bytes=1)
        while not any(asked.path == "/slow" for asked in server.asked):
            time.sleep(0.001)
        transport.close()
        assert slow.result().body == b"y"

    assert not transport._connections._idle
    with pytest.raises(RegistryError, match="was closed"):
        transport.get(PATH, max_bytes=1)


def test_transport_closes_what_it_is_let_go_with(server: Server) -> None:
    """A transport that nobody closes warns of no open socket, which would fail this test."""
    server.routes[PATH] = Answer(body=b"x")

    assert Transport(server.url).get(PATH, max_bytes=1).body == b"x"
    gc.collect()


def test_transport_keeps_few_connections(transport: Transport) -> None:
    """A server that redirects to ever new ones does not fill the process's table of files."""
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            server = stack.enter_context(Server())
            server.routes["/"] = Answer(body=b"x")
            transport.get(f"{server.url}/", max_bytes=1)

        assert len(transport._connections._idle) == 8
