"""Metadata and health, as the protocol has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mlembed
from mlembed.endpoints import health
from mlembed.endpoints.messages import json_answer
from mlembed.endpoints.models import in_service, require_version
from mlembed.endpoints.steps import Work
from mlembed.endpoints.v2.signature import inputs_of, outputs_of

if TYPE_CHECKING:
    from mlembed.endpoints.call import Call
    from mlembed.endpoints.steps import Steps

PLATFORM = "onnx_onnxv1"


def about(_call: Call) -> Steps:
    """Name the server and its extensions."""
    yield from ()
    version = mlembed.__version__
    return json_answer(
        {"name": "mlembed", "version": version, "extensions": ["binary_tensor_data"]}
    )


def live(_call: Call) -> Steps:
    """Say that the process answers."""
    yield from ()
    return json_answer({"live": True})


def ready(call: Call) -> Steps:
    """Say whether all models can serve."""
    told = yield Work(lambda: health.states(call.models))
    is_ready = all(state["status"] != "unavailable" for state in told.values())
    return json_answer({"ready": is_ready}, 200 if is_ready else 503)


def model_ready(call: Call) -> Steps:
    """Say whether a model can serve."""
    model = call.model()
    told = yield Work(lambda: health.state_of(call.models, call.name))
    is_ready = told["status"] != "unavailable"
    if is_ready:
        require_version(model, model.in_service, call.version)
    return json_answer({"name": call.name, "ready": is_ready}, 200 if is_ready else 503)


def about_model(call: Call) -> Steps:
    """Describe a model's version in service: what it takes and gives."""
    model = call.model()
    served = yield from in_service(model)
    require_version(model, served, call.version)
    return json_answer(
        {
            "name": call.name,
            "versions": [model.version if served is None else served.version],
            "platform": PLATFORM,
            "inputs": [tensor.to_json() for tensor in inputs_of(served)],
            "outputs": [tensor.to_json() for tensor in outputs_of(served)],
        }
    )
