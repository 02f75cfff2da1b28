"""A Django app of the tests' own, with rows to predict for."""

from __future__ import annotations
