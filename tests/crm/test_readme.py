"""The page of the actions says what is so: its code runs."""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

import mlembed_crm
from crm.receiver import SECRET
from crm.test_outcomes import Told
from mlembed_crm import HubSpot, Outbox, Outcomes, Truth, signing

PAGE = (Path(mlembed_crm.__file__).parent / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
IGNORED = ("--import-mode=importlib", "-p", "no:cacheprovider", "-q")


def block(marker: str) -> str:
    """Return the block of code that holds *marker*."""
    (found,) = (text for text in BLOCKS if marker in text)
    return str(found)


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a module of Python in *folder*."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "DESK_SECRET": SECRET, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_destination_of_the_page_passes_the_contract(tmp_path: Path) -> None:
    """Who follows the page has a destination that keeps every law."""
    code = block("class Desk:") + block("class TestDesk(")
    (tmp_path / "test_desk.py").write_text(code, encoding="utf-8")

    done = run("pytest", *IGNORED, "test_desk.py", folder=tmp_path)

    assert done.returncode == 0, done.stdout
    assert "14 passed" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "law"),
    [
        ("require_accepted(answer.status, answer.headers)", "pass", "waits_where_it_is_told"),
        (
            '[Receipt(answer.status, str(ticket)) for ticket in answer.json()["tickets"]]',
            "[Receipt(answer.status) for _ in actions]",
            "takes_no_page_for_an_answer",
        ),
        ("return self._endpoint.name", 'return self._headers["Authorization"]', "nothing_secret"),
        ("for action in actions)\n", "for action in actions[:3])\n", "every_action_leaves"),
    ],
)
def test_contract_finds_a_destination_that_breaks_a_law(
    tmp_path: Path, old: str, new: str, law: str
) -> None:
    """A contract that everything passes would be none."""
    code = block("class Desk:")
    assert old in code
    broken = code.replace(old, new) + block("class TestDesk(")
    (tmp_path / "test_desk.py").write_text(broken, encoding="utf-8")

    done = run("pytest", *IGNORED, "test_desk.py", folder=tmp_path)

    assert done.returncode == 1
    assert law in done.stdout


def test_declaration_of_the_page_runs(tmp_path: Path) -> None:
    """The file that the page begins with is one that the commands take."""
    (tmp_path / "actions.py").write_text(block("# actions.py"), encoding="utf-8")

    for command in ("status", "list", "deliver --dry-run", "resume"):
        done = run(
            "mlembed_crm", *command.split()[:1], "actions.py", *command.split()[1:], folder=tmp_path
        )
        assert done.returncode == 0, done.stderr

    assert Outbox(tmp_path / "actions.db").counts()["pending"] == 0


TRUTH = Truth(record="deals", key="id", field="stage", values={"won": True})


def test_webhook_of_the_page_is_taken(outbox: Outbox) -> None:
    """What is verified as the page says is told to the model."""
    model, now = Told(), int(time.time())
    body = json.dumps({"id": "e-1", "data": {"id": "c-1", "stage": "won"}}).encode()
    signature = signing.sign(signing.read_secrets(SECRET), "e-1", now, body)
    headers = {"webhook-id": "e-1", "webhook-timestamp": str(now), "webhook-signature": signature}
    outcomes = Outcomes("deals", None, TRUTH, model, outbox)

    exec(block("outcomes.take"), {**locals(), "secret": SECRET})  # noqa: S102  that is what is tested

    assert [told[:3] for told in model.outcomes] == [("", True, "c-1")]


def test_webhook_of_hubspot_is_a_sign_to_read(outbox: Outbox) -> None:
    """Its events are a list, without the key: as the page has it, the deal is asked for."""
    url, client_secret = "https://example.com/hubspot", "client-secret"
    body = b'[{"eventId": 1, "objectId": 5, "propertyName": "stage", "propertyValue": "won"}]'
    sent = str(int(time.time() * 1000))
    signed = hmac.new(
        client_secret.encode(), f"POST{url}".encode() + body + sent.encode(), "sha256"
    )
    headers = {
        "X-HubSpot-Signature-v3": base64.b64encode(signed.digest()).decode(),
        "X-HubSpot-Request-Timestamp": sent,
    }

    def answer(_: httpx.Request) -> httpx.Response:
        properties = {"id": "c-1", "stage": "won", "hs_lastmodifieddate": "2026-11-25T12:00:00Z"}
        return httpx.Response(200, json={"results": [{"id": "5", "properties": properties}]})

    model = Told()
    source = HubSpot("token", transport=httpx.MockTransport(answer))
    outcomes = Outcomes("deals", source, TRUTH, model, outbox)

    exec(block("verify_hubspot("), locals())  # noqa: S102  idem

    assert [told[:3] for told in model.outcomes] == [("", True, "c-1")]
