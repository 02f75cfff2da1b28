"""`mlembed_check` puts each model to work, and its exit status tells a deployment."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from bundles import toy_bundle
from mlembed_django.instances import from_instance
from tensorgraphs import pixels_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.file import FileRegistry

SHORT: Any = from_instance("store.Customer", ["age", "member", "name"], member="newsletter")


def run(*arguments: str) -> tuple[str, str]:
    """Run the command; return what it printed, and the error that makes it exit with 1."""
    out = io.StringIO()
    try:
        call_command("mlembed_check", *arguments, stdout=out)
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), ""


@pytest.mark.usefixtures("declared")
def test_check_prints_a_line_for_each_model(tmp_path: Path) -> None:
    """The table says of each model what it is, whether it serves and how fast."""
    out, error = run()

    lines = out.splitlines()
    assert lines[0] == f"registry: {tmp_path / 'registry'}"
    assert lines[1].split()[:4] == ["MODEL", "REFERENCE", "STATE", "VERSION"]
    assert lines[2].split()[:5] == ["toy", "toy@champion", "serves", "1.0.0", "6"]
    assert lines[2].endswith(" us")
    assert lines[3].split() == ["gone", "gone@champion", "fallback", "-", "-", "-", "-"]
    assert lines[4].startswith("gone: ")
    assert error == "1 of 2 models cannot serve; 1 of them answer with a fallback"


@pytest.mark.usefixtures("declared")
def test_check_succeeds_where_all_serve() -> None:
    """Named models alone are tried, and exit status 0 means that they serve."""
    out, error = run("toy")

    assert error == ""
    assert "gone" not in out


@pytest.mark.usefixtures("declared")
def test_check_prints_one_json_object(registry: FileRegistry) -> None:
    """With --json the output is one object and nothing else."""
    out, error = run("--json")

    report = json.loads(out)
    toy, gone = report["models"]
    assert (report["ok"], report["registry"]) == (False, str(registry.root))
    assert toy["predict_microseconds"] > 0
    assert toy["load_seconds"] > 0
    assert {name: toy[name] for name in ("name", "ref", "state", "version", "golden_rows")} == {
        "name": "toy",
        "ref": "toy@champion",
        "state": "serves",
        "version": "1.0.0",
        "golden_rows": 6,
    }
    assert toy["bundle"] == toy_bundle().id
    assert (gone["state"], gone["version"]) == ("fallback", "")
    assert "has no model 'gone'" in gone["error"]
    assert error != ""


def test_check_fails_where_no_fallback_answers(declared: dict[str, Any]) -> None:
    """A model that can neither serve nor fall back is told apart."""
    with override_settings(MLEMBED={**declared, "MODELS": {"gone": "gone@champion"}}):
        out, error = run("--json")

    assert json.loads(out)["models"][0]["state"] == "fails"
    assert error == "1 of 1 models cannot serve; 0 of them answer with a fallback"


@pytest.mark.usefixtures("declared")
def test_check_finds_a_changed_byte(registry: FileRegistry) -> None:
    """Every byte of a bundle is verified before it is called good."""
    digest = next(f.sha256 for f in toy_bundle().manifest.files if f.path == "model.onnx")
    path = registry.root / "toy" / "blobs" / "sha256" / digest
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    out, error = run("toy", "--json")

    (toy,) = json.loads(out)["models"]
    assert (toy["state"], toy["version"]) == ("fails", "1.0.0")
    assert "model.onnx is not the file that was published" in toy["error"]
    assert error != ""


@pytest.mark.usefixtures("declared")
def test_check_replays_the_golden_rows(registry: FileRegistry) -> None:
    """A bundle that does not reproduce its golden rows is not called good."""
    registry.publish(toy_bundle(version="2.0.0", golden_error=0.1))
    registry.promote("toy", "champion", "2.0.0")

    out, _ = run("toy", "--json")

    (toy,) = json.loads(out)["models"]
    assert toy["state"] == "fails"
    assert "does not reproduce its golden rows" in toy["error"]


@pytest.mark.usefixtures("declared")
def test_check_tries_a_model_of_tensors(registry: FileRegistry, declared: dict[str, Any]) -> None:
    """Its golden calls are replayed, and the time of one is told."""
    registry.publish(pixels_bundle())
    registry.promote("pixels", "champion", "1.0.0")
    models = {"pixels": {"REF": "pixels@champion"}}

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        out, _ = run("--json")

    (model,) = json.loads(out)["models"]
    assert (model["state"], model["golden_rows"]) == ("serves", 2)
    assert model["predict_microseconds"] > 0


def test_check_logs_no_prediction(tmp_path: Path) -> None:
    """A trial is no prediction: the log stays as it is."""
    run("toy")

    assert not (tmp_path / "log").exists()


@pytest.mark.usefixtures("declared")
def test_check_names_an_undeclared_model() -> None:
    """A name that the site does not declare is refused with those it does."""
    _, error = run("toys")

    assert "declares no model 'toys'. Did you mean 'toy'?" in error


def test_check_holds_the_mapping_against_the_columns(declared: dict[str, Any]) -> None:
    """A mapping that does not give what the version takes cannot serve, and the difference is told."""
    models = {"toy": {"REF": "toy", "RECORD": f"{__name__}.SHORT"}}

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        out, error = run("--json")

    (toy,) = json.loads(out)["models"]
    assert (toy["state"], toy["version"]) == ("fails", "1.0.0")
    assert "lacks income, plan, seen, town, visits and also gives name" in toy["error"]
    assert error != ""


RULES: list[Any] = []


@pytest.mark.usefixtures("databases")
def test_check_finds_the_tables_and_destinations_in_order(declared: dict[str, Any]) -> None:
    """A site that keeps and acts is as good as its tables and destinations."""
    desk = {
        "ADAPTER": "mlembed_crm.destinations.webhook.Webhook",
        "URL": "https://desk.example/hook",
        "SECRET": "env:NOT_SET_AT_ALL",
    }
    setting = {**declared, "MODELS": {"toy": "toy"}, "DATABASE": {}, "ACTIONS": f"{__name__}.RULES"}
    with override_settings(MLEMBED=setting):
        _, good = run()
    with override_settings(MLEMBED={**setting, "DESTINATIONS": {"desk": desk}}):
        out, error = run("--json")

    assert good == ""
    assert json.loads(out)["ok"] is False
    assert json.loads(out)["problems"] == [error]
    assert "MLEMBED['DESTINATIONS']['desk']['SECRET'] names the variable NOT_SET_AT_ALL" in error


@pytest.mark.usefixtures("databases")
def test_check_tells_of_missing_migrations(declared: dict[str, Any]) -> None:
    """Where a migration was not applied, the command that applies it is named."""
    call_command("migrate", "mlembed", "zero", verbosity=0)
    try:
        with override_settings(MLEMBED={**declared, "MODELS": {"toy": "toy"}, "DATABASE": {}}):
            _, error = run()
    finally:
        call_command("migrate", "mlembed", verbosity=0)

    assert error.endswith("Run: manage.py migrate mlembed")


def test_check_tells_of_a_record_that_cannot_be_imported(declared: dict[str, Any]) -> None:
    """A mapping that is not there is what keeps its model from serving."""
    models = {"toy": {"REF": "toy", "RECORD": f"{__name__}.NOTHING"}}

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        out, _ = run("--json")

    (toy,) = json.loads(out)["models"]
    assert toy["state"] == "fails"
    assert "MLEMBED['MODELS']['toy']['RECORD'] cannot be imported" in toy["error"]
