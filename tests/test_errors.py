"""The error tree is what its docstring draws, and every error travels between processes."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING

import pytest

from mlembed import errors
from mlembed.errors import MissingExtraError, MlembedError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE = re.compile(r"^ {4}([│ ├└─]*)(\w+Error)(?: +\((\w+)\))?", re.MULTILINE)


def drawn() -> Iterator[tuple[str, str, str]]:
    """Yield name, parent and second base of every error in the module's docstring."""
    parents: list[str] = []
    for branch, name, builtin in _LINE.findall(errors.__doc__ or ""):
        del parents[len(branch) // 4 :]
        yield name, parents[-1] if parents else "Exception", builtin
        parents.append(name)


def defined() -> Iterator[tuple[str, str, str]]:
    """Yield the same of every class in the module."""
    for name, kind in vars(errors).items():
        if isinstance(kind, type):
            parent, *others = (base.__name__ for base in kind.__bases__)
            yield name, parent, others[0] if others else ""


def examples() -> list[MlembedError]:
    """Return one instance of every error."""
    special: dict[type, MlembedError] = {
        MissingExtraError: MissingExtraError("training", "train"),
        SchemaError: SchemaError("toy@1.0.0", ("'age' is missing",)),
    }
    kinds = [getattr(errors, name) for name, _, _ in drawn()]
    return [special.get(kind) or kind("what is wrong") for kind in kinds]


def test_errors_are_as_drawn() -> None:
    """The tree in the docstring is the tree in the code, second bases included."""
    assert sorted(drawn()) == sorted(defined())


@pytest.mark.parametrize("error", examples(), ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error: MlembedError) -> None:
    """An error raised in a worker process says the same in the parent."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_missing_extra_error_names_the_command() -> None:
    """A missing library is answered with the command that installs it."""
    error = MissingExtraError("mlembed.training", "train")

    assert str(error) == "mlembed.training needs the extra 'train': pip install 'mlembed[train]'"


def test_schema_error_lists_every_problem() -> None:
    """All bad fields stand in one message, with the command that shows the columns."""
    text = str(SchemaError("toy@1.0.0", ("'age' is missing", "'town' is int")))

    assert "'age' is missing; 'town' is int" in text
    assert "python -m mlembed inspect toy@1.0.0" in text
