"""A tiny WSGI application that predicts while it is imported, as a preloaded one does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlembed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FOLDER = Path(os.environ["TOY_FOLDER"])
RECORD = json.loads((FOLDER / "record.json").read_text())
model = mlembed.load(
    "toy",
    registry=FOLDER / "registry",
    settings=mlembed.Settings(log_dir=FOLDER / "log", poll_seconds=0.05),
)
model.predict(RECORD)


def application(
    _environment: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Answer with the prediction and the process it was made in."""
    prediction = model.predict(RECORD)
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({**prediction.to_json(), "pid": os.getpid()}).encode()]
