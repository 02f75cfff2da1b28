"""Bundles to fill a registry with: cheap, different, and whole."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from bundles import toy_bundle
from mlembed.bundle.bundle import pack
from mlembed.registry.pointer import Ref

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.file import FileRegistry

VERSIONS = ("1.0.0", "1.1.0", "1.2.0")


@functools.cache
def bundle(version: str = "1.0.0", *, name: str = "toy", note: str = "") -> Bundle:
    """Return a bundle that differs from others in its version, its name and *note*."""
    toy = toy_bundle()
    manifest = dataclasses.replace(
        toy.manifest, name=name, version=version, training={"note": note}
    )
    return pack(manifest, {**toy.files, "card.md": f"# {version} {note}\n".encode()})


def tree(root: Path) -> dict[str, bytes]:
    """Return every file under *root* by its path, temporary files and locks left out."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def served(registry: FileRegistry) -> str:
    """Return the version of the champion."""
    return registry.resolve(Ref("toy")).version
