"""References and pointers: how a name finds a bundle.

A pointer is a statement of its own with a rising serial and the digest of the one before,
so that history is a chain and a rollback is a newer pointer to an older bundle.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from mlembed.bundle import strictjson
from mlembed.bundle.manifest import is_name, is_sha256, is_version
from mlembed.errors import BundleError, IntegrityError, SettingsError

DEFAULT_ALIAS = "champion"
_MAX_POINTER_BYTES = 64 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Ref:
    """A model and which of its versions: an alias or a `major.minor.patch` version."""

    name: str
    selector: str = DEFAULT_ALIAS

    @property
    def is_alias(self) -> bool:
        """Whether the selector may move."""
        return not is_version(self.selector)

    def __str__(self) -> str:
        return f"{self.name}@{self.selector}"


def parse_ref(text: str) -> Ref:
    """Read `name`, `name@alias` or `name@1.2.0`; a bare name means its champion.

    Raises:
        SettingsError: If *text* is none of these.
    """
    name, _, selector = text.partition("@")
    ref = Ref(name, selector or DEFAULT_ALIAS)
    if not is_name(ref.name) or not (is_name(ref.selector) or is_version(ref.selector)):
        raise SettingsError(
            f"{text!r} is no model reference; expected name@alias or name@1.2.0 "
            "with lower-case letters, digits, '.', '_' and '-'"
        )
    return ref


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """What a reference points at: one immutable bundle."""

    name: str
    version: str
    bundle_id: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Where an alias points, since when and why.

    Attributes:
        name: Name of the model.
        alias: The alias.
        version: Version it points at.
        bundle_id: Id of that version's bundle.
        serial: Number of this pointer, from 1, rising by 1.
        prev: sha256 of the pointer before, in hex; empty for the first.
        issued: Time of issue, ISO 8601 in UTC.
        action: `promote` or `rollback`.
        reason: Why, in the words of who did it.
    """

    name: str
    alias: str
    version: str
    bundle_id: str
    serial: int
    prev: str
    issued: str
    action: str
    reason: str

    @property
    def target(self) -> Target:
        """The bundle it points at."""
        return Target(self.name, self.version, self.bundle_id)

    def to_bytes(self) -> bytes:
        """Write the pointer; equal pointers give equal bytes."""
        return strictjson.dumps(dataclasses.asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Pointer:
        """Read a pointer, naming *place* in errors.

        Raises:
            IntegrityError: If it is not exactly as `to_bytes` writes it.
        """
        try:
            raw: Any = strictjson.loads(data, place, _MAX_POINTER_BYTES)
            pointer = cls(**raw)
        except (TypeError, BundleError) as error:
            raise IntegrityError(f"{place} is not a pointer: {error}; promote again") from error
        texts = (pointer.name, pointer.alias, pointer.prev, pointer.issued, pointer.reason)
        if not (
            all(isinstance(text, str) for text in texts)
            and is_sha256(pointer.bundle_id)
            and is_version(pointer.version)
            and type(pointer.serial) is int
            and pointer.serial >= 1
            and pointer.action in ("promote", "rollback")
            and pointer.to_bytes() == data
        ):
            raise IntegrityError(f"{place} is not as it was written; promote again")
        return pointer
