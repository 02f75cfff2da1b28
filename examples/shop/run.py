"""Start the back office: make what is missing, then serve until Ctrl-C or SIGTERM.

    python examples/shop/run.py [--port 8000] [--customers 2000] [--fresh]

The first start makes up a shop, trains the churn model on its past, publishes it and scores every
customer; later ones find all of it there. Everything lies in `examples/shop/var`. In production
gunicorn or uvicorn serve the site, with `manage.py mlembed_deliver` beside it and
`manage.py mlembed_score backoffice.OpenCustomer` each night.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import django
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.db import connection, connections

SITE = Path(__file__).resolve().parent
MADE = ("shop.sqlite3", "shop.sqlite3-wal", "shop.sqlite3-shm", "histories.csv", "logins.json")
MADE_FOLDERS = ("registry", "predictions")
FEWEST = 200
DELIVERY_SECONDS = 15.0


class RequestHandler(WSGIRequestHandler):
    """Django's handler; answers leave at once."""

    # Head and body of an answer are two writes: with Nagle's algorithm the second would wait for
    # the client's delayed acknowledgement, 40 ms on Linux.
    disable_nagle_algorithm = True


def main() -> None:
    """Prepare what is missing, and serve."""
    parser = argparse.ArgumentParser(description="Start the back office of a coffee roaster.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    parser.add_argument("--customers", type=int, default=2_000, help="of a shop that is made now")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    options = parser.parse_args()
    if options.customers < FEWEST:
        parser.error(f"a model learns from {FEWEST} --customers or more")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backoffice.settings")
    sys.path.insert(0, str(SITE))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    try:
        server = ThreadedWSGIServer((options.host, options.port), RequestHandler)
    except OSError as error:
        sys.exit(f"cannot listen on {options.host}:{options.port}: {error.strerror}")
    django.setup()
    try:
        prepare(options.customers, fresh=options.fresh)
    except KeyboardInterrupt:
        sys.exit("interrupted; the next start goes on, or begins anew with --fresh")
    serve(server, options.host)


def prepare(n_customers: int, *, fresh: bool) -> None:
    """Make database, customers, model and scores, as far as they are missing."""
    from backoffice.models import Customer
    from django.conf import settings

    from mlembed_django.models import Report

    start, var = time.monotonic(), settings.VAR_DIR
    if fresh:
        begin_anew(var)
    step("database")
    call_command("migrate", verbosity=0)
    if not Customer.objects.exists():
        step("a shop with its past")
        call_command("seed", customers=n_customers)
    if not has_champion():
        train(var)
    step("scores")
    call_command("mlembed_score", "backoffice.OpenCustomer", stale=True)
    deliver_once()
    if not Report.objects.exists():
        judge()
    print(f"ready in {time.monotonic() - start:.0f} s", flush=True)


def begin_anew(var: Path) -> None:
    """Remove what earlier starts made, and nothing else."""
    step("begin anew")
    if connection.vendor != "sqlite":
        call_command("migrate", verbosity=0)
        call_command("flush", verbosity=0, interactive=False)
    for name in MADE:
        (var / name).unlink(missing_ok=True)
    for name in MADE_FOLDERS:
        shutil.rmtree(var / name, ignore_errors=True)


def train(var: Path) -> None:
    """Train on the past and publish; in a process of its own, which gives its memory back."""
    from django.conf import settings

    step("train the churn model on the past")
    table = var / "histories.csv"
    call_command("histories", table)
    registry = str(settings.MLEMBED["REGISTRY"])
    command = [sys.executable, "-m", "mlembed", "train", str(SITE / "train.py")]
    done = subprocess.run(  # noqa: S603  our own command line
        [*command, "--data", str(table), "--registry", registry, "--alias", "champion"],
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if done.returncode:
        sys.exit("no model could be trained, for the reason above; begin anew with --fresh")


def deliver_once() -> None:
    """Put on the call list whoever is due."""
    from mlembed_django.conf import site
    from mlembed_django.delivering import delivery_of

    delivered = delivery_of(site()).run_once()
    if delivered.sent:
        print(f"{delivered.sent:,} actions delivered", flush=True)


def judge() -> None:
    """Judge the model by what it answered so far, so that the admin has a first report."""
    from mlembed_django.conf import get_model, site

    step("judge the model by its log")
    get_model("churn").flush()
    journal = site().journal
    if journal is not None:
        journal.flush()
    # It exits with 1 where the model needs a look, which is no reason not to serve.
    command = [sys.executable, str(SITE / "manage.py"), "mlembed_monitor", "churn"]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # noqa: S603  our own command


def has_champion() -> bool:
    """Tell whether a model is published as the champion."""
    from mlembed.errors import MlembedError
    from mlembed.registry.pointer import parse_ref
    from mlembed_django.conf import site
    from mlembed_django.pulling import registry_of

    try:
        registry_of(site().declaration.settings).resolve(parse_ref("churn@champion"))
    except MlembedError:
        return False
    return True


def serve(server: ThreadedWSGIServer, host: str) -> None:
    """Serve and deliver until a signal comes; everything is then written and closed."""
    from backoffice.logins import logins
    from backoffice.wsgi import application
    from django.conf import settings

    from mlembed_django.conf import site

    passwords = logins(settings.VAR_DIR / "logins.json")
    server.set_app(application)
    stop = threading.Event()
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    delivering = threading.Thread(target=deliver, args=(stop,), daemon=True)
    try:
        serving.start()
        delivering.start()
        print(f"http://{host}:{server.server_port}/")
        for name, password in passwords.items():
            print(f"  log in as {name} with {password}")
        print("Ctrl-C ends it", flush=True)
        serving.join()
    except KeyboardInterrupt:
        if serving.is_alive():
            server.shutdown()
    finally:
        server.server_close()
        stop.set()
        delivering.join(DELIVERY_SECONDS)
        site().close()
        connections.close_all()


def deliver(stop: threading.Event) -> None:
    """Deliver what is due until *stop* is set, as `manage.py mlembed_deliver` does."""
    from mlembed_django.conf import site
    from mlembed_django.delivering import delivery_of

    try:
        delivery_of(site()).run_forever(stop)
    finally:
        connections.close_all()


def step(text: str) -> None:
    """Say what is done now."""
    print(f"- {text}", flush=True)


if __name__ == "__main__":
    main()
