"""Run the system checks of mlembed, for the tests of several files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.checks import run_checks

if TYPE_CHECKING:
    from django.core.checks import CheckMessage


def checked(*, deploy: bool = False) -> list[CheckMessage]:
    """Run the checks; each message must have a hint."""
    messages = run_checks(tags=["mlembed"], include_deployment_checks=deploy)
    assert all(message.hint for message in messages)
    return messages


def found(*, deploy: bool = False) -> dict[str, str]:
    """Run the checks; return the messages by id, in alphabetical order of the ids."""
    return {str(message.id): message.msg for message in sorted(checked(deploy=deploy), key=_id)}


def _id(message: CheckMessage) -> str:
    return str(message.id)
