"""Run the payments site in one process: migrate, serve, deliver actions, end on SIGTERM.

    python serve.py --port 8000

It prints one JSON line, `{"port": ...}`, when it listens; `--port 0` picks a free port. In
production use gunicorn or uvicorn for the site, and deliver in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler


class RequestHandler(WSGIRequestHandler):
    """Django's handler; answers leave at once."""

    # Head and body of an answer are two writes: with Nagle's algorithm the second would wait for
    # the client's delayed acknowledgement, 40 ms on Linux.
    disable_nagle_algorithm = True


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve(options.host, options.port, stop)


def serve(host: str, port: int, stop: threading.Event) -> None:
    """Serve on *host* and *port* until *stop* is set; everything is then written and closed."""
    from shop.wsgi import application

    call_command("migrate", verbosity=0)
    # They read Django's settings, so they are imported when those are there.
    from shop.actions import start_delivery

    from mlembed_django.conf import site

    server = ThreadedWSGIServer((host, port), RequestHandler)
    server.set_app(application)
    delivery = start_delivery()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(json.dumps({"port": server.server_port}) + "\n")
    sys.stdout.flush()
    stop.wait()
    server.shutdown()
    server.server_close()
    if delivery is not None:
        delivery.close()
    site().close()


if __name__ == "__main__":
    main()
