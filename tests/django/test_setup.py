"""Setting Django up with the app costs nothing: no thread, no model, no heavy import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
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
