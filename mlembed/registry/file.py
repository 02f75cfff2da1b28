"""A directory as a registry, for one machine or for all that mount it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from mlembed.errors import NotFoundError
from mlembed.registry.directory import Directory
from mlembed.registry.tree import TreeRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.bundle.manifest import File
    from mlembed.registry.pointer import Ref, Target


class FileRegistry(TreeRegistry):
    """Versions and aliases of models in the directory *root*.

    Several processes, on any machine that mounts it, may publish and promote at once.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(Directory(root))
        self.root = root

    def models(self) -> list[str]:
        """Return the names of all models, sorted.

        Raises:
            NotFoundError: If there is no such directory.
        """
        if not self.root.is_dir():
            raise NotFoundError(f"there is no registry at {self}; train with --registry {self}")
        return super().models()

    def contents(self, target: Target, file: File) -> bytes:
        """Return the contents of a file of *target*, read once into memory of their size."""
        data = self.blob(target, file.sha256, file.size)
        if data is None:
            raise FileNotFoundError(file.path)
        return data

    def unknown(self, ref: Ref) -> NoReturn:
        """Say that there is no *ref*, and what there is."""
        self.models()  # is there a registry at all
        super().unknown(ref)
