"""The whole story of a model in one run, in under two minutes.

A shop takes card payments. A model is trained on its history, published, and served inside its
Django process; predictions are logged and blocked payments reported to a risk desk. Halfway the
thieves change their ways. The monitor finds it, a challenger is trained on what was logged, wins,
and serves without a restart.

    python examples/quickstart.py [--keep DIR]

The last line is a JSON object. Nothing is left behind but what `--keep` asks for.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import datetime as dt
import itertools
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

PAYMENTS = Path(__file__).resolve().parent / "payments"
sys.path.insert(0, str(PAYMENTS))

from simulate import START, payments, write_history  # noqa: E402  it lies beside the site

from mlembed_crm import verify  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HISTORY, BEFORE, CHANGED, AFTER = 12_000, 1_000, 2_200, 200
LATE = 200  # payments between one and the news of what became of it
WAIT_SECONDS = 20.0


def main() -> None:
    """Tell the story and end with a JSON line."""
    parser = argparse.ArgumentParser(description="The whole loop in one run.")
    parser.add_argument("--keep", type=Path, help="directory for all that the run writes")
    keep = parser.parse_args().keep
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        result = Story(folder.resolve()).tell()
    print(json.dumps(result))


class Story:
    """One run of the loop, with everything it writes in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = folder / "registry"
        self.log = folder / "predictions"
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        self.environment = {
            **os.environ,
            "ORT_DISABLE_TELEMETRY": "1",
            "MLEMBED_REGISTRY": str(self.registry),
            "MLEMBED_LOG_DIR": str(self.log),
            "MLEMBED_POLL_SECONDS": "0.5",
            "MLEMBED_FLUSH_SECONDS": "0.2",
            "MLEMBED_WEBHOOK_SECRET": self.secret,
            "PAYMENTS_DATABASE": str(folder / "site.sqlite3"),
        }

    def tell(self) -> dict[str, Any]:
        """Run the loop and return what came of it."""
        chapter("Train on history and publish")
        history = self.folder / "history.csv"
        write_history(history, HISTORY, seed=1)
        train = str(PAYMENTS / "train.py")
        first = self.run("train", train, "--data", str(history), "--alias", "champion")
        with risk_desk(self.secret) as desk, self.site(desk.url) as site:
            chapter("Serve in a Django process; outcomes come late")
            shop = Shop(site)
            shop.stream(payments(BEFORE, seed=2, start=START + dt.timedelta(days=20)))
            quiet = self.monitor("before.html")
            chapter("The thieves change their ways")
            late = START + dt.timedelta(days=30)
            shop.stream(payments(CHANGED, seed=3, changed=True, start=late))
            shop.catch_up()
            alarm = self.monitor("after.html")
            chapter("Train a challenger on the log; it must beat the champion")
            verdict = self.run("retrain", "payments", "--trainer", train)
            live = shop.wait_for(verdict["challenger"].partition("@")[2])
            print(f"the site now serves {live}, without a restart")
            late += dt.timedelta(days=5)
            shop.stream(payments(AFTER, seed=4, changed=True, start=late))
            chapter("Actions")
            delivered = desk.wait_for(shop.blocked)
            print(f"{shop.blocked} payments blocked, {delivered} reports at the risk desk")
        for row in self.run("registry", "ls"):
            aliases = ", ".join(row["aliases"]) or "no alias"
            print(
                f"  {row['model']} {row['version']}: {aliases}, {row['metric']} {row['value']:.4f}"
            )
        chapter("The price of it")
        price = self.run("bench", "payments")
        print(f"a logged predict() takes {price['ratio']:.2f} times a bare session.run()")
        return {
            "predictions": shop.answered,
            "versions": dict(shop.versions),
            "drift_before": quiet["state"] == "alert",
            "drift_detected": alarm["state"] == "alert",
            "challenger_promoted": verdict["promoted"],
            "live_version": live,
            "actions_delivered": delivered,
            "max_export_error": max(first["proof"]["max_abs_error"], self.export_error(live)),
            "predict_vs_session_run": round(price["ratio"], 3),
        }

    def run(self, *arguments: str, allow: Iterable[int] = (0,)) -> Any:
        """Run one command of the command line and return its JSON."""
        print(f"$ mlembed {' '.join(arguments)}")
        command = [sys.executable, "-m", "mlembed", *arguments, "--json"]
        done = subprocess.run(  # noqa: S603  our own command line
            command, env=self.environment, stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode not in allow:
            sys.exit(f"mlembed {arguments[0]} ended with {done.returncode}\n{done.stdout}")
        return json.loads(done.stdout)

    def monitor(self, page: str) -> Any:
        """Run the monitor and say what it found."""
        time.sleep(1.0)  # the site writes its log in the background
        report = self.run("monitor", "payments", "--html", str(self.folder / page), allow=(0, 1))
        print(f"state: {report['state']}")
        for sentence in report["summary"]:
            print(f"  {sentence}")
        return report

    def export_error(self, version: str) -> float:
        """Return how far graph and estimator of *version* were apart."""
        from mlembed.registry import open_registry
        from mlembed.registry.pointer import Ref

        registry = open_registry(self.registry)
        bundle = registry.fetch(registry.resolve(Ref("payments", version)))
        return float(bundle.json("proof.json")["max_abs_error"])

    @contextlib.contextmanager
    def site(self, desk_url: str) -> Iterator[str]:
        """Run the shop's Django process; yields its address."""
        process = subprocess.Popen(  # noqa: S603  the example beside this file
            [sys.executable, str(PAYMENTS / "serve.py"), "--port", "0"],
            env={**self.environment, "PAYMENTS_WEBHOOK_URL": desk_url},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None  # noqa: S101  it is a pipe
            line = process.stdout.readline()
            if not line:
                sys.exit("the shop did not start")
            yield f"http://127.0.0.1:{json.loads(line)['port']}"
        finally:
            process.terminate()
            process.wait(WAIT_SECONDS)


class Shop:
    """A client of the shop's site: sends payments, and later what became of them."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=WAIT_SECONDS, trust_env=False)
        self.answered = self.blocked = 0
        self.versions: collections.Counter[str] = collections.Counter()
        self._numbers = itertools.count(1)
        self._waiting: collections.deque[tuple[str, bool]] = collections.deque()

    def stream(self, stream: Iterable[tuple[dict[str, Any], bool]]) -> None:
        """Send payments; the truth about each follows 200 payments later."""
        start = self.answered
        for payment, fraud in stream:
            name = f"p{next(self._numbers)}"
            answer = self._post("/payments/", {"id": name, **payment})
            self.answered += 1
            self.versions[answer["version"]] += 1
            self.blocked += answer["decision"] == "block"
            self._waiting.append((name, fraud))
            if len(self._waiting) > LATE:
                self._report()
        print(f"{self.answered - start:,} payments; {self.blocked} blocked so far")

    def catch_up(self) -> None:
        """Report the truth about every payment that still waits for it."""
        while self._waiting:
            self._report()

    def wait_for(self, version: str) -> str:
        """Wait until *version* serves; return the version that does."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            found = str(self.client.get("/health").raise_for_status().json()["model"]["version"])
            if found == version:
                break
            time.sleep(0.1)
        return found

    def _report(self) -> None:
        name, fraud = self._waiting.popleft()
        self._post(f"/payments/{name}/outcome", {"fraud": fraud})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self.client.post(path, json=body).raise_for_status().json()


class RiskDesk:
    """What the webhook receiver has taken, each action once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.actions: dict[str, Any] = {}

    def wait_for(self, count: int) -> int:
        """Wait until *count* actions have come; return how many have."""
        deadline = time.monotonic() + WAIT_SECONDS
        while len(self.actions) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        return len(self.actions)


@contextlib.contextmanager
def risk_desk(secret: str) -> Iterator[RiskDesk]:
    """Run a webhook receiver that refuses what is not signed with *secret*."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                verify(secret, dict(self.headers), body)
            except ValueError:
                self.send_response(400)
            else:
                event = json.loads(body)
                desk.actions[event["id"]] = event
                self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    desk = RiskDesk(f"http://127.0.0.1:{server.server_port}/")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield desk
    finally:
        server.shutdown()
        server.server_close()


def chapter(title: str) -> None:
    """Print a heading."""
    print(f"\n== {title}", flush=True)


if __name__ == "__main__":
    main()
