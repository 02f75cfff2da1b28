"""Decide what is to become of an action, by what its destination answered."""

from __future__ import annotations

import dataclasses
import logging
import random
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError
from mlembed_crm.errors import DeliveryError
from mlembed_crm.outboxes import MAX_RETRY_AFTER_SECONDS, Attempt

if TYPE_CHECKING:
    from mlembed_crm.action import Action
    from mlembed_crm.destinations import Destination
    from mlembed_crm.outboxes import Deliverable
    from mlembed_crm.sending import Answered

_LOG = logging.getLogger("mlembed")
_MAX_EXPONENT = 30
_MANY_TOLD = 1000
_STOP_SECONDS = 3600.0
_TRIED_WELL = 12  # attempts; the pauses between them add up to more than an hour
_LOOK = "it may have arrived, look there first"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How long to go on with an action that is not taken.

    The pause before an attempt is drawn between 0 and a bound that doubles each time.

    Attributes:
        first_seconds: The bound after the first attempt.
        most_seconds: The greatest bound.
        attempts: Attempts after which an action is dead.
        age_seconds: Age at which a failing action is dead, once it was tried a dozen times: it may
            have waited for a destination that was stopped.
    """

    first_seconds: float = 5.0
    most_seconds: float = 4 * 3600.0
    attempts: int = 48
    age_seconds: float = 3 * 86_400.0

    def __post_init__(self) -> None:
        if not 0 <= self.first_seconds <= self.most_seconds or self.attempts < 1:
            raise SettingsError("Retries: need 0 <= first_seconds <= most_seconds, attempts >= 1")
        if self.most_seconds > MAX_RETRY_AFTER_SECONDS:
            raise SettingsError(
                f"Retries: most_seconds is at most {MAX_RETRY_AFTER_SECONDS:g}, a day; a longer wait "
                "cannot be told from one that a clock made absurd"
            )

    def pause_seconds(self, attempts: int) -> float:
        """Return how long to wait after *attempts* attempts."""
        bound = self.first_seconds * 2.0 ** min(attempts - 1, _MAX_EXPONENT)
        return random.uniform(0.0, min(self.most_seconds, bound))  # noqa: S311  spreads retries, guards nothing


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Remedies:
    """What people are told to do.

    Attributes:
        redeliver: To send an action again that was given up; `{id}` is its id.
        resume: To send to a destination that is stopped; `{name}` is its name.
    """

    redeliver: str = "mlembed actions redeliver FILE {id}"
    resume: str = "mlembed actions resume FILE {name}"


class Fates:
    """Decides for the actions of *outbox*.

    Args:
        outbox: Where a destination that is to be left alone is noted.
        retries: How long to go on.
        remedies: How people put things right, for the log.
    """

    def __init__(self, outbox: Deliverable, retries: Retries, remedies: Remedies) -> None:
        self._outbox = outbox
        self._retries = retries
        self._remedies = remedies
        self._told: set[tuple[object, ...]] = set()

    def spent(self, destination: Destination, action: Action) -> str:
        """Return why *action* may not be sent any more; empty where it may."""
        if action.attempts > self._retries.attempts:
            return f"none of {self._retries.attempts} attempts ended"
        if action.unsettled and not destination.limits.idempotent:
            return f"a delivery ended in the middle of it; {_LOOK}"
        return ""

    def of(self, destination: Destination, one: Answered, started: float) -> Attempt:
        """Return what became of one action, and when the call began, as Unix time."""
        answer, action = one.answer, one.action
        if not isinstance(answer, DeliveryError):
            return Attempt(
                action=action,
                result="sent",
                started=started,
                seconds=one.seconds,
                status=getattr(answer, "status", 0),
                detail=str(getattr(answer, "remote_id", "")),
            )
        fate = self._fate(destination, action, answer)
        return dataclasses.replace(fate, started=started, seconds=one.seconds, status=answer.status)

    def _fate(self, destination: Destination, action: Action, error: DeliveryError) -> Attempt:
        """Return what is to become of an *action* that was not taken."""
        now = self._outbox.now()
        if error.stops:
            self._stop_sending(action, error, now)
            return given_back(action, now, error.reason, tried=True)
        if error.permanent:
            return self.buried(action, error.reason)
        if error.unknown and not destination.limits.idempotent:
            return self.buried(action, f"{error.reason}; {_LOOK}")
        if error.retry_after is not None:
            # To be told to wait says nothing about the action: it does not count.
            wait = min(error.retry_after, MAX_RETRY_AFTER_SECONDS)
            if wait > 0:  # else only the call has ended
                self._leave_alone(action, now + wait, error)
            return given_back(action, now + wait, error.reason, tried=wait > 0 or error.status > 0)
        age = now - action.queued
        most = self._retries.attempts
        if age >= self._retries.age_seconds:
            most = min(most, _TRIED_WELL)
        if action.attempts >= most:
            tried = f"{action.attempts} attempts in {age:.0f} s"
            return self.buried(action, f"{error.reason}, after {tried}")
        pause = self._retries.pause_seconds(max(1, action.attempts))
        _LOG.log(
            logging.WARNING if self._is_first(action, error) else logging.DEBUG,
            "action %s of rule '%s' not taken by '%s': %s; next attempt in %.0f s",
            *(action.id, action.rule, action.destination, error.reason, pause),
        )
        return Attempt(action=action, result="failed", detail=error.reason, retry_at=now + pause)

    def _is_first(self, action: Action, error: DeliveryError) -> bool:
        """Tell whether *action* is the first of its batch of which this is said; one answer is."""
        said = error.reason, error.stops, error.retry_after
        about = action.destination, action.lease, *said
        if about in self._told:
            return False
        if len(self._told) >= _MANY_TOLD:
            self._told.clear()
        self._told.add(about)
        return True

    def _leave_alone(self, action: Action, until: float, error: DeliveryError) -> None:
        """Let nobody send to a destination for a while."""
        name = action.destination
        if self._is_first(action, error):
            self._outbox.pause(name, until, error.reason)
            _LOG.warning(
                "destination '%s' is left alone for %.0f s: %s",
                *(name, until - self._outbox.now(), error.reason),
            )

    def _stop_sending(self, action: Action, error: DeliveryError, now: float) -> None:
        name = action.destination
        if self._is_first(action, error):
            self._outbox.pause(name, now + _STOP_SECONDS, error.reason)
            _LOG.error(
                "destination '%s' is stopped for %.0f s: %s. Nothing is lost; mend it, and send at "
                "once with: %s",
                *(name, _STOP_SECONDS, error.reason, self._remedies.resume.replace("{name}", name)),
            )

    def buried(self, action: Action, reason: str, *, tried: bool = True) -> Attempt:
        """Give *action* up, and say so."""
        _LOG.error(
            "action %s of rule '%s' is given up: '%s' said %s. Send it again with: %s",
            *(action.id, action.rule, action.destination, reason),
            self._remedies.redeliver.replace("{id}", action.id),
        )
        return Attempt(action=action, result="dead", detail=reason, tried=tried)


def given_back(
    action: Action, retry_at: float, reason: str = "", *, tried: bool = False
) -> Attempt:
    """Return that *action* is to be tried again, and that this was no fault of it."""
    return Attempt(
        action=action,
        result="failed",
        detail=reason or action.last_error,
        retry_at=retry_at,
        counted=False,
        tried=tried,
    )
