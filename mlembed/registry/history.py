"""The log of an alias: every pointer there was, each with the digest of the one before.

A gap, a swapped file or a changed word breaks the chain, and a broken chain is refused: who
served what, and when, is either known or said to be unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed.bundle.bundle import sha256
from mlembed.errors import IntegrityError, NotFoundError, RegistryError
from mlembed.registry.pointer import Pointer

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.pointer import Target


def read_log(folder: Path, name: str, alias: str) -> list[Pointer]:
    """Return the pointers that *folder* holds for *alias* of *name*, the oldest first.

    Raises:
        IntegrityError: If the chain is broken; names the first bad file.
        RegistryError: If it cannot be read.
    """
    pointers: list[Pointer] = []
    prev = ""
    paths = (path for path in listing(folder) if path.stem.isdecimal())
    for serial, path in enumerate(sorted(paths, key=lambda path: int(path.stem)), start=1):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RegistryError(f"cannot read {path}: {error.strerror}") from error
        pointer = Pointer.from_bytes(data, str(path))
        said = (pointer.name, pointer.alias, pointer.serial, pointer.prev, path.name)
        if said != (name, alias, serial, prev, f"{serial}.json"):
            raise IntegrityError(
                f"{path} does not follow from the pointers before it; restore {folder} from a "
                "copy, or move it away and promote again to begin a new history"
            )
        pointers.append(pointer)
        prev = sha256(data)
    return pointers


def before(history: list[Pointer]) -> Target:
    """Return the bundle that was served before the last one of *history*; rollbacks undo.

    Raises:
        NotFoundError: If there was none.
    """
    served: list[Target] = []
    for pointer in history:
        if pointer.action == "rollback" and pointer.target in served:
            while served[-1] != pointer.target:
                served.pop()
        elif not served or served[-1] != pointer.target:
            served.append(pointer.target)
    if len(served) < 2:  # noqa: PLR2004  the current one and one before
        raise NotFoundError("there is no earlier version to roll back to; promote one by name")
    return served[-2]


def listing(path: Path) -> list[Path]:
    """Return what the directory *path* holds; nothing where there is none.

    Raises:
        RegistryError: If it cannot be read.
    """
    try:
        return list(path.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RegistryError(f"cannot read {path}: {error.strerror}") from error
