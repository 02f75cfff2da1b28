"""Describe the endpoints as OpenAPI 3.1, made of what the bundles in service say of themselves."""

from __future__ import annotations
