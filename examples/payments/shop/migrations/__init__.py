"""The tables of the shop, step by step."""

from __future__ import annotations
