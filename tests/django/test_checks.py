"""The system checks: each has its number, its hint, and does not cry wolf."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from bundles import toy_bundle
from checked import checked, found
from mlembed.bundle.keys import new_key
from mlembed_django import checks
from mlembed_django.middleware import PredictionMiddleware

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry


PATH = "mlembed_django.middleware.PredictionMiddleware"


class OurMiddleware(PredictionMiddleware):
    """A site's own."""


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
        ([f"{__name__}.OurMiddleware", PATH], ["mlembed.W008"]),
        ([], ["mlembed.W001"]),
        (["django.middleware.common.CommonMiddleware", "no.such.Thing"], ["mlembed.W001"]),
        ([f"{__name__}.OurMiddleware"], []),
    ],
)
def test_w001_and_w008_tell_of_the_middleware(middleware: list[str], expected: list[str]) -> None:
    """The app without its middleware, or a class made from it, is a warning; so are two of them."""
    with override_settings(MIDDLEWARE=middleware):
        assert list(found()) == expected


def test_every_id_is_in_the_table() -> None:
    """The package's table lists each id once, and no other."""
    folder = Path(checks.__file__).parent
    sources = [path.read_text() for path in (*folder.glob("*.py"), folder.parent / "fields.py")]

    used = {found for source in sources for found in re.findall(r'"(mlembed\.[EW]\d{3})"', source)}

    assert re.findall(r"^\| `(mlembed\.[EW]\d{3})` \|", checks.__doc__, re.MULTILINE) == sorted(
        used
    )


def test_checks_survive_any_setting() -> None:
    """A setting of a wrong kind in any place is told of, and no check raises."""
    good = {"REGISTRY": "/nowhere", "MODELS": {"toy": "toy"}}
    for key in (
        "REGISTRY",
        "MODELS",
        "DATABASE",
        "ACTIONS",
        "OUTBOX",
        "DESTINATIONS",
        "HTTP",
        "USER",
    ):
        for value in (3, "x", ["x"], {"x": 1}, {3: None}, [{}], object(), b"x", float("nan")):
            with override_settings(MLEMBED={**good, key: value}):
                assert checked(deploy=True)


def test_e001_tells_of_keys_of_every_part(declared: dict[str, Any]) -> None:
    """A misspelt key is found in each part of the setting, and the nearest is named."""
    parts = {
        "DATABASE": {"SAMPEL": 0.5},
        "OUTBOX": {"ATEMPTS": 3},
        "HTTP": {"RATTE": "3/s"},
    }
    with override_settings(MLEMBED={**declared, **parts}):
        hints = [str(message.hint) for message in checked()]

    assert [hint.split("?")[0] for hint in hints] == [
        "Did you mean 'SAMPLE'",
        "Did you mean 'ATTEMPTS'",
        "Did you mean 'RATE'",
    ]


def test_e006_tells_of_a_name_that_two_apps_declare(declared: dict[str, Any]) -> None:
    """MODELS may be a list of the dicts of several apps, in which each name stands once."""
    ours, theirs = {"toy": "toy@champion"}, {"tox": "toy@1.0.0"}
    with override_settings(MLEMBED={**declared, "MODELS": [ours, theirs]}):
        assert found() == {}
    with override_settings(MLEMBED={**declared, "MODELS": [ours, theirs, ours]}):
        assert found() == {
            "mlembed.E006": "MLEMBED['MODELS'] declares 'toy' twice, in two of its dicts."
        }
    with override_settings(MLEMBED={**declared, "MODELS": [ours, "toy"]}):
        assert list(found()) == ["mlembed.E001"]


def test_w003_tells_of_one_model_under_two_names(declared: dict[str, Any]) -> None:
    """The same reference twice is a warning; two versions of one model are none."""
    models = {"toy": "toy@champion", "tox": "toy@1.0.0", "twin": {"REF": "toy"}}
    with override_settings(MLEMBED={**declared, "MODELS": models}):
        messages = found()

    assert list(messages) == ["mlembed.W003"]
    assert "declares toy@champion twice, as 'toy' and 'twin'" in messages["mlembed.W003"]


def test_e003_tells_of_a_changed_byte(declared: dict[str, Any], registry: FileRegistry) -> None:
    """Every byte of a bundle in a directory is verified in a deployment."""
    digest = next(f.sha256 for f in toy_bundle().manifest.files if f.path == "model.onnx")
    path = registry.root / "toy" / "blobs" / "sha256" / digest
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    with override_settings(MLEMBED={**declared, "MODELS": {"toy": "toy"}}):
        messages = found(deploy=True)

    assert list(messages) == ["mlembed.E003"]
    assert "model.onnx is not the file that was published" in messages["mlembed.E003"]


def test_e003_tells_of_a_bundle_that_nobody_signed(
    declared: dict[str, Any], tmp_path: Path
) -> None:
    """Where keys are named, what is not signed by one of them cannot serve."""
    public = tmp_path / "key.pub"
    public.write_bytes(new_key()[1])
    setting = {**declared, "MODELS": {"toy": "toy"}, "KEYS": [public], "CACHE": tmp_path / "cache"}

    with override_settings(MLEMBED=setting):
        messages = found(deploy=True)

    assert list(messages) == ["mlembed.E003"]
    assert "is not signed" in messages["mlembed.E003"]
