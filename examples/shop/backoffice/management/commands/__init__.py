"""The back office's commands."""

from __future__ import annotations
