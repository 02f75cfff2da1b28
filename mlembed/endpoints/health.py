"""Health and the list of models, for probes, balancers and people.

A model that answers with its fallback, or with a version older than the registry's, is degraded: the
host serves all the same, so a balancer must not take it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed.endpoints.messages import json_answer
from mlembed.endpoints.steps import Work
from mlembed.errors import MlembedError
from mlembed.serving.fallback import Raise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed.endpoints.call import Call
    from mlembed.endpoints.steps import Steps
    from mlembed.serving.model import Model


def live(_call: Call) -> Steps:
    """Say that the process answers."""
    yield from ()
    return json_answer({"status": "live"})


def ready(call: Call) -> Steps:
    """Say how each model does, loading those that no prediction has loaded; 503 where one cannot."""
    told = yield Work(lambda: states(call.models))
    failing = [name for name, state in told.items() if state["status"] == "unavailable"]
    degraded = any(state["status"] == "degraded" for state in told.values())
    body = {
        "status": "unavailable" if failing else "degraded" if degraded else "ready",
        "models": told,
    }
    if failing:
        body["unavailable"] = failing
    return json_answer(body, 503 if failing else 200)


def models(call: Call) -> Steps:
    """List the models, without loading one."""
    told = yield Work(lambda: [_listed(name, call.models[name]) for name in sorted(call.models)])
    return json_answer({"models": told})


def states(models: Mapping[str, Model]) -> dict[str, dict[str, Any]]:
    """Return how each of *models* does, by name; may take as long as they take to load."""
    return {name: state_of(models, name) for name in sorted(models)}


def state_of(models: Mapping[str, Model], name: str) -> dict[str, Any]:
    """Return how the model *name* does: whether it serves, its state, version and what failed."""
    version, error = "", ""
    state, has_fallback = "ERROR", False
    try:
        model = models[name]
        has_fallback = not isinstance(model.fallback, Raise)
        version = model.version
        state, failed = model.state, model.error
        error = "" if failed is None else type(failed).__name__
    except Exception as failure:  # noqa: BLE001  a host's lookup may fail; the others may serve
        error = type(failure).__name__
        if not isinstance(failure, MlembedError):
            has_fallback = False
    status = "ready" if state == "READY" else "degraded"
    if not version and not has_fallback:
        status = "unavailable"
    return {"status": status, "state": state, "version": version, "error": error}


def _listed(name: str, model: Model) -> dict[str, Any]:
    served = model.in_service
    version = None if served is None else served.version
    return {"name": name, "state": model.state, "version": version}
