"""A real Prometheus scrapes a real exporter, and computes drift from the counters alone."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from processes import start_script
from serving.logs import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.registry.file import FileRegistry

PROMETHEUS = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus: apt-get install it")
RULES = Path(__file__).parents[2] / "examples" / "prometheus" / "mlembed.rules.yml"
PSI = 'mlembed:psi{mlembed_model_name="toy"}'

HOST = """
    import json, sys
    import mlembed
    from bundles import toy_rows
    from mlembed.settings import Settings
    from opentelemetry import metrics
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from prometheus_client import start_http_server

    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    start_http_server(int(sys.argv[3]), "127.0.0.1")
    model = mlembed.load("toy", registry=sys.argv[1], settings=Settings(log_dir=sys.argv[2]))
    for line in sys.stdin:
        n, factor = json.loads(line)
        for row in toy_rows(n, seed=n):
            age = min(120.0, row["age"] * factor)
            model.predict(row | {"age": age})
        assert model.flush(20)
        tally = model._handle.ready().source.tally
        bins = dict(tally.bins())
        print(json.dumps({
            name: [counts.tolist()[:-1], bins[name].reference.tolist()]
            for name, counts in tally.counts().items()
        }), flush=True)
"""


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def prometheus(folder: Path, target: int, rules: str) -> Iterator[str]:
    """Run Debian's Prometheus with *rules* over the exporter at *target*; yield its address."""
    folder.mkdir()
    (folder / "rules.yml").write_text(rules)
    targets = {"targets": [f"127.0.0.1:{target}"]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "host", "static_configs": [targets]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    command = [
        str(PROMETHEUS),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def ask(address: str, query: str) -> dict[str, float]:
    """Return the answer to an instant query, by feature."""
    with contextlib.suppress(httpx.TransportError):
        answer = httpx.get(f"{address}/api/v1/query", params={"query": query}).json()
        assert answer["status"] == "success", answer
        return {
            item["metric"].get("mlembed_feature", ""): float(item["value"][1])
            for item in answer["data"]["result"]
        }
    return {}


def psi(counts: list[int], reference: list[float]) -> float:
    """Return the population stability index, half a count added to each bin."""
    n, bins = sum(counts), len(counts)
    shares = [(count + 0.5) / (n + bins / 2) for count in counts]
    return sum((q - p) * math.log(q / p) for q, p in zip(shares, reference, strict=True))


def test_psi_in_promql(tmp_path: Path, registry: FileRegistry) -> None:
    """The example's rules give the index that the counts themselves give, for a day and at all."""
    port, rules = free_port(), RULES.read_text()
    since_start = rules.replace("increase({", "({").replace("}[1d]", "}")
    assert since_start != rules
    with (
        start_script(HOST, registry.root, tmp_path / "log", str(port)) as host,
        prometheus(tmp_path / "day", port, rules) as of_a_day,
        prometheus(tmp_path / "all", port, since_start) as of_all,
    ):
        told: Any = None
        for n, factor in ((300, 1.0), (400, 1.6)):
            told = predict(host, n, factor)
        expected = {name: psi(*counts) for name, counts in told.items()}

        def agrees() -> bool:
            found = ask(of_all, PSI)
            return found.keys() == expected.keys() and all(
                math.isclose(found[name], expected[name], rel_tol=1e-6) for name in expected
            )

        wait_until(agrees, "agreement of Prometheus with the counts")
        assert expected["age"] > 0.2
        assert expected["visits"] < 0.2
        predict(host, 300, 1.6)
        wait_until(lambda: ask(of_a_day, PSI).get("age", 0.0) > 0.2, "drift of a day")
        wait_until(lambda: "pending" in alerts(of_a_day), "the alert")
        assert host.stdin is not None
        host.stdin.close()
        host.wait(20)


def predict(host: subprocess.Popen[str], n: int, factor: float) -> Any:
    """Let the host predict, ages times *factor*; return its counts and reference by feature."""
    assert host.stdin is not None
    assert host.stdout is not None
    host.stdin.write(json.dumps([n, factor]) + "\n")
    host.stdin.flush()
    return json.loads(host.stdout.readline())


def alerts(address: str) -> set[str]:
    """Return the states of the alerts."""
    answer = httpx.get(f"{address}/api/v1/alerts").json()
    return {alert["state"] for alert in answer["data"]["alerts"]}
