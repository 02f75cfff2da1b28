"""The payments site as a whole: a real process, real HTTP, a real database, a real receiver."""

from __future__ import annotations

import datetime as dt
import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from crm.receiver import SECRET, answer, receiving
from mlembed_crm import Outbox, verify
from payments_site import PAYMENT, SITE, environment, payments_bundle, promote, site
from serving.logs import records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HIGH, LOW = 60.0, -60.0
UNDONE = """
import json, sys
import django

django.setup()
from django.core.management import call_command
from mlembed_django.conf import get_model
from shop.actions import actions, deciding
from shop.orders import Order

call_command("migrate", verbosity=0)
order = Order.model_validate_json(sys.argv[1])
prediction = get_model("payments").predict(order, key=order.id)
try:
    with deciding() as queue_actions:
        queued = len(queue_actions(prediction))
        raise InterruptedError
except InterruptedError:
    print(json.dumps({"queued": queued, "kept": len(actions().outbox.list())}))
"""
FIELDS = {"id", "decision", "score", "version", "prediction_id", "reason"}


def wait_for(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until *condition* holds, and fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def logged(folder: Path, event: str) -> list[dict[str, Any]]:
    """Return the records of one event in the log."""
    return [record for record in records(folder / "log") if record["eventName"] == event]


def test_a_payment_is_decided_logged_and_reported(tmp_path: Path) -> None:
    """Score, decision, log, outcome: what a payment goes through, over HTTP."""
    promote(tmp_path / "registry", payments_bundle())

    with site(tmp_path) as client:
        created = client.post("/payments/", json=PAYMENT)
        outcome = client.post("/payments/p-1/outcome", json={"fraud": True})
        again = client.post("/payments/p-1/outcome", json={"fraud": False})

    decision = created.json()
    assert (created.status_code, outcome.status_code, again.status_code) == (201, 200, 200)
    assert set(decision) == FIELDS
    assert (decision["id"], decision["version"], decision["reason"]) == ("p-1", "1.0.0", "ok")
    (prediction,) = logged(tmp_path, "mlembed.prediction")
    assert prediction["payload"]["y"]["score"] == [decision["score"]]
    attributes = [
        {item["key"]: next(iter(item["value"].values())) for item in record["attributes"]}
        for record in logged(tmp_path, "mlembed.outcome")
    ]
    assert {item["mlembed.prediction.id"] for item in attributes} == {decision["prediction_id"]}
    assert [int(item["mlembed.outcome.revision"]) for item in attributes] == [0, 1]


def test_the_same_payment_is_decided_once(tmp_path: Path) -> None:
    """A payment that is posted again, even at the same moment, gets its first decision."""
    promote(tmp_path / "registry", payments_bundle())

    with site(tmp_path) as client, ThreadPoolExecutor(8) as pool:
        first = client.post("/payments/", json=PAYMENT)
        second = client.post("/payments/", json={**PAYMENT, "amount": 1.0})
        other = {**PAYMENT, "id": "p-2"}
        racing = list(pool.map(lambda _: client.post("/payments/", json=other), range(8)))

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert sorted(response.status_code for response in racing) == [200] * 7 + [201]
    assert len({response.text for response in racing}) == 1


def test_a_bad_payment_is_refused_field_by_field(tmp_path: Path) -> None:
    """A bad body gives 400 with every bad field, repeats no value, and leaves no prediction."""
    promote(tmp_path / "registry", payments_bundle())
    bad = {**PAYMENT, "amount": 654_321.0, "channel": "cheque", "at": "2026-03-04T17:30:00"}
    del bad["country"]

    with site(tmp_path) as client:
        refused = client.post("/payments/", json={**bad, "extra": 1, "id": "a/b"})
        no_json = client.post(
            "/payments/", content="{", headers={"Content-Type": "application/json"}
        )
        form = client.post("/payments/", data=PAYMENT)
        wrong_method = client.get("/payments/")
        unknown = client.post("/payments/nobody/outcome", json={"fraud": True})
        no_truth = client.post("/payments/p-1/outcome", json={"fraud": "yes"})

    assert refused.status_code == 400
    assert set(refused.json()["fields"]) == {"id", "amount", "channel", "country", "at", "extra"}
    assert not any(value in refused.text for value in ("654", "cheque", "a/b"))
    assert [r.status_code for r in (no_json, form, wrong_method, unknown, no_truth)] == [
        *(400, 415, 405, 404, 400)
    ]
    assert no_json.json()["fields"].keys() == {"body"}
    assert logged(tmp_path, "mlembed.prediction") == []


def test_a_promoted_version_is_picked_up_live(tmp_path: Path) -> None:
    """A running site answers with a promoted version after its next look, without a restart."""
    registry = tmp_path / "registry"
    promote(registry, payments_bundle("1.0.0", LOW))

    with site(tmp_path) as client:
        before = client.post("/payments/", json=PAYMENT).json()
        promote(registry, payments_bundle("2.0.0", HIGH))
        wait_for(lambda: client.get("/health").json()["model"]["version"] == "2.0.0")
        after = client.post("/payments/", json={**PAYMENT, "id": "p-2"}).json()

    assert (before["version"], before["decision"]) == ("1.0.0", "approve")
    assert (after["version"], after["decision"]) == ("2.0.0", "block")


def test_a_site_without_a_model_falls_back_and_recovers(tmp_path: Path) -> None:
    """Where there is no registry the shop goes on selling; once there is one it uses it."""
    with site(tmp_path) as client:
        fallback = client.post("/payments/", json=PAYMENT)
        health = client.get("/health").json()
        page = client.get("/").text
        promote(tmp_path / "registry", payments_bundle("1.0.0", HIGH))
        wait_for(lambda: client.get("/health").json()["status"] == "ok")
        recovered = client.post("/payments/", json={**PAYMENT, "id": "p-2"}).json()

    decision = fallback.json()
    assert (fallback.status_code, decision["decision"]) == (201, "approve")
    assert (decision["reason"], decision["score"], decision["version"]) == ("fallback", 0.0, "")
    assert (health["status"], health["model"]["state"]) == ("degraded", "ERROR")
    assert "the fallback answers" in page
    assert (recovered["reason"], recovered["decision"]) == ("ok", "block")


def test_a_blocked_payment_reaches_the_risk_desk(tmp_path: Path) -> None:
    """A score above the rule's bound queues one action, which is posted, signed, until taken."""
    promote(tmp_path / "registry", payments_bundle("1.0.0", HIGH))

    with receiving() as receiver:
        receiver.answers.append(answer(503, retry_after="0"))
        url = f"http://127.0.0.1:{receiver.server_port}/hook"
        with site(tmp_path, PAYMENTS_WEBHOOK_URL=url, MLEMBED_WEBHOOK_SECRET=SECRET) as client:
            decision = client.post("/payments/", json=PAYMENT).json()
            client.post("/payments/", json=PAYMENT)
            wait_for(lambda: len(receiver.received) == 2)
            wait_for(lambda: Outbox(tmp_path / "payments.sqlite3").counts()["sent"])

    assert len({request.id for request in receiver.received}) == 1
    request = receiver.received[-1]
    verify(SECRET, request.headers, request.body)
    event = json.loads(request.body)
    assert event["data"]["rule"] == "hold-payment"
    assert (event["subject"], event["data"]["score"]) == ("p-1", decision["score"])
    assert event["data"]["prediction_id"] == decision["prediction_id"]


def test_an_action_survives_the_process(tmp_path: Path) -> None:
    """A process that is killed after its answer leaves the action to the next one."""
    promote(tmp_path / "registry", payments_bundle("1.0.0", HIGH))

    with site(tmp_path, signal.SIGKILL) as client:
        decision = client.post("/payments/", json=PAYMENT).json()
    with receiving() as receiver:
        url = f"http://127.0.0.1:{receiver.server_port}/hook"
        with site(tmp_path, PAYMENTS_WEBHOOK_URL=url, MLEMBED_WEBHOOK_SECRET=SECRET) as client:
            wait_for(lambda: receiver.received)
            again = client.post("/payments/", json=PAYMENT).json()

    assert again == decision
    assert [json.loads(r.body)["subject"] for r in receiver.received] == ["p-1"]


def test_a_decision_and_its_action_are_one(tmp_path: Path) -> None:
    """What fails between the decision and its commit undoes the action with it."""
    promote(tmp_path / "registry", payments_bundle("1.0.0", HIGH))

    ended = subprocess.run(
        [sys.executable, "-c", UNDONE, json.dumps(PAYMENT)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"queued": 1, "kept": 0}


def test_the_page_shows_what_was_decided(tmp_path: Path) -> None:
    """The page lists payments with time, decision and outcome, and takes nothing for markup."""
    promote(tmp_path / "registry", payments_bundle("1.0.0", HIGH))
    hostile = {**PAYMENT, "merchant_category": "<script>alert(1)</script>"}
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)

    with site(tmp_path) as client:
        empty = client.get("/")
        client.post("/payments/", json=hostile)
        client.post("/payments/p-1/outcome", json={"fraud": True})
        page = client.get("/")

    assert "No payment yet" in empty.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for part in ("payments@champion, version 1.0.0", ">p-1<", ">block<", ">fraud<", "€120.50"):
        assert part in page.text
    (shown,) = re.findall(r"\d\d:\d\d:\d\d", page.text)
    decided = dt.datetime.combine(before.date(), dt.time.fromisoformat(shown), dt.UTC)
    assert dt.timedelta(0) <= (decided - before) % dt.timedelta(days=1) < dt.timedelta(minutes=2)
    assert "<script" not in page.text


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["check", "--deploy", "--tag", "mlembed"], "no issues"),
        (["makemigrations", "--check", "--dry-run"], "No changes detected"),
        (["mlembed_check"], "payments@champion  serves"),
    ],
    ids=["check", "makemigrations", "mlembed_check"],
)
def test_manage_finds_nothing_wrong(tmp_path: Path, command: list[str], expected: str) -> None:
    """Django's own commands and ours are content with the site."""
    promote(tmp_path / "registry", payments_bundle())

    ended = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=SITE,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert expected in ended.stdout + ended.stderr


def test_mlembed_check_exits_with_1(tmp_path: Path) -> None:
    """A deployment script can stop on the exit status where a model cannot serve."""
    ended = subprocess.run(
        [sys.executable, "manage.py", "mlembed_check", "--json"],
        cwd=SITE,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert json.loads(ended.stdout)["models"][0]["state"] == "fallback"
    assert "1 of 1 models cannot serve" in ended.stderr
