"""Find the `Trainer` that a file declares."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import DeclarationError, MlembedError
from mlembed.training.trainer import Trainer

if TYPE_CHECKING:
    from types import ModuleType


def load_trainer(reference: str) -> Trainer:
    """Run the file that *reference* names and return its trainer.

    Args:
        reference: `train.py`, or `train.py:name` where the file declares several.

    Raises:
        DeclarationError: If there is no such file, it fails, or it is unclear which is meant.
    """
    text, _, name = reference.partition(":") if ".py:" in reference else (reference, "", "")
    path = Path(text)
    if not path.is_file():
        raise DeclarationError(f"there is no file {path}; expected one that declares a Trainer")
    found = {key: v for key, v in vars(_run(path)).items() if isinstance(v, Trainer)}
    if name in found:
        return found[name]
    if name or not found:
        wanted = f"a Trainer called '{name}'" if name else "a Trainer"
        raise DeclarationError(f"{path} declares no {wanted[2:]}; it has {_list(found)}")
    if len({id(trainer) for trainer in found.values()}) > 1:
        raise DeclarationError(
            f"{path} declares several trainers; name one: {_choices(path, found)}"
        )
    return next(iter(found.values()))


def _run(path: Path) -> ModuleType:
    for folder in (str(Path.cwd()), str(path.resolve().parent)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(f"mlembed_declaration_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DeclarationError(f"{path} is no Python file; expected one that declares a Trainer")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except MlembedError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise DeclarationError(
            f"{path} cannot be run: {type(error).__name__} in {Path(frame.filename).name} "
            f"line {frame.lineno}: {error}"
        ) from error
    return module


def _list(found: dict[str, Trainer]) -> str:
    return ", ".join(found) or "none"


def _choices(path: Path, found: dict[str, Trainer]) -> str:
    return ", ".join(f"{path}:{name}" for name in found)
