"""Models over HTTP, of no framework: the same answers behind Django, FastAPI, Flask or anything else."""

from __future__ import annotations

from mlembed.endpoints.endpoints import Endpoints
from mlembed.endpoints.limits import Limits, Rate
from mlembed.endpoints.messages import Answer, Request
from mlembed.endpoints.models import Lookup

__all__ = ["Answer", "Endpoints", "Limits", "Lookup", "Rate", "Request"]
