"""The back office's template tags."""

from __future__ import annotations
