"""A shop that asks a model about every card payment before it takes the money."""

from __future__ import annotations
