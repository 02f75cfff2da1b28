"""Assert in a test what is queued, and say what there is where it is not so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed_django.conf import site

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed_crm.action import Action
    from mlembed_django.capturing import CapturedActions

open_captures: list[CapturedActions] = []


def assertActionQueued(  # noqa: N802  as unittest spells it
    actions: Sequence[Action] | None = None,
    *,
    rule: str | None = None,
    key: Any = None,
    destination: str | None = None,
    payload: Mapping[str, Any] | None = None,
) -> Action:
    """Assert that an action is queued which is all of what is given; return the first.

    Args:
        actions: What `capture_actions` gave; the innermost open one by default, and where none is
            open, what the outbox in the test's database holds.
        rule: Name of its rule.
        key: Key of its entity.
        destination: Name of its destination.
        payload: Names and values that its payload holds, among others.

    Raises:
        AssertionError: Listing what there is.
    """
    there, failed = _look(actions)
    wanted = _given(rule=rule, key=key, destination=destination, payload=payload)
    for action in there:
        if _fits(action, wanted):
            return action
    raise AssertionError(f"no action {_described(wanted)}is queued. {_listed(there, failed)}")


def assertNoActionQueued(  # noqa: N802  idem
    actions: Sequence[Action] | None = None,
    *,
    rule: str | None = None,
    key: Any = None,
    destination: str | None = None,
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Assert that no action is queued which is all of what is given; arguments as before.

    Raises:
        AssertionError: Listing what there is.
    """
    there, failed = _look(actions)
    wanted = _given(rule=rule, key=key, destination=destination, payload=payload)
    was_to_be = any(rule in (None, name) for name, _ in failed)
    if was_to_be or any(_fits(action, wanted) for action in there):
        raise AssertionError(
            f"an action {_described(wanted)}is queued, or was to be. {_listed(there, failed)}"
        )


class ActionAssertions:
    """Gives a TestCase `assertActionQueued` and `assertNoActionQueued`."""

    assertActionQueued = staticmethod(assertActionQueued)  # noqa: N815  as unittest spells it
    assertNoActionQueued = staticmethod(assertNoActionQueued)  # noqa: N815  idem


def _look(
    actions: Sequence[Action] | None,
) -> tuple[Sequence[Action], Sequence[tuple[str, Exception]]]:
    """Return the actions there are, and what failed to be one."""
    if actions is None and open_captures:
        actions = open_captures[-1]
    if actions is None:
        from mlembed_django.queued import listed_actions  # needs the site's apps

        try:
            return list(listed_actions(site().declaration.outbox.using)), ()
        except Exception as error:
            raise AssertionError(
                f"no capture_actions() is open, and the outbox cannot be read "
                f"({type(error).__name__}: {error}). Put `with capture_actions():` around what acts"
            ) from error
    return actions, getattr(actions, "failed", ())


def _given(**wanted: Any) -> dict[str, Any]:
    given = {name: value for name, value in wanted.items() if value is not None}
    return given | ({"key": str(given["key"])} if "key" in given else {})


def _fits(action: Action, wanted: Mapping[str, Any]) -> bool:
    for name, value in wanted.items():
        found = getattr(action, name)
        if name == "payload":
            found = {key: found[key] for key in value if key in found}
        if found != value:
            return False
    return True


def _described(wanted: Mapping[str, Any]) -> str:
    return f"with {', '.join(f'{k}={v!r}' for k, v in wanted.items())} " if wanted else ""


def _listed(actions: Sequence[Action], failed: Sequence[tuple[str, Exception]]) -> str:
    lines = [
        f"  rule={a.rule!r} key={a.key!r} destination={a.destination!r} score={a.score:g} "
        f"payload={dict(a.payload)!r}"
        for a in actions
    ]
    lines += [f"  rule={name!r} failed: {type(e).__name__}: {e}" for name, e in failed]
    return "\n".join([f"There are {len(actions)}:", *lines]) if lines else "There is none."
