"""The public names, and what importing them costs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import mlembed_crm
from processes import unmeasured

SYSTEMS = ("HubSpot", "Odoo", "Salesforce", "Slack", "Tryton", "Webhook")


def test_every_public_name_resolves() -> None:
    """What `__all__` promises is there, and in `dir`."""
    for name in mlembed_crm.__all__:
        assert getattr(mlembed_crm, name) is not None
        assert name in dir(mlembed_crm)


def test_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match="'Webhok'"):
        _ = mlembed_crm.Webhok


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import mlembed_crm; mlembed_crm.errors", "sqlite3 httpx numpy onnxruntime"),
        ("from mlembed_crm import verify", "sqlite3 httpx numpy onnxruntime"),
        (
            "from mlembed_crm.destinations.hubspot import verify_hubspot",
            "sqlite3 httpx numpy onnxruntime",
        ),
        (
            "from mlembed_crm import Actions, Outbox, Rule, rises_above",
            "httpx numpy onnxruntime pydantic opentelemetry",
        ),
        ("from mlembed_crm import Delivery, Webhook", "numpy onnxruntime pydantic opentelemetry"),
    ],
)
def test_import_loads_only_what_it_needs(code: str, absent: str) -> None:
    """A receiver loads no database, a host no HTTP client, a deliverer no model runtime."""
    assert loaded(code, absent.split()) == "[]"


@pytest.mark.parametrize("name", SYSTEMS)
def test_import_of_a_destination_loads_no_other(name: str) -> None:
    """Each system is found by the path that settings name, and stands alone."""
    home = f"mlembed_crm.destinations.{name.lower()}"
    others = [f"mlembed_crm.destinations.{one.lower()}" for one in SYSTEMS if one != name]

    assert loaded(f"from {home} import {name}", others) == "[]"


def loaded(code: str, modules: list[str]) -> str:
    """Return the list of those of *modules* that *code* loads, as it is printed."""
    script = f"{code}; import sys; print([n for n in {modules} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**unmeasured(), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.stdout.strip()
