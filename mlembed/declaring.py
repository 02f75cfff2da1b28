"""Run a file in which a user declares something, and say where it fails."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import DeclarationError, MlembedError

if TYPE_CHECKING:
    from types import ModuleType


def run_file(path: Path, wanted: str) -> ModuleType:
    """Run the file *path* and return its module; it may import what lies beside it and here.

    Args:
        path: A Python file.
        wanted: What it is expected to declare, for messages.

    Raises:
        DeclarationError: If it is no Python file, or fails; names its line.
        MlembedError: As the file itself raises.
    """
    for folder in (str(Path.cwd()), str(path.resolve().parent)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(f"mlembed_declaration_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DeclarationError(f"{path} is no Python file; expected one that declares {wanted}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except MlembedError:
        raise
    except Exception as error:
        name, line = _where(error, path)
        raise DeclarationError(
            f"{path} cannot be run: {type(error).__name__} in {name} line {line}: {error}"
        ) from error
    return module


def _where(error: Exception, path: Path) -> tuple[str, int | None]:
    """Return the file and line at fault: the last one that is not the library's or Python's own."""
    if isinstance(error, SyntaxError) and error.filename:
        return Path(error.filename).name, error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    beside = str(path.resolve().parent)
    own = [frame for frame in frames if frame.filename.startswith(beside)]
    frame = (own or list(frames))[-1]
    return Path(frame.filename).name, frame.lineno
