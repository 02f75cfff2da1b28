"""Find what a file declares: rules, deliveries and readers of outcomes."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlembed.declaring import run_file
from mlembed.errors import DeclarationError
from mlembed_crm.delivery import Delivery
from mlembed_crm.hook import Actions
from mlembed_crm.outbox import Outbox
from mlembed_crm.outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

_SQLITE = b"SQLite format 3\0"


class Declared:
    """What *where* declares.

    Args:
        where: A Python file that has `Actions(...)`, `Delivery(...)` or `Outcomes(...)` at its top
            level; or the SQLite file of an outbox, for what needs nothing else.

    Raises:
        DeclarationError: If there is no such file, or it fails.
        OutboxError: If the SQLite file is no outbox.
    """

    def __init__(self, where: str) -> None:
        self._where = Path(where)
        if not self._where.is_file():
            raise DeclarationError(
                f"there is no file {where}; expected one that declares Actions or a Delivery, or "
                "the SQLite file of an outbox"
            )
        self._found: dict[str, Any] = {}
        if _is_sqlite(self._where):
            _require_outbox(self._where)
            self._found["outbox"] = Outbox(self._where)
        else:
            self._found = dict(vars(run_file(self._where, "Actions or a Delivery")))

    @property
    def actions(self) -> Actions:
        """The rules."""
        return self._one(Actions)

    @property
    def delivery(self) -> Delivery:
        """What delivers."""
        return self._one(Delivery)

    @property
    def outcomes(self) -> list[Outcomes]:
        """What reads outcomes; there may be several.

        Raises:
            DeclarationError: If there is none.
        """
        found = self._all(Outcomes)
        if not found:
            raise DeclarationError(f"{self._where} declares no Outcomes(...)")
        return found

    @property
    def outbox(self) -> Outbox:
        """The outbox that they share."""
        for outbox in self._outboxes():
            return outbox
        raise DeclarationError(f"{self._where} declares no Outbox(...)")

    @property
    def new_outboxes(self) -> list[Outbox]:
        """The outboxes that were not there before."""
        return [outbox for outbox in self._outboxes() if outbox.is_new]

    def _one(self, kind: type[T]) -> T:
        found = self._all(kind)
        if len(found) != 1:
            count = "several" if found else "no"
            raise DeclarationError(
                f"{self._where} declares {count} {kind.__name__}(...) at its top level; "
                "expected one"
            )
        return found[0]

    def _outboxes(self) -> list[Outbox]:
        users: list[Delivery | Actions] = [*self._all(Delivery), *self._all(Actions)]
        return _each(Outbox, (*self._all(Outbox), *(user.outbox for user in users)))

    def _all(self, kind: type[T]) -> list[T]:
        values = self._found.values()
        several = (value if isinstance(value, (list, tuple)) else (value,) for value in values)
        return _each(kind, itertools.chain.from_iterable(several))


def _each(kind: type[T], values: Iterable[Any]) -> list[T]:
    """Return those of *values* that are of a kind, each once."""
    return list({id(one): one for one in values if isinstance(one, kind)}.values())


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _require_outbox(path: Path) -> None:
    """Refuse a database without actions, in which an outbox would make its tables."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        query = "SELECT 1 FROM sqlite_master WHERE name = 'mlembed_action'"
        if connection.execute(query).fetchone() is None:
            raise DeclarationError(f"{path} is a database without an outbox; name another file")
    finally:
        connection.close()
