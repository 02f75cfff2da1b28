"""What programs in processes of their own find in their folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bundles import RECORD
from serving.graphs import slow_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.file import FileRegistry


@pytest.fixture
def folder(registry: FileRegistry, tmp_path: Path) -> Path:
    """Return a folder with a registry of a fast and a slow model, and a record."""
    registry.publish(slow_bundle())
    registry.promote("graph", "champion", "1.0.0")
    (tmp_path / "record.json").write_text(json.dumps(RECORD, default=str))
    return tmp_path
