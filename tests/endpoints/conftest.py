"""Endpoints of models of every kind: columns, classes, a quantity, and graphs that take tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import mlembed
from bundles import toy_bundle
from classes import class_bundle
from mlembed.bundle.task import Interval
from mlembed.endpoints import Endpoints, Limits
from mlembed.testing import InMemoryRegistry
from tensorgraphs import lookup_bundle, mixed_bundle, pixels_bundle

if TYPE_CHECKING:
    from mlembed.settings import Settings


@pytest.fixture
def models(settings: Settings) -> dict[str, mlembed.Model]:
    """Return the models, none of them loaded."""
    registry = InMemoryRegistry()
    interval = Interval(level=0.9, below=1.0, above=2.0)
    for bundle in (
        toy_bundle(),
        class_bundle("classes"),
        toy_bundle("amount", kind="regression", interval=interval),
        pixels_bundle(),
        mixed_bundle(),
        lookup_bundle(),
    ):
        registry.publish(bundle)
    names = ("toy", "classes", "amount", "pixels", "mixed", "lookup")
    return {name: mlembed.load(name, registry=registry, settings=settings) for name in names}


@pytest.fixture
def endpoints(models: dict[str, mlembed.Model]) -> Endpoints:
    """Return endpoints of the models, with limits that a test can reach."""
    return Endpoints(models, Limits(max_bytes=20_000, max_records=50))


@pytest.fixture
def absent(settings: Settings) -> mlembed.Model:
    """Return a model that the registry does not have."""
    return mlembed.load("absent", registry=InMemoryRegistry(), settings=settings)
