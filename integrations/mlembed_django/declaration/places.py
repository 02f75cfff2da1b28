"""Where the site keeps and sends what its models say: database, outbox, destinations, HTTP."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from mlembed_django.declaration.problems import Problem, Reader

Write = Literal["background", "transaction", "off"]

_MOST_DAYS = 36_500
_RATE = re.compile(r"([1-9][0-9]{0,8})/(s|m|h|d)")
_RATE_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseLog:
    """What the site's database holds of its predictions.

    Attributes:
        predictions: `background`: written by a thread, in bulk; `transaction`: by the caller, in
            the transaction that is open; `off`.
        sample: Share of the predictions that is kept, in [0, 1]; by id, so that all that one
            request sees of a prediction agrees. Outcomes are kept all.
        keep_days: Age beyond which `mlembed_prune` removes rows.
        using: Alias of the database.
    """

    predictions: Write = "background"
    sample: float = 1.0
    keep_days: float = 30.0
    using: str = "default"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OutboxPlace:
    """How actions wait for their delivery.

    Attributes:
        using: Alias of the database; the one in which the business rows are, so that an action and
            what it is about commit together.
        lease_seconds: How long a delivery holds an action.
        attempts: Attempts after which one is given up.
        keep_days: Age beyond which `mlembed_prune` removes what was sent or discarded.
    """

    using: str = "default"
    lease_seconds: float = 120.0
    attempts: int = 48
    keep_days: float = 30.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A destination of actions.

    Attributes:
        name: What rules call it.
        adapter: Dotted path of what makes it.
        options: Keyword arguments of that; a text may name a secret as `env:` or `file:`.
    """

    name: str
    adapter: str
    options: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """Who may ask over HTTP, and for how much.

    Attributes:
        authenticate: Dotted path of a function of the request and the model's name that tells
            whether it may be asked; empty for Django's users and permissions, with CSRF.
        rate: Calls a client may make.
        rate_seconds: In that many seconds.
        max_bytes: Largest body.
        max_records: Most records of one call.
        describe: Whether the OpenAPI description is served.
    """

    authenticate: str = ""
    rate: int = 100
    rate_seconds: float = 1.0
    max_bytes: int = 1_048_576
    max_records: int = 1_000
    describe: bool = True


def read_database(value: Any, problems: list[Problem]) -> DatabaseLog | None:
    """Read `MLEMBED['DATABASE']`; None where nothing is to be kept."""
    if value is None:
        return None
    keys = ("PREDICTIONS", "SAMPLE", "KEEP_DAYS", "USING")
    read = Reader("MLEMBED['DATABASE']", value, keys, problems)
    return DatabaseLog(
        predictions=cast("Write", read.choice("PREDICTIONS", ("background", "transaction", "off"))),
        sample=read.number("SAMPLE", 1.0, 0.0, 1.0),
        keep_days=read.number("KEEP_DAYS", 30.0, 0.0, _MOST_DAYS),
        using=read.text("USING", "default"),
    )


def read_outbox(value: Any, problems: list[Problem]) -> OutboxPlace:
    """Read `MLEMBED['OUTBOX']`."""
    keys = ("USING", "LEASE_SECONDS", "ATTEMPTS", "KEEP_DAYS")
    read = Reader("MLEMBED['OUTBOX']", {} if value is None else value, keys, problems)
    return OutboxPlace(
        using=read.text("USING", "default"),
        lease_seconds=read.number("LEASE_SECONDS", 120.0, 1.0, 600.0),
        attempts=read.whole("ATTEMPTS", 48, 1, 1_000),
        keep_days=read.number("KEEP_DAYS", 30.0, 0.0, _MOST_DAYS),
    )


def read_destinations(value: Any, problems: list[Problem]) -> dict[str, Place]:
    """Read `MLEMBED['DESTINATIONS']`."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        hint = 'Give {"desk": {"ADAPTER": "package.module.Name", "URL": "https://..."}}.'
        message = f"MLEMBED['DESTINATIONS'] is a {type(value).__name__}."
        problems.append(Problem("setting", message, hint))
        return {}
    places = {}
    for name, entry in value.items():
        known = tuple(entry) if isinstance(entry, Mapping) else ("ADAPTER",)
        read = Reader(f"MLEMBED['DESTINATIONS']['{name}']", entry, known, problems)
        adapter = read.path("ADAPTER")
        if not adapter:
            read.note(
                f"{read.place} names no adapter.",
                'Give "ADAPTER": "mlembed_crm.destinations.webhook.Webhook" and its arguments.',
            )
            continue
        options = {str(k).lower(): v for k, v in entry.items() if k != "ADAPTER"}
        places[str(name)] = Place(name=str(name), adapter=adapter, options=options)
    return places


def read_http(value: Any, problems: list[Problem]) -> Http:
    """Read `MLEMBED['HTTP']`."""
    keys = ("AUTHENTICATE", "RATE", "MAX_BYTES", "MAX_RECORDS", "DESCRIBE")
    read = Reader("MLEMBED['HTTP']", {} if value is None else value, keys, problems)
    rate = _RATE.fullmatch(read.text("RATE", "100/s"))
    if rate is None:
        read.note(f"{read.place}['RATE'] must be like 100/s.", "The units are s, m, h and d.")
    return Http(
        authenticate=read.path("AUTHENTICATE"),
        rate=int(rate[1]) if rate else 100,
        rate_seconds=_RATE_SECONDS[rate[2]] if rate else 1.0,
        max_bytes=read.whole("MAX_BYTES", 1_048_576, 1, 1 << 30),
        max_records=read.whole("MAX_RECORDS", 1_000, 1, 10_000_000),
        describe=read.flag("DESCRIBE", default=True),
    )
