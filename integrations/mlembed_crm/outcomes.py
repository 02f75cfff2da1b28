"""Bring home what came of predictions: read it where the business keeps it, report it to the model.

A page is reported before its cursor is kept, so what dies in between is reported again; a repeated
report replaces the one before, and counts once. A record whose value is no outcome is passed over:
it would stop all that come after it, at every look.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from typing import TYPE_CHECKING, Any, Protocol

from mlembed.errors import OutcomeError, SettingsError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from mlembed_crm.truths import Found, Readable, Truth

_LOG = logging.getLogger("mlembed")
_EPOCH = 1_577_836_800  # 2020-01-01: no outcome of ours is older, and revisions stay small


class Reports(Protocol):
    """What is told of an outcome; `mlembed.Model` is one."""

    def outcome(
        self,
        prediction_id: str = "",
        value: Any = None,
        *,
        key: str = "",
        observed_at: dt.datetime | None = None,
        revision: int = 0,
    ) -> None:
        """Report what really happened."""
        ...


class Cursors(Protocol):
    """Keeps how far was read; both outboxes do."""

    def cursor(self, name: str) -> str:
        """Return the cursor kept under *name*; empty where there is none."""
        ...

    def keep_cursor(self, name: str, cursor: str) -> None:
        """Keep *cursor* under *name*."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Read:
    """What one run did.

    Attributes:
        outcomes: Outcomes that were reported.
        pages: Pages that were read.
        passed_over: Records whose value is no outcome, such as a number that is not finite.
    """

    outcomes: int = 0
    pages: int = 0
    passed_over: int = 0


class Outcomes:
    """Reads outcomes from *source* and reports them to *model*.

    Args:
        name: Stable: how far was read is kept under it.
        source: A destination whose records can be read, such as `HubSpot(...)`; one that cannot, or
            None, where outcomes are only taken as they are sent.
        truth: Where it holds the outcome.
        model: What is told of it.
        cursors: Where it is kept how far was read; an outbox.

    Raises:
        SettingsError: If *name* is empty.
    """

    def __init__(
        self, name: str, source: Any, truth: Truth, model: Reports, cursors: Cursors
    ) -> None:
        if not name:
            raise SettingsError("Outcomes: name must be a text that is not empty")
        self.name = name
        self.truth = truth
        self._source: Readable = source
        self._model = model
        self._cursors = cursors
        self._warned = False

    @property
    def can_be_read(self) -> bool:
        """Whether there is anything to ask."""
        return hasattr(self._source, "changes")

    def run_once(self, stop: threading.Event | None = None) -> Read:
        """Report all that has changed since the last run, or until *stop* is set.

        Raises:
            DeliveryError: If the source cannot be read; what was reported before stays so.
            OutboxError: If the cursor cannot be kept.
            SettingsError: If there is nothing to ask.
        """
        if not self.can_be_read:
            raise SettingsError(
                f"Outcomes '{self.name}': {self._source!r} cannot be read; report what it sends "
                "with Outcomes.take"
            )
        n_outcomes = n_pages = n_passed_over = 0
        more = True
        while more and not (stop is not None and stop.is_set()):
            cursor = self._cursors.cursor(self.name)
            page = self._source.changes(self.truth, cursor)
            n_reported = sum(map(self._report, page.found))
            n_outcomes, n_pages = n_outcomes + n_reported, n_pages + 1
            n_passed_over += len(page.found) - n_reported
            if page.cursor != cursor:
                self._cursors.keep_cursor(self.name, page.cursor)
            elif page.more:
                _LOG.error("outcomes '%s': the source does not go on from its cursor", self.name)
                break
            more = page.more
        return Read(n_outcomes, n_pages, n_passed_over)

    def take(self, values: Mapping[str, Any], observed: dt.datetime) -> bool:
        """Report what a webhook told; return whether it is an outcome.

        Verify the webhook first: `mlembed_crm.verify`, or what its sender has for that.

        Args:
            values: The fields of the record, by name; those of the truth are looked at.
            observed: When it happened, with a time zone.

        Raises:
            SettingsError: If *observed* has no time zone.
        """
        if observed.tzinfo is None:
            raise SettingsError(f"Outcomes '{self.name}': observed needs a time zone")
        found = self.truth.found(values, observed.timestamp())
        return found is not None and self._report(found)

    def _report(self, found: Found) -> bool:
        """Report an outcome; return whether it is one."""
        try:
            self._model.outcome(
                found.prediction_id,
                found.value,
                key=found.key,
                observed_at=_moment(found.observed),
                revision=max(0, int(found.observed) - _EPOCH),
            )
        except OutcomeError as error:
            if not self._warned:
                self._warned = True
                _LOG.warning(
                    "outcomes '%s': a record of '%s' is passed over, mend its '%s' there (%s); "
                    "more of them are counted and not told of",
                    self.name,
                    self.truth.record,
                    self.truth.field,
                    error,
                )
            return False
        return True


def _moment(observed: float) -> dt.datetime:
    """Return the time of a change.

    Raises:
        OutcomeError: If there is no such time.
    """
    try:
        return dt.datetime.fromtimestamp(observed, dt.UTC)
    except (ValueError, OverflowError, OSError):
        raise OutcomeError("the time of its change is none") from None
