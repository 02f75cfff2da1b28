"""Setting Django up with the app costs nothing: no thread, no model, no heavy import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.file import FileRegistry

SCRIPT = """
import json, sys, threading
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["mlembed_django"],
    MIDDLEWARE=["mlembed_django.middleware.PredictionMiddleware"],
    ROOT_URLCONF=(),
    MLEMBED={"REGISTRY": sys.argv[1], "MODELS": {"toy": "toy@champion"}},
)
django.setup()
if sys.argv[2:]:
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *sys.argv[2:]])
heavy = ("numpy", "onnxruntime", "pydantic", "opentelemetry", "sklearn", "httpx")
print(json.dumps({
    "imported": [name for name in heavy if name in sys.modules],
    "threads": [thread.name for thread in threading.enumerate()],
}))
"""


@pytest.mark.parametrize(
    "command",
    [(), ("check", "--tag", "mlembed"), ("check", "--deploy", "--tag", "mlembed")],
    ids=" ".join,
)
def test_setup_is_light(registry: FileRegistry, command: tuple[str, ...]) -> None:
    """Neither django.setup() nor a check imports what predictions need, or starts a thread."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(registry.root), *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == {
        "imported": [],
        "threads": ["MainThread"],
    }


NAMED = """
import json, sys
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["mlembed_django"],
    MLEMBED={
        "REGISTRY": "/nowhere",
        "MODELS": {"toy": {"REF": "toy", "RECORD": "site_records.toy", "LOAD": "worker_start"}},
        "DATABASE": {},
        "ACTIONS": "site_rules.RULES",
        "USER": "site_users.key",
        "DESTINATIONS": {"desk": {"ADAPTER": "site_desk.Desk"}},
    },
)
django.setup()
from django.core.checks import registry
from django.core.signals import setting_changed
import mlembed.forking

ours = {"journal", "writer", "outbox", "instances", "delivering", "capturing", "testing", "trial"}
print(json.dumps({
    "named": [name for name in sys.modules if name.startswith("site_")],
    "ours": sorted(ours & {name.removeprefix("mlembed_django.") for name in sys.modules}),
    "checks": sorted(c.__name__ for c in registry.registry.registered_checks if "mlembed" in c.__module__),
    "deploy": sorted(c.__name__ for c in registry.registry.deployment_checks if "mlembed" in c.__module__),
    "signals": [key for key, *_ in setting_changed.receivers if "mlembed" in str(key)] != [],
}))
"""


def test_ready_registers_and_does_nothing_else(tmp_path: Path) -> None:
    """It registers checks and a signal, and imports neither what acts nor what the setting names."""
    for name in ("site_records", "site_rules", "site_users", "site_desk"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}

    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", NAMED],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "named": [],
        "ours": [],
        "checks": ["check_site"],
        "deploy": ["check_deployment"],
        "signals": True,
    }
