"""Real servers on loopback, in threads of the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import uvicorn
from fastapi import FastAPI
from flask import Flask
from werkzeug.serving import make_server

import mlembed_fastapi
import mlembed_flask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.endpoints import Endpoints

MOUNT = "/ml"
_SECONDS = 10.0


def fastapi_app(endpoints: Endpoints) -> FastAPI:
    """Return a FastAPI application with *endpoints* below the mount."""
    app = FastAPI()
    app.include_router(mlembed_fastapi.router(endpoints), prefix=MOUNT)
    return app


def flask_app(endpoints: Endpoints) -> Flask:
    """Return a Flask application with *endpoints* below the mount."""
    app = Flask("host")
    app.register_blueprint(mlembed_flask.blueprint(endpoints), url_prefix=MOUNT)
    return app


@contextlib.contextmanager
def uvicorned(app: Any) -> Iterator[int]:
    """Serve an ASGI application; yield the port."""
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    deadline = time.monotonic() + _SECONDS
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(_SECONDS)
        listener.close()


@contextlib.contextmanager
def werkzeuged(app: Any) -> Iterator[int]:
    """Serve a WSGI application; yield the port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(_SECONDS)
        server.server_close()


@contextlib.contextmanager
def serving(framework: str, endpoints: Endpoints) -> Iterator[int]:
    """Serve *endpoints* by a framework's own server; yield the port."""
    if framework == "fastapi":
        with uvicorned(fastapi_app(endpoints)) as port:
            yield port
    else:
        with werkzeuged(flask_app(endpoints)) as port:
            yield port
