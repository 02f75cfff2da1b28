"""Issue pointers: who moves an alias, with which keys, and for how long it holds."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from typing import TYPE_CHECKING

from mlembed.errors import IntegrityError, SettingsError
from mlembed.registry.pointer import MAX_SERIAL, MAX_TEXT, Pointer

if TYPE_CHECKING:
    from mlembed.bundle.keys import Signer
    from mlembed.registry.pointer import Target

SIGNED_DAYS = 90
_MOST_DAYS = 36_500


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Whoever moves aliases.

    Attributes:
        by: Their name; `user@host` where it is empty.
        signer: The key that signs; None for statements that anybody could have written.
        days: Days until a pointer expires, 0 for never; 90 where it is signed and None is given.
    """

    by: str = ""
    signer: Signer | None = None
    days: float | None = None

    def issue(
        self, target: Target, alias: str, action: str, reason: str, last: Pointer | None
    ) -> Pointer:
        """Return the pointer of *alias* at *target* that follows *last*.

        Raises:
            SettingsError: If the days are no time that a calendar has.
            IntegrityError: If no serial is left.
        """
        if last is not None and last.serial >= MAX_SERIAL:
            raise IntegrityError(
                f"{target.name}@{alias} has serial {last.serial}, the last there can be: somebody "
                "spoilt it. Remove that pointer and its log entry, or use another alias"
            )
        now = dt.datetime.now(dt.UTC)
        days = (SIGNED_DAYS if self.signer else 0) if self.days is None else self.days
        if not -_MOST_DAYS <= days <= _MOST_DAYS:
            raise SettingsError(f"days must be between 0 and {_MOST_DAYS}")
        expires = (now + dt.timedelta(days=days)).isoformat(timespec="seconds") if days else ""
        return Pointer(
            name=target.name,
            alias=alias,
            version=target.version,
            bundle_id=target.bundle_id,
            serial=last.serial + 1 if last is not None else 1,
            prev=last.digest if last is not None else "",
            issued=now.isoformat(timespec="seconds"),
            expires=expires,
            action=action,
            by=(self.by or whoever())[:MAX_TEXT],
            reason=reason,
        )


def whoever() -> str:
    """Return who runs this process, as this machine knows them: `user@host`."""
    import getpass  # hosts start without
    import socket

    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"
