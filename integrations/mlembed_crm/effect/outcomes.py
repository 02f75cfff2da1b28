"""Find what came of those for whom actions were: of this model, and not of before the action.

What an outcome says of the very prediction that was acted on is nearest. Else any that was reported
of its entity counts, whichever prediction it names: a business system may hold the id of a later
one. What happened before the action cannot have come of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlembed_crm.action import Action


class Observed(NamedTuple):
    """One report of an outcome.

    Attributes:
        model: Whose outcome it is.
        key: Of the entity; empty where it is not known.
        prediction_id: Of the prediction that it names; empty where it names none.
        value: What happened; None where that is nothing that has a mean.
        moment: When it happened or, where that is not known, was reported; Unix time.
        rank: What of two reports is higher for the one that counts.
    """

    model: str
    key: str
    prediction_id: str
    value: bool | float | None
    moment: float
    rank: tuple[int, int]


def lookup(observed: Iterable[Observed]) -> Callable[[Action], bool | float | None]:
    """Return what finds the outcome of an action, None where it is not known.

    That is the report of the highest rank, among equals the last, of those that name the action's
    prediction. Where none does, it is that of those about the model and key of the action, if
    what they tell did not happen before it.
    """
    by_prediction: dict[tuple[str, str], Observed] = {}
    by_key: dict[tuple[str, str], list[Observed]] = {}
    for one in sorted(observed, key=lambda one: one.rank):
        if one.prediction_id:
            by_prediction[one.model, one.prediction_id] = one
        if one.key:
            by_key.setdefault((one.model, one.key), []).append(one)

    def outcome_of(action: Action) -> bool | float | None:
        own = by_prediction.get((action.model, action.prediction_id))
        if own is not None:
            return own.value
        every = by_key.get((action.model, action.key or ""), ())
        return next((one.value for one in reversed(every) if one.moment >= action.created), None)

    return outcome_of
