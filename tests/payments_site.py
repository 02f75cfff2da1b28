"""The payments site in a process of its own, with a small model made by the real lowering."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from bundles import toy_bundle
from mlembed.record import columns_of
from mlembed.registry.file import FileRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.bundle.bundle import Bundle
    from mlembed.columns import Column

SITE = Path(__file__).parents[1] / "examples" / "payments"
VOCABULARIES = {
    "merchant_category": ("electronics", "groceries", "travel"),
    "country": ("DE", "FR", "US"),
}
PAYMENT: dict[str, Any] = {
    "id": "p-1",
    "amount": 120.5,
    "usual_amount": 40.0,
    "merchant_category": "electronics",
    "country": "DE",
    "channel": "online",
    "is_new_device": True,
    "account_age_days": 30,
    "minutes_since_last": None,
    "at": "2026-03-04T17:30:00+00:00",
}
_END_SECONDS = 20.0


def payments_bundle(version: str = "1.0.0", shift: float = 0.0) -> Bundle:
    """Return a bundle called `payments`; a greater *shift* gives greater scores."""
    return toy_bundle("payments", version, columns=_columns(), shift=shift)


def promote(root: Path, bundle: Bundle) -> None:
    """Publish *bundle* in the registry at *root* as its champion."""
    registry = FileRegistry(root)
    registry.publish(bundle)
    registry.promote("payments", "champion", bundle.manifest.version)


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a site that keeps all it has in *folder*."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*sys.path, str(SITE)]),
        "PYTHONWARNINGS": "error",
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "MLEMBED_REGISTRY": str(folder / "registry"),
        "MLEMBED_LOG_DIR": str(folder / "log"),
        "MLEMBED_POLL_SECONDS": "0.1",
        "PAYMENTS_DATABASE": str(folder / "payments.sqlite3"),
        **variables,
    }


@contextlib.contextmanager
def site(
    folder: Path, end: signal.Signals = signal.SIGTERM, **variables: str
) -> Iterator[httpx.Client]:
    """Run `serve.py` for the length of the block; by SIGTERM it must end cleanly.

    Args:
        folder: Where registry, log and database are.
        end: The signal that ends it.
        variables: More of the environment.
    """
    process = subprocess.Popen(
        [sys.executable, str(SITE / "serve.py"), "--port", "0"],
        env=environment(folder, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_END_SECONDS) as client:
            yield client
        process.send_signal(end)
        out, error = process.communicate(timeout=_END_SECONDS)
    finally:
        process.kill()
        process.communicate()
    status = 0 if end == signal.SIGTERM else -end
    assert (process.returncode, out) == (status, ""), error
    assert "Traceback" not in error, error


def _columns() -> tuple[Column, ...]:
    spec = importlib.util.spec_from_file_location("payments_record", SITE / "record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic looks there for the names in annotations
    spec.loader.exec_module(module)
    return tuple(
        dataclasses.replace(column, vocabulary=VOCABULARIES[column.name], rare=True)
        if column.name in VOCABULARIES
        else column
        for column in columns_of(module.Payment)
    )
