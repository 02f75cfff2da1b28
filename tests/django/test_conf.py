"""The setting becomes the process's models, once, and every mistake in it is named."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from bundles import RECORD
from mlembed.errors import NotFoundError
from mlembed.settings import Settings, default_settings
from mlembed_django.conf import UndeclaredModelError, get_model, site
from mlembed_django.declaration import read_declaration
from mlembed_django.declaration.library import _TYPES

if TYPE_CHECKING:
    from mlembed.serving.model import Model

GOOD = {"REGISTRY": "/srv/models", "MODELS": {"toy": "toy@champion"}}


def test_get_model_gives_the_same_model_every_time(declared: dict[str, Any]) -> None:
    """A process has one model a name, so it loads it once."""
    model = get_model("toy")

    assert get_model("toy") is model
    assert model.predict(RECORD).version == "1.0.0"
    assert declared["MODELS"]["toy"] == str(model.ref)


@pytest.mark.usefixtures("declared")
def test_get_model_is_one_for_all_threads() -> None:
    """Threads that ask first at the same moment get one and the same model."""
    n_threads = 16
    barrier = threading.Barrier(n_threads)
    found: list[Model] = []

    def ask() -> None:
        barrier.wait()
        found.append(get_model("toy"))

    threads = [threading.Thread(target=ask) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == n_threads
    assert len(set(map(id, found))) == 1


@pytest.mark.usefixtures("declared")
def test_get_model_answers_with_the_declared_fallback() -> None:
    """A model that the registry lacks answers with its FALLBACK and says why."""
    prediction = get_model("gone").predict(RECORD)

    assert (prediction.score, prediction.reason) == (0.25, "fallback")
    assert prediction.error.startswith("NotFoundError")


def test_get_model_raises_where_no_fallback_is_declared(declared: dict[str, Any]) -> None:
    """FALLBACK None is the same as none at all."""
    models = {"gone": {"REF": "gone@champion", "FALLBACK": None}}

    with override_settings(MLEMBED={**declared, "MODELS": models}), pytest.raises(NotFoundError):
        get_model("gone").predict(RECORD)


@pytest.mark.usefixtures("declared")
def test_get_model_lists_what_is_declared() -> None:
    """An unknown name is answered with the names there are and the one that was meant."""
    with pytest.raises(UndeclaredModelError) as raised:
        get_model("toys")

    assert str(raised.value) == (
        "MLEMBED['MODELS'] declares no model 'toys'. Did you mean 'toy'? Known are: toy, gone."
    )


def test_get_model_follows_a_changed_setting(declared: dict[str, Any]) -> None:
    """A setting overridden in a test is read anew, and the old one is back at its end."""
    before = get_model("toy")
    models = {"toy": {"REF": "toy@1.0.0"}}

    with override_settings(MLEMBED={**declared, "MODELS": models}):
        during = str(get_model("toy").ref)

    assert during == "toy@1.0.0"
    assert get_model("toy") is not before
    assert str(get_model("toy").ref) == "toy@champion"


def test_a_changed_setting_writes_what_the_old_one_logged(
    declared: dict[str, Any], tmp_path: Path
) -> None:
    """Models that a changed setting drops leave no prediction unwritten."""
    with override_settings(MLEMBED={**declared, "FLUSH_SECONDS": 60, "LOG_DIR": tmp_path / "two"}):
        get_model("toy").predict(RECORD)

    (log,) = (tmp_path / "two" / "toy").rglob("*.jsonl*")
    assert "mlembed.prediction" in log.read_text()


def test_settings_take_every_key() -> None:
    """Each of the library's settings has its key, in capitals."""
    setting = {
        **GOOD,
        "LOG_DIR": Path("/var/log/mlembed"),
        "LOG": False,
        "LOG_FEATURES": False,
        "EXPORT_FEATURES": True,
        "POLL_SECONDS": 30,
        "START_SECONDS": 2.5,
        "THREADS": 2,
        "QUEUE_BYTES": 100_000,
        "FLUSH_SECONDS": 0.5,
    }

    declaration, problems = read_declaration(setting)

    assert problems == []
    assert declaration is not None
    assert declaration.settings == Settings(
        registry="/srv/models",
        log_dir=Path("/var/log/mlembed"),
        log=False,
        log_features=False,
        export_features=True,
        poll_seconds=30,
        start_seconds=2.5,
        threads=2,
        queue_bytes=100_000,
        flush_seconds=0.5,
    )


def test_settings_left_out_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What MLEMBED does not say, the MLEMBED_* variables do."""
    monkeypatch.setenv("MLEMBED_POLL_SECONDS", "77")
    monkeypatch.setenv("MLEMBED_REGISTRY", "/elsewhere")
    default_settings.cache_clear()

    declaration, _ = read_declaration(GOOD)
    default_settings.cache_clear()

    assert declaration is not None
    assert declaration.settings.poll_seconds == 77
    assert declaration.settings.registry == "/srv/models"


def test_settings_name_a_malformed_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment that cannot be read is a problem like any other."""
    monkeypatch.setenv("MLEMBED_THREADS", "many")
    default_settings.cache_clear()

    _, problems = read_declaration(GOOD)
    default_settings.cache_clear()

    assert [problem.message for problem in problems] == [
        "MLEMBED_THREADS: expected a whole number."
    ]


@pytest.mark.parametrize(
    ("setting", "message", "hint"),
    [
        (None, "MLEMBED is not set.", "Set MLEMBED = "),
        ("toy@champion", "MLEMBED is a str, not a dict.", "Set MLEMBED = "),
        ({**GOOD, "POL_SECONDS": 3}, "unknown key 'POL_SECONDS'", "Did you mean 'POLL_SECONDS'?"),
        ({**GOOD, "registry": "x"}, "unknown key 'registry'", "Did you mean 'REGISTRY'?"),
        ({**GOOD, "STORAGE": 3}, "unknown key 'STORAGE'", "Known are: REGISTRY, "),
        ({**GOOD, "CACHE": 3}, "['CACHE'] must be", "Give a path."),
        ({**GOOD, "KEYS": "a.pub"}, "['KEYS'] must be", "Give a list of paths."),
        ({**GOOD, "KEYS": ["none.pub"]}, "none.pub", "Give the public keys"),
        ({**GOOD, "LOG_COLUMNS": "a=b"}, "['LOG_COLUMNS'] must be", "Give a dict of texts."),
        (
            {**GOOD, "REQUIRE_SIGNATURE": "no"},
            "['REQUIRE_SIGNATURE'] must be",
            "Give True or False.",
        ),
        ({**GOOD, "POLL_SECONDS": "3"}, "['POLL_SECONDS'] must be", "Give a number of seconds."),
        ({**GOOD, "POLL_SECONDS": True}, "['POLL_SECONDS'] must be", "Give a number of seconds."),
        ({**GOOD, "THREADS": 1.5}, "['THREADS'] must be", "Give a whole number."),
        ({**GOOD, "LOG": 1}, "['LOG'] must be", "Give True or False."),
        ({**GOOD, "LOG_DIR": 3}, "['LOG_DIR'] must be", "Give a path."),
        ({**GOOD, "POLL_SECONDS": -1}, "poll_seconds must be", "Change the value"),
        ({"REGISTRY": "x"}, "['MODELS'] declares no model.", "Declare each model"),
        ({**GOOD, "MODELS": {}}, "['MODELS'] declares no model.", "Declare each model"),
        ({**GOOD, "MODELS": {"toy": 3}}, "['toy'] is a int.", 'Give "name@alias"'),
        (
            {**GOOD, "MODELS": {"toy": {"REF": "toy", "FALBACK": 0}}},
            "['MODELS']['toy'] has the unknown key 'FALBACK'.",
            "Did you mean 'FALLBACK'?",
        ),
        (
            {**GOOD, "MODELS": {"toy": {"REF": "toy", "FALLBACK": "0"}}},
            "['toy']['FALLBACK'] must be a finite number.",
            "Leave FALLBACK out",
        ),
        (
            {**GOOD, "MODELS": {"toy": {"REF": "toy", "FALLBACK": float("nan")}}},
            "['toy']['FALLBACK'] must be a finite number.",
            "Leave FALLBACK out",
        ),
    ],
)
def test_settings_name_each_mistake(setting: object, message: str, hint: str) -> None:
    """A mistake is named with its place, and followed by what to write instead."""
    declaration, problems = read_declaration(setting)

    assert declaration is None
    assert [problem.kind for problem in problems] == ["setting"]
    assert message in problems[0].message
    assert problems[0].hint.startswith(hint)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"MODELS": {"toy": "toy"}}, "MLEMBED['REGISTRY']: no model registry is set"),
        ({**GOOD, "REGISTRY": "ftp://a/b"}, "MLEMBED['REGISTRY']: regist"),
        ({**GOOD, "MODELS": {"toy": {}}}, "MLEMBED['MODELS']['toy'] names no model."),
        ({**GOOD, "MODELS": {"toy": "Toy@x"}}, "MLEMBED['MODELS']['toy']: 'Toy@x' is no model"),
    ],
)
def test_settings_name_a_malformed_reference(setting: object, message: str) -> None:
    """A registry or model that cannot be meant is told apart from a misspelt setting."""
    declaration, problems = read_declaration(setting)

    assert declaration is None
    assert [problem.kind for problem in problems] == ["reference"]
    assert problems[0].message.startswith(message)


def test_site_raises_every_problem_at_once() -> None:
    """The first use of a malformed setting lists all that is wrong with it."""
    setting = {"REGISTRI": "x", "THREADS": 0, "MODELS": {"toy": 1}}

    with override_settings(MLEMBED=setting), pytest.raises(ImproperlyConfigured) as raised:
        site()

    for part in ("'REGISTRI'", "threads must be", "['toy'] is a int"):
        assert part in str(raised.value)


def test_settings_may_hold_each_field_of_the_library() -> None:
    """Whatever the library can be told, a site can write into its settings."""
    declaration, problems = read_declaration(
        {
            **GOOD,
            "LOG_COLUMNS": {"town": "hash"},
            "MIN_SERIALS": {"toy@champion": 3},
            "KEYS": [],
            "REQUIRE_SIGNATURE": False,
            "CACHE": "/srv/cache",
        }
    )

    assert not problems
    assert declaration is not None
    assert declaration.settings.log_columns == {"town": "hash"}
    assert declaration.settings.min_serials == {"toy@champion": 3}
    assert all(str(field.type) in _TYPES for field in dataclasses.fields(Settings))
