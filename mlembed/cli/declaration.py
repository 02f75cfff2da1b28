"""Find the `Trainer` that a file declares."""

from __future__ import annotations

from pathlib import Path

from mlembed.declaring import run_file
from mlembed.errors import DeclarationError
from mlembed.training.trainer import Trainer


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
    found = {
        key: v for key, v in vars(run_file(path, "a Trainer")).items() if isinstance(v, Trainer)
    }
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


def _list(found: dict[str, Trainer]) -> str:
    return ", ".join(found) or "none"


def _choices(path: Path, found: dict[str, Trainer]) -> str:
    return ", ".join(f"{path}:{name}" for name in found)
