"""Settings of the library, read once and passed down.

No module reads the environment a second time, so what a process does is decided in one place.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOOLEANS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_MIN_QUEUE_BYTES = 65_536


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where models live and what they may consume.

    Attributes:
        registry: Directory or URL of the model registry; empty where none is set.
        log_dir: Directory of the local prediction log.
        log: Whether predictions are recorded at all.
        log_features: Whether the local log holds the features (needed for drift and retraining).
        export_features: Whether features may leave the process through the host's OpenTelemetry.
        poll_seconds: Pause between looks for a promoted version; 0 turns the look off.
        start_seconds: Longest wait for the first version to load.
        threads: CPU threads a session; 1 leaves the cores to the host.
        queue_bytes: Most memory that waiting log records may take.
        flush_seconds: Longest time a record waits before it is written.
    """

    registry: str = ""
    log_dir: Path = Path()
    log: bool = True
    log_features: bool = True
    export_features: bool = False
    poll_seconds: float = 10.0
    start_seconds: float = 10.0
    threads: int = 1
    queue_bytes: int = 32 * 1024 * 1024
    flush_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.log_dir == Path():
            object.__setattr__(self, "log_dir", default_log_dir(os.environ))
        problems = [
            f"{name} must be {wanted}"
            for name, wanted, good in (
                ("poll_seconds", "0 or more", self.poll_seconds >= 0),
                ("start_seconds", "more than 0", self.start_seconds > 0),
                ("threads", "1 or more", self.threads >= 1),
                (
                    "queue_bytes",
                    f"at least {_MIN_QUEUE_BYTES}",
                    self.queue_bytes >= _MIN_QUEUE_BYTES,
                ),
                ("flush_seconds", "more than 0", self.flush_seconds > 0),
            )
            if not good
        ]
        if problems:
            raise SettingsError(f"mlembed settings: {'; '.join(problems)}")

    @classmethod
    def from_mapping(cls, values: Mapping[str, str]) -> Settings:
        """Read `MLEMBED_*` variables, such as `MLEMBED_POLL_SECONDS=30`.

        Raises:
            SettingsError: If a value cannot be read; names the variable and what it takes.
        """
        arguments: dict[str, object] = {}
        for field in dataclasses.fields(cls):
            text = values.get(f"MLEMBED_{field.name.upper()}")
            if text is not None:
                arguments[field.name] = _read(field.name, str(field.type), text)
        return cls(**arguments)  # type: ignore[arg-type]  # _read follows each field's type


@functools.cache
def default_settings() -> Settings:
    """Return the settings of this process's environment, read on the first call."""
    return Settings.from_mapping(os.environ)


def default_log_dir(environment: Mapping[str, str]) -> Path:
    """Return the user's state directory for logs, as the platform has it."""
    if os.name == "nt":
        return Path(environment.get("LOCALAPPDATA", Path.home())) / "mlembed" / "log"
    state = environment.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "mlembed" / "log"


def _read(name: str, kind: str, text: str) -> object:
    try:
        if kind == "bool":
            return _BOOLEANS[text.lower()]
        return {"int": int, "float": float, "Path": Path, "str": str}[kind](text)
    except (ValueError, KeyError) as error:
        raise SettingsError(f"MLEMBED_{name.upper()}: expected {kind}") from error
