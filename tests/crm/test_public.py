"""The public names, and what importing them costs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import mlembed_crm
from processes import unmeasured


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
            "from mlembed_crm import Actions, Outbox, Rule, rises_above",
            "httpx numpy onnxruntime pydantic opentelemetry",
        ),
        ("from mlembed_crm import Delivery, Webhook", "numpy onnxruntime pydantic opentelemetry"),
    ],
)
def test_import_loads_only_what_it_needs(code: str, absent: str) -> None:
    """A receiver loads no database, a host no HTTP client, a deliverer no model runtime."""
    script = f"{code}; import sys; print([n for n in {absent.split()} if n in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**unmeasured(), "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert done.stdout.strip() == "[]"
