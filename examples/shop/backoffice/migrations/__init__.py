"""The back office's migrations."""

from __future__ import annotations
