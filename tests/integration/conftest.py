"""A real OCI registry for each test that asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.depot import Depot, Relay
from registry.stock import VERSIONS, bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlembed.registry.oci.oci import OciRegistry


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[Depot]:
    """Return a running registry that is empty."""
    with Depot(tmp_path) as running:
        yield running


@pytest.fixture
def relay(depot: Depot) -> Iterator[Relay]:
    """Return a relay before it."""
    with Relay(depot) as running:
        yield running


@pytest.fixture
def full(depot: Depot) -> OciRegistry:
    """Return a registry with three versions, promoted one after the other."""
    registry = depot.open()
    for version in VERSIONS:
        registry.publish(bundle(version))
        registry.promote("toy", "champion", version, f"because of {version}")
    return registry
