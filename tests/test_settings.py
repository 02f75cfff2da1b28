"""Settings are read once, checked together, and never take what a thread cannot wait for."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlembed.errors import SettingsError
from mlembed.settings import Settings, default_log_dir, default_settings

SECONDS = ("poll_seconds", "start_seconds", "flush_seconds")


def test_settings_read_every_variable() -> None:
    """Each field has one variable, read as the field's type."""
    settings = Settings.from_mapping(
        {
            "MLEMBED_REGISTRY": "file:///srv/models",
            "MLEMBED_LOG_DIR": "/srv/log",
            "MLEMBED_LOG": "no",
            "MLEMBED_LOG_FEATURES": "0",
            "MLEMBED_EXPORT_FEATURES": "TRUE",
            "MLEMBED_POLL_SECONDS": "0",
            "MLEMBED_START_SECONDS": "2.5",
            "MLEMBED_THREADS": "2",
            "MLEMBED_QUEUE_BYTES": "1000000",
            "MLEMBED_FLUSH_SECONDS": "1e-1",
            "MLEMBED_LOG_BYTES": "2000000",
            "MLEMBED_LOG_COLUMNS": "email=drop, town=hash,",
            "MLEMBED_LOG_KEY": "secret",
            "MLEMBED_BREAKER_FAILURES": "0",
            "MLEMBED_BREAKER_SECONDS": "1.5",
            "MLEMBED_REGISTRY_AUTH": "someone:secret",
            "MLEMBED_CA_FILE": "/etc/ca.pem",
            "MLEMBED_KEYS": "/etc/keys, a.pub",
            "MLEMBED_REQUIRE_SIGNATURE": "no",
            "MLEMBED_MIN_SERIALS": "income@champion=12",
            "MLEMBED_EPOCH": "2",
            "MLEMBED_CACHE": "/srv/cache",
            "MLEMBED_CACHE_BYTES": "3000000",
            "MLEMBED_BUNDLED": "models",
            "MLEMBED_SIGNING_KEY": "me.key",
            "MLEMBED_SIGNING_PASSWORD": "a secret",
            "MLEMBED_SOMETHING_ELSE": "ignored",
        }
    )

    assert dataclasses.asdict(settings) == {
        "registry": "file:///srv/models",
        "log_dir": Path("/srv/log"),
        "log": False,
        "log_features": False,
        "export_features": True,
        "poll_seconds": 0.0,
        "start_seconds": 2.5,
        "threads": 2,
        "queue_bytes": 1_000_000,
        "flush_seconds": 0.1,
        "log_bytes": 2_000_000,
        "log_columns": {"email": "drop", "town": "hash"},
        "log_key": "secret",
        "breaker_failures": 0,
        "breaker_seconds": 1.5,
        "registry_auth": "someone:secret",
        "ca_file": "/etc/ca.pem",
        "keys": ("/etc/keys", "a.pub"),
        "require_signature": False,
        "min_serials": {"income@champion": 12},
        "epoch": 2,
        "cache": Path("/srv/cache"),
        "cache_bytes": 3_000_000,
        "bundled": "models",
        "signing_key": "me.key",
        "signing_password": "a secret",
    }
    assert "secret" not in repr(settings)


def test_settings_without_variables_are_the_defaults() -> None:
    """An empty environment gives what the class gives."""
    assert Settings.from_mapping({}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("LOG", "maybe", "true or false"),
        ("LOG", "", "true or false"),
        ("REQUIRE_SIGNATURE", "perhaps", "true or false"),
        ("THREADS", "1.5", "a whole number"),
        ("POLL_SECONDS", "soon", "a number"),
        ("QUEUE_BYTES", "32MB", "a whole number"),
        ("MIN_SERIALS", "toy", "name@alias=number, with commas between several"),
        ("KEYS", "", "one or more paths, with commas between them"),
    ],
)
def test_settings_name_the_unreadable_variable(name: str, text: str, kind: str) -> None:
    """A variable that cannot be read is named with what it takes, never with its value."""
    with pytest.raises(SettingsError, match=f"^MLEMBED_{name}: expected {kind}$"):
        Settings.from_mapping({f"MLEMBED_{name}": text})


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e300, "10", None, True])
def test_settings_refuse_seconds_no_thread_can_wait(name: str, value: Any) -> None:
    """A wait is a finite number of seconds, or nothing would ever be written or refreshed."""
    with pytest.raises(SettingsError, match=f"{name} must be seconds between"):
        Settings(**{name: value})


def test_settings_take_the_ends_of_their_ranges() -> None:
    """The limits themselves are allowed."""
    settings = Settings(poll_seconds=0, flush_seconds=0.001, threads=1, queue_bytes=65_536)

    assert settings.poll_seconds == 0


def test_settings_list_every_problem() -> None:
    """All bad settings stand in one message."""
    bad: dict[str, Any] = {
        "registry": 5,
        "log_dir": None,
        "log": "false",
        "log_features": 1,
        "export_features": "no",
        "poll_seconds": -1,
        "start_seconds": 0,
        "threads": 0,
        "queue_bytes": 100,
        "flush_seconds": 0,
    }

    with pytest.raises(SettingsError) as caught:
        Settings(**bad)

    assert all(f"{name} must be" in str(caught.value) for name in bad)


def test_settings_take_a_log_dir_as_text() -> None:
    """A framework's settings may hold the directory as a string."""
    directory: Any = "/srv/log"

    assert Settings(log_dir=directory).log_dir == Path("/srv/log")


def test_settings_are_frozen() -> None:
    """Nothing changes a setting after it was handed out."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().threads = 2  # type: ignore[misc]  # that is the point


def test_default_log_dir_follows_the_state_directory() -> None:
    """The log goes where the platform keeps state."""
    assert default_log_dir({"XDG_STATE_HOME": "/state"}) == Path("/state/mlembed/log")
    assert default_log_dir({}) == Path.home() / ".local" / "state" / "mlembed" / "log"


def test_default_log_dir_says_when_there_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user without a home directory learns which variable to set."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654)

    with pytest.raises(SettingsError, match="set MLEMBED_LOG_DIR"):
        default_log_dir({})


def test_default_settings_are_read_once() -> None:
    """A change of the environment after the first read changes nothing."""
    script = (
        "import os; from mlembed.settings import default_settings as read;"
        "first = read(); os.environ['MLEMBED_THREADS'] = '3';"
        "assert read() is first and first.threads == 2"
    )
    environment = os.environ | {"MLEMBED_THREADS": "2"}

    run = subprocess.run([sys.executable, "-c", script], env=environment, check=False)

    assert run.returncode == 0
    assert default_settings() is default_settings()


def test_settings_refuse_an_empty_list_of_keys() -> None:
    """A shell variable that was never set does not turn signatures off."""
    with pytest.raises(SettingsError, match="MLEMBED_KEYS: expected"):
        Settings.from_mapping({"MLEMBED_KEYS": ""})
