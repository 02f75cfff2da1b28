"""The system checks: each has its number, its hint, and does not cry wolf."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import override_settings

from mlembed_django.middleware import PredictionMiddleware

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry


class OurMiddleware(PredictionMiddleware):
    """A site's own."""


def found(*, deploy: bool = False) -> dict[str, str]:
    """Run the checks; return the messages by id."""
    messages = run_checks(tags=["mlembed"], include_deployment_checks=deploy)
    assert all(message.hint for message in messages)
    return {str(message.id): message.msg for message in messages}


@pytest.mark.usefixtures("declared")
def test_checks_find_nothing_in_a_good_site() -> None:
    """A site that is set up as documented passes."""
    assert found() == {}


@pytest.mark.parametrize("setting", [None, [], {"REGISTRY": "x"}, {"MODLES": {}}])
def test_e001_tells_of_a_malformed_setting(setting: Any) -> None:
    """A missing or misspelt setting is an error, and the only one that a deployment is told."""
    with override_settings(MLEMBED=setting):
        assert "mlembed.E001" in found()
        assert found(deploy=True) == found()


def test_e001_stops_commands() -> None:
    """A misspelt key keeps a command from running, and names the right one."""
    with (
        override_settings(MLEMBED={"REGISTRY": "x", "MODELS": {"a": "a"}, "LOGDIR": "y"}),
        pytest.raises(CommandError, match="Did you mean 'LOG_DIR'"),
    ):
        call_command("check")


def test_e002_tells_of_a_malformed_reference(declared: dict[str, Any]) -> None:
    """So is a model or registry that cannot be meant."""
    with override_settings(MLEMBED={**declared, "MODELS": {"toy": "toy@"}}):
        assert found() == {}
    with override_settings(MLEMBED={**declared, "MODELS": {"toy": "toy!"}}):
        assert list(found()) == ["mlembed.E002"]
    with override_settings(MLEMBED={**declared, "REGISTRY": "redis://x"}):
        assert list(found()) == ["mlembed.E002"]


def test_e003_tells_of_a_model_that_cannot_serve(declared: dict[str, Any]) -> None:
    """A model that is not in the registry, and has no fallback, is an error in a deployment."""
    with override_settings(MLEMBED={**declared, "MODELS": {"toy": "toy@blue"}}):
        messages = found(deploy=True)

    assert list(messages) == ["mlembed.E003"]
    assert "MLEMBED['MODELS']['toy'] cannot serve" in messages["mlembed.E003"]
    assert "it has the versions 1.0.0 and the aliases champion" in messages["mlembed.E003"]


def test_e003_tells_of_an_absent_registry(declared: dict[str, Any], registry: FileRegistry) -> None:
    """A registry that is not there is told once a model."""
    shutil.rmtree(registry.root)

    messages = found(deploy=True)

    assert list(messages) == ["mlembed.E003", "mlembed.W002"]
    assert f"there is no registry at {declared['REGISTRY']}" in messages["mlembed.E003"]


@pytest.mark.usefixtures("declared")
def test_w002_tells_of_a_model_that_has_only_its_fallback() -> None:
    """Where a fallback answers, the site works, so it is a warning."""
    messages = found(deploy=True)

    assert list(messages) == ["mlembed.W002"]
    assert "MLEMBED['MODELS']['gone'] can only answer with its fallback" in messages["mlembed.W002"]


def test_the_registry_is_read_in_deployment_checks_alone(declared: dict[str, Any]) -> None:
    """Tests, migrations and image builds do not need the models."""
    with override_settings(MLEMBED={**declared, "REGISTRY": "/nowhere"}):
        assert found() == {}


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([], ["mlembed.W001"]),
        (["django.middleware.common.CommonMiddleware", "no.such.Thing"], ["mlembed.W001"]),
        ([f"{__name__}.OurMiddleware"], []),
    ],
)
def test_w001_tells_of_the_missing_middleware(middleware: list[str], expected: list[str]) -> None:
    """The app without its middleware, or a class made from it, is a warning."""
    with override_settings(MIDDLEWARE=middleware):
        assert list(found()) == expected
