"""A model that cannot be loaded when a worker starts keeps no site from starting."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from processes import run_script

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.file import FileRegistry

SCRIPT = """
import io, json, logging, sys
sys.path[:0] = ["integrations"]
from django.conf import settings
from django.http import JsonResponse
from django.urls import path

log = io.StringIO()
logging.basicConfig(stream=log, level=logging.WARNING)

def state(request):
    from mlembed_django.conf import get_model
    model = request.predictions["gone"].model
    return JsonResponse({"state": model.state, "error": str(model.error or "")})

registry, log_dir, debug, extra = sys.argv[1:]
settings.configure(
    DEBUG=debug == "debug",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["mlembed_django"],
    MIDDLEWARE=["mlembed_django.middleware.PredictionMiddleware"],
    ROOT_URLCONF=(path("", state),),
    SECRET_KEY="not a secret",
    MLEMBED={
        "REGISTRY": registry,
        "LOG_DIR": log_dir,
        "POLL_SECONDS": 0,
        "MODELS": {
            "gone": {"REF": "gone@champion", "LOAD": "worker_start", **json.loads(extra)},
            "toy": {"REF": "toy@champion", "LOAD": "worker_start"},
        },
    },
)
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
from django.test import RequestFactory
environ = RequestFactory().get("/").environ
status = []
body = b"".join(application(environ, lambda *said: status.append(said[0])))
from mlembed_django.conf import get_model
print(json.dumps({
    "status": status[0],
    "body": json.loads(body),
    "log": log.getvalue(),
    "toy": get_model("toy").state,
}))
"""


@pytest.mark.parametrize("debug", ["debug", "production"])
@pytest.mark.parametrize("extra", [{}, {"FALLBACK": 0.5}], ids=["raises", "fallback"])
def test_a_site_starts_without_a_model_that_cannot_be_loaded(
    registry: FileRegistry, tmp_path: Path, debug: str, extra: dict[str, float]
) -> None:
    """The log says which model and why, the model's state says so too, and the others are loaded."""
    out = run_script(SCRIPT, str(registry.root), tmp_path / "log", debug, json.dumps(extra))

    told = json.loads(out.splitlines()[-1])
    assert told["status"] == "200 OK"
    assert told["body"]["state"] == "ERROR"
    assert "has no model 'gone'" in told["body"]["error"]
    assert "gone" in told["log"]
    assert "has no model 'gone'" in told["log"]
    assert told["toy"] == "READY"


def test_a_site_starts_with_a_malformed_setting(registry: FileRegistry, tmp_path: Path) -> None:
    """What is wrong is logged when the worker starts, and raised where a model is used."""
    script = SCRIPT.replace('"POLL_SECONDS"', '"POL_SECONDS"').rpartition(
        "from mlembed_django.conf"
    )[0]
    script += "\nprint(json.dumps({'status': status[0], 'log': log.getvalue()}))"

    out = run_script(script, str(registry.root), tmp_path / "log", "production", "{}")

    told = json.loads(out.splitlines()[-1])
    assert told["status"] == "500 Internal Server Error"
    assert (
        "no model is loaded at the start: MLEMBED has the unknown key 'POL_SECONDS'" in told["log"]
    )
