"""The errors of the actions, part of mlembed's tree.

    MlembedError
    ├── OutboxError           (OSError)      the outbox cannot be read or written
    │   └── UnknownActionError (LookupError) it holds no such action
    ├── PayloadError          (ValueError)   an action cannot be written as JSON
    ├── DeliveryError         (OSError)      a destination did not take an action
    └── VerificationError     (ValueError)   a received webhook is not from the sender

None shows a key, a score, a payload, a secret or a URL's path: those end in logs. Every error
survives pickling.
"""

from __future__ import annotations

from mlembed.errors import MlembedError


class OutboxError(MlembedError, OSError):
    """The outbox cannot be read or written; what was in it stays as it was."""


class UnknownActionError(OutboxError, LookupError):
    """The outbox holds no action of that id."""


class PayloadError(MlembedError, ValueError):
    """An action's payload is no JSON, or is too large to send."""


class DeliveryError(MlembedError, OSError):
    """A destination did not take an action.

    Attributes:
        reason: What happened, for people.
        retry_after: Seconds the destination asked everyone to wait, or None.
        permanent: Whether sending it again cannot help.
        reached: Whether the destination answered at all.
        status: The status code of its answer; 0 where it has none.
        stops: Whether the destination takes nothing from anyone until somebody acts: its
            credentials or its address are not good.
        unknown: Whether it may have taken the action nevertheless: no answer came to what was sent.
    """

    def __init__(  # noqa: PLR0917  positional, so that it survives pickling
        self,
        reason: str,
        retry_after: float | None = None,
        permanent: bool = False,  # noqa: FBT001, FBT002  idem
        reached: bool = True,  # noqa: FBT001, FBT002  idem
        status: int = 0,
        stops: bool = False,  # noqa: FBT001, FBT002  idem
        unknown: bool = False,  # noqa: FBT001, FBT002  idem
    ) -> None:
        super().__init__(reason, retry_after, permanent, reached, status, stops, unknown)
        self.reason = reason
        self.retry_after = retry_after
        self.permanent = permanent
        self.reached = reached
        self.status = status
        self.stops = stops
        self.unknown = unknown

    @property
    def ends_all(self) -> bool:
        """Whether it is of no use to call again now."""
        return self.stops or self.retry_after is not None or not self.reached

    def __str__(self) -> str:
        return self.reason


class VerificationError(MlembedError, ValueError):
    """A received webhook was not signed by the sender, or not now."""
