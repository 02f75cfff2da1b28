"""References and pointers: how a name finds a bundle.

A pointer is a statement of its own with a rising serial and the digest of the one before,
so that history is a chain and a rollback is a newer pointer to an older bundle. It travels in a
DSSE envelope, signed or not.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

from mlembed.bundle import strictjson
from mlembed.bundle.bundle import sha256
from mlembed.bundle.dsse import Envelope, seal
from mlembed.bundle.manifest import NAME_RULE, is_moment, is_name, is_sha256, is_version
from mlembed.errors import BundleError, IntegrityError, SettingsError

if TYPE_CHECKING:
    from mlembed.bundle.keys import Signer

DEFAULT_ALIAS = "champion"
MAX_POINTER_BYTES = 64 * 1024
MAX_TEXT = 2_000
PAYLOAD_TYPE = "application/vnd.mlembed.pointer+json"
_ACTIONS = ("promote", "rollback", "renew")
MAX_SERIAL = 2**53  # what every reader of JSON holds exactly


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
class Target:
    """What a reference points at: one immutable bundle."""

    name: str
    version: str
    bundle_id: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pointer:
    """Where an alias points, since when and why.

    Attributes:
        name: Name of the model.
        alias: The alias.
        version: Version it points at.
        bundle_id: Id of that version's bundle.
        serial: Number of this pointer, from 1, rising by 1.
        prev: Digest of the pointer before, see `digest`; empty for the first.
        issued: Time of issue, ISO 8601 in UTC.
        expires: Time after which hosts call it stale, ISO 8601 in UTC; empty for never.
        action: `promote`, `rollback` or `renew`.
        by: Who moved it, as that machine knows them; the signature alone proves it.
        reason: Why, in their words.
    """

    name: str
    alias: str
    version: str
    bundle_id: str
    serial: int
    prev: str
    issued: str
    expires: str
    action: str
    by: str
    reason: str

    @property
    def target(self) -> Target:
        """The bundle it points at."""
        return Target(self.name, self.version, self.bundle_id)

    @property
    def digest(self) -> str:
        """sha256 of the statement in hex; a signature that is renewed does not change it."""
        return sha256(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Write the statement; equal pointers give equal bytes."""
        return strictjson.dumps(dataclasses.asdict(self))

    def sealed(self, signer: Signer | None = None) -> bytes:
        """Write the statement in its envelope, signed by *signer*."""
        signers = () if signer is None else (signer,)
        return seal(PAYLOAD_TYPE, self.to_bytes(), signers).to_bytes()

    def expired(self, now: dt.datetime, tolerance: dt.timedelta = dt.timedelta()) -> bool:
        """Tell whether it was stale at *now*, with *tolerance* for clocks that differ."""
        return bool(self.expires) and dt.datetime.fromisoformat(self.expires) < now - tolerance


class Entry(NamedTuple):
    """A pointer as it is stored.

    Attributes:
        pointer: What it says.
        envelope: The statement with its signatures.
        data: The very bytes, for whoever copies them.
    """

    pointer: Pointer
    envelope: Envelope
    data: bytes


def read_entry(data: bytes, place: str) -> Entry:
    """Read a stored pointer, naming *place* in errors; signatures are not judged here.

    Raises:
        IntegrityError: If it is not exactly as it was written.
    """
    try:
        envelope = Envelope.from_bytes(data, place, MAX_POINTER_BYTES)
    except IntegrityError as error:
        raise IntegrityError(f"{place} is not a pointer; promote again") from error
    if envelope.payload_type != PAYLOAD_TYPE:
        raise IntegrityError(f"{place} is not a pointer; promote again")
    try:
        raw: Any = strictjson.loads(envelope.payload, place, MAX_POINTER_BYTES)
        pointer = Pointer(**raw)
    except (TypeError, BundleError) as error:
        raise IntegrityError(f"{place} is not a pointer: {error}; promote again") from error
    written = (envelope.to_bytes(), pointer.to_bytes())
    if not _is_whole(pointer) or written != (data, envelope.payload):
        raise IntegrityError(f"{place} is not as it was written; promote again")
    return Entry(pointer, envelope, data)


def require_name(name: str) -> str:
    """Return *name*, if it may name a model.

    Raises:
        SettingsError: If it may not.
    """
    if not is_name(name):
        raise SettingsError(f"{name!r} is no model name; expected {NAME_RULE}")
    return name


def require_alias(alias: str) -> str:
    """Return *alias*, if it may name one.

    Raises:
        SettingsError: If it may not.
    """
    if not is_name(alias) or is_version(alias):
        raise SettingsError(f"{alias!r} is no alias; expected a word such as 'champion'")
    return alias


def _is_whole(pointer: Pointer) -> bool:
    texts = (pointer.name, pointer.alias, pointer.prev, pointer.by, pointer.reason)
    times = (pointer.issued, pointer.expires or pointer.issued)
    return (
        all(isinstance(text, str) for text in (*texts, *times))
        and is_name(pointer.name)
        and is_name(pointer.alias)
        and is_sha256(pointer.bundle_id)
        and is_version(pointer.version)
        and (pointer.prev == "" or is_sha256(pointer.prev))
        and type(pointer.serial) is int
        and 1 <= pointer.serial < MAX_SERIAL
        and pointer.action in _ACTIONS
        and all(map(is_moment, times))
    )
