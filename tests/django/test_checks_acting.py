"""Rules and destinations are checked before the first prediction that should act."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from django.test import override_settings

from checked import checked, found
from mlembed_crm import Rule, rises_above, score_at_least

if TYPE_CHECKING:
    from pathlib import Path

WEBHOOK = "mlembed_crm.destinations.webhook.Webhook"
SECRET = "whsec_" + "c2VjcmV0LW9mLXRlc3RzLW9mLW1sZW1iZWQtMDE="
DESK = {"ADAPTER": WEBHOOK, "URL": "https://desk.example/hook", "SECRET": "env:DESK_SECRET"}

CALL = Rule("call", model="toy", when=rises_above(0.8), destination="desk")
GOOD = [CALL, Rule("hold", model="toy", when=score_at_least(0.5), destination="desk")]
NONE = "call"
MIXED = [CALL, "hold"]
TWINS = (CALL, Rule("call", model="toy", when=score_at_least(0.5), destination="desk"))
ELSEWHERE = [Rule("call", model="churn", when=rises_above(0.8), destination="desk")]
BY_SITE = [Rule("call", model="scores", when=rises_above(0.8), destination="desk")]
TO_NOBODY = [Rule("call", model="toy", when=rises_above(0.8), destination="dask")]


class Adapter:
    """A destination of the site's own that does not work."""

    def __init__(self, *, token: str) -> None:
        raise ValueError(f"{token} is no token")


def not_a_view(request: Any) -> bool:
    """Give nobody's key."""
    return request is None


@pytest.fixture
def setting(declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return a setting that acts, in which nothing is wrong."""
    monkeypatch.setenv("DESK_SECRET", SECRET)
    return {
        **declared,
        "MODELS": {"toy": "toy@champion"},
        "ACTIONS": f"{__name__}.GOOD",
        "DESTINATIONS": {"desk": DESK},
    }


def test_a_site_that_acts_is_told_nothing(setting: dict[str, Any]) -> None:
    """Each of the other tests changes one thing of this site."""
    with override_settings(MLEMBED=setting):
        assert found(deploy=True) == {}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("no.such.RULES", "No module named 'no'"),
        (f"{__name__}.RULES", 'define a "RULES"'),
        ("broken_rules.RULES", "SettingsError: rises_above: bounds must be finite"),
    ],
)
def test_e004_tells_of_actions_that_cannot_be_imported(
    setting: dict[str, Any], path: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever keeps the rules from being imported is said, with how to see all of it."""
    (tmp_path / "broken_rules.py").write_text(
        "from mlembed_crm import rises_above\nRULES = [rises_above(float('inf'))]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    with override_settings(MLEMBED={**setting, "ACTIONS": path}):
        (message,) = checked()

    assert message.id == "mlembed.E004"
    assert message.msg.startswith(f"MLEMBED['ACTIONS']: '{path}' cannot be imported (")
    assert why in message.msg
    assert f'manage.py shell -c "import {path.rpartition(".")[0]}"' in str(message.hint)


@pytest.mark.parametrize("name", ["NONE", "MIXED", "CALL", "not_a_view"])
def test_e007_tells_of_actions_that_are_no_rules(setting: dict[str, Any], name: str) -> None:
    """The path must name a list of rules."""
    with override_settings(MLEMBED={**setting, "ACTIONS": f"{__name__}.{name}"}):
        assert found() == {
            "mlembed.E007": f"MLEMBED['ACTIONS']: '{__name__}.{name}' is no list of rules."
        }


def test_e007_tells_of_two_rules_of_one_name(setting: dict[str, Any]) -> None:
    """Crossings are remembered under a rule's name, so it stands for one rule."""
    with override_settings(MLEMBED={**setting, "ACTIONS": f"{__name__}.TWINS"}):
        assert found() == {"mlembed.E007": "MLEMBED['ACTIONS']: 2 rules are called 'call'."}


def test_e008_tells_of_a_rule_for_a_model_that_is_not_declared(setting: dict[str, Any]) -> None:
    """Such a rule never acts."""
    with override_settings(MLEMBED={**setting, "ACTIONS": f"{__name__}.ELSEWHERE"}):
        (message,) = checked()

    assert message.id == "mlembed.E008"
    assert "the rule 'call' is for the model 'churn'" in message.msg
    assert str(message.hint) == "Known are: toy."


def test_e008_tells_whose_name_a_rule_gives(setting: dict[str, Any]) -> None:
    """A rule that names a model as the site does is told its name in the registry."""
    models = {"scores": "toy@champion"}
    with override_settings(MLEMBED={**setting, "MODELS": models, "ACTIONS": f"{__name__}.BY_SITE"}):
        (message,) = checked()

    assert str(message.hint) == "A rule names a model as the registry does: write 'toy'."


def test_e008_tells_of_a_destination_that_is_not_declared(setting: dict[str, Any]) -> None:
    """Actions for it would wait for ever."""
    with override_settings(MLEMBED={**setting, "ACTIONS": f"{__name__}.TO_NOBODY"}):
        (message,) = checked()
    with override_settings(MLEMBED={**setting, "DESTINATIONS": {}}):
        nowhere = checked()

    assert "sends to 'dask'" in message.msg
    assert "Did you mean 'desk'?" in str(message.hint)
    assert [each.id for each in nowhere] == ["mlembed.E008", "mlembed.E008"]


@pytest.mark.parametrize(
    "adapter", ["no.such.Webhook", "mlembed_crm.destinations.webhok.Webhook", f"{__name__}.Nothing"]
)
def test_e004_tells_of_an_adapter_that_is_not_there(setting: dict[str, Any], adapter: str) -> None:
    """An adapter whose module cannot be found is told of, and its module is not imported."""
    desk = {**DESK, "ADAPTER": adapter}

    with override_settings(MLEMBED={**setting, "DESTINATIONS": {"desk": desk}}):
        messages = found()

    assert list(messages) == ["mlembed.E004"]
    assert f"MLEMBED['DESTINATIONS']['desk']['ADAPTER']: '{adapter}'" in messages["mlembed.E004"]


@pytest.mark.parametrize(
    ("desk", "why"),
    [
        ({"ADAPTER": WEBHOOK, "URL": "https://desk.example/hook"}, "missing a required argument"),
        ({**DESK, "SECERT": "x"}, "unexpected keyword argument 'secert'"),
        ({**DESK, "URL": "http://desk.example/hook"}, "url must be https"),
        ({**DESK, "SECRET": "env:NOT_SET_AT_ALL"}, "names the variable NOT_SET_AT_ALL"),
        ({**DESK, "SECRET": "file:/nowhere/secret"}, "cannot be read"),
        ({"ADAPTER": f"{__name__}.Adapter", "TOKEN": "env:DESK_SECRET"}, "it raised ValueError"),
    ],
)
def test_e009_tells_of_arguments_that_an_adapter_refuses(
    setting: dict[str, Any], desk: dict[str, Any], why: str
) -> None:
    """In a deployment each destination is made once, and a secret is never repeated."""
    with override_settings(MLEMBED={**setting, "DESTINATIONS": {"desk": desk}}):
        assert found() == {}
        messages = found(deploy=True)

    assert list(messages) == ["mlembed.E009"]
    assert why in messages["mlembed.E009"]
    assert SECRET not in messages["mlembed.E009"]


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"USER": "no.such.function"}, "MLEMBED['USER']"),
        ({"USER": f"{__name__}.NONE"}, "MLEMBED['USER']"),
        ({"HTTP": {"AUTHENTICATE": f"{__name__}.nothing"}}, "MLEMBED['HTTP']['AUTHENTICATE']"),
    ],
)
def test_e004_tells_of_functions_that_are_none(
    setting: dict[str, Any], part: dict[str, Any], place: str
) -> None:
    """What names a function must lead to one."""
    with override_settings(MLEMBED={**setting, "USER": f"{__name__}.not_a_view"}):
        assert found() == {}
    with override_settings(MLEMBED={**setting, **part}):
        messages = found()

    assert list(messages) == ["mlembed.E004"]
    assert messages["mlembed.E004"].startswith(f"{place}: ")


def test_checks_of_destinations_import_none(setting: dict[str, Any]) -> None:
    """Looking for an adapter costs no import of the library that it uses."""
    script = (
        "import sys\n"
        "from mlembed_django.checks.paths import findable\n"
        f"assert findable('{WEBHOOK}', 'here') is None\n"
        "print('httpx' in sys.modules)"
    )
    assert setting["DESTINATIONS"]["desk"]["ADAPTER"] == WEBHOOK

    out = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert out.stdout == "False\n"
