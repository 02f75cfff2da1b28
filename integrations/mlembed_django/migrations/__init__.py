"""The tables of `mlembed_django`."""

from __future__ import annotations
