"""A tiny application, WSGI and ASGI, that predicts while it is imported, as a preloaded one does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlembed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

FOLDER = Path(os.environ["TOY_FOLDER"])
RECORD = json.loads((FOLDER / "record.json").read_text())
model = mlembed.load(
    "toy",
    registry=os.environ.get("TOY_REGISTRY", FOLDER / "registry"),
    settings=mlembed.Settings(
        log_dir=FOLDER / "log",
        cache=FOLDER / "cache",
        ca_file=os.environ.get("TOY_CA_FILE", ""),
        poll_seconds=0.05,
    ),
)
model.predict(RECORD)


def application(
    _environment: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Answer with the prediction and the process it was made in."""
    prediction = model.predict(RECORD)
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({**prediction.to_json(), "pid": os.getpid()}).encode()]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer as `application`; close the model when the server says that it ends."""
    if scope["type"] == "lifespan":
        for name in ("startup", "shutdown"):
            await receive()
            if name == "shutdown":
                model.close()
            await send({"type": f"lifespan.{name}.complete"})
        return
    prediction = await model.apredict(RECORD)
    body = json.dumps({**prediction.to_json(), "pid": os.getpid()}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
