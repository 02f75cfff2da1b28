"""A registry that has been used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlembed.registry.file import FileRegistry
from registry.stock import VERSIONS, bundle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def full(tmp_path: Path) -> FileRegistry:
    """Return a registry with three versions, promoted one after the other."""
    registry = FileRegistry(tmp_path / "models")
    for version in VERSIONS:
        registry.publish(bundle(version))
        registry.promote("toy", "champion", version, f"because of {version}")
    return registry
