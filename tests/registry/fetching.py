"""One file, and a way to fetch it that gives up soon."""

from __future__ import annotations

import hashlib
import io

from mlembed.registry.http.transport import Transport
from registry.hostile import random_bytes

DATA = random_bytes(7, 1_000_000)
DIGEST = hashlib.sha256(DATA).hexdigest()
PATH = "/blobs/sha256/x"
QUICK = {"timeout_seconds": 0.3, "deadline_seconds": 3.0}


def download(url: str, data: bytes = DATA, path: str = PATH, **limits: float) -> bytes:
    """Return what arrives after a few bytes that were there already, and must stay."""
    file = io.BytesIO(b"__")
    file.seek(2)
    transport = Transport(url, **{**QUICK, **limits})  # type: ignore[arg-type]  # only numbers
    digest = hashlib.sha256(data).hexdigest()
    try:
        transport.download(f"{path}?sig=hush", size=len(data), sha256=digest, file=file)
    finally:
        transport.close()
    assert file.getvalue()[:2] == b"__"
    return file.getvalue()[2:]
