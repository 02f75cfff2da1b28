"""The back office of a coffee roaster: customers, their orders, and who is about to leave."""

from __future__ import annotations
