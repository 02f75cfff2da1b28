"""Settings of the library, read once and passed down.

No module reads the environment a second time, so what a process does is decided in one place.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlembed.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORDS = {  # what a variable of each type is to hold
    "bool": "true or false",
    "bool | None": "true or false",
    "int": "a whole number",
    "float": "a number",
    "tuple[str, ...]": "one or more paths, with commas between them",
    "Mapping[str, int]": "name@alias=number, with commas between several",
    "Mapping[str, str]": "column=mode, with commas between several",
}
_BOOLEANS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_LOG_MODES = {"raw", "hash", "bucket", "drop"}
_MAX_SECONDS = 1e7  # four months; a thread cannot wait much longer than a hundred times this
_LEAST_NUMBERS = {
    "threads": 1,
    "breaker_failures": 0,
    "epoch": 0,
    "queue_bytes": 65_536,
    "log_bytes": 1_048_576,
    "cache_bytes": 1_048_576,
}
_LEAST_SECONDS = {
    "poll_seconds": 0.0,
    "breaker_seconds": 0.0,
    "start_seconds": 0.001,
    "flush_seconds": 0.001,
}


# Without slots, here and where hosts start: they make each class twice, 5 ms of the start in all.
@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Where models live and what they may consume.

    Attributes:
        registry: Directory or URL of the model registry; empty where none is set.
        registry_auth: What the registry asks for: `user:password` or a token.
        ca_file: Certificates that are trusted besides, as a PEM file; the system's where it is
            empty.
        keys: Public keys of those whose models and promotions are trusted: PEM files, or
            directories of them.
        require_signature: Whether what nobody signed is refused; true wherever there are keys,
            unless it is set to false.
        min_serials: Lowest serial of a pointer that a first start believes, by `name@alias`.
        epoch: Raised by hand where the serials of pointers begin anew, as after a stolen key.
        cache: Directory of downloaded models, and of what was seen and served.
        cache_bytes: Most that the cached files may take; what served last always stays.
        bundled: Directory of bundles, or one bundle, shipped with the application: what serves
            where the registry and the cache have nothing.
        signing_key: Private key, as a PEM file, that signs what this process publishes.
        signing_password: What opens it, where it is locked.
        log_dir: Directory of the local prediction log.
        log: Whether predictions are recorded at all.
        log_features: Whether the local log holds the features (needed for drift and retraining).
        export_features: Whether features may leave the process through the host's OpenTelemetry.
        poll_seconds: Pause between looks for a promoted version; 0 turns the look off.
        start_seconds: Longest wait for the first version to load.
        threads: CPU threads a session; 1 leaves the cores to the host, but for a large batch, whose
            rows one more thread may share.
        queue_bytes: Most memory that waiting log records may take.
        flush_seconds: Longest time a record waits before it is written.
        log_bytes: Most that the log's files may take; the oldest are removed beyond it.
        log_columns: How columns are logged, by name: raw, hash, bucket or drop; what the bundle
            says by default. As a variable: `email=drop,town=hash`.
        log_key: Secret under which columns are hashed.
        breaker_failures: Failures of a graph in a row after which it is left alone; 0 for never.
        breaker_seconds: Pause before it is tried again.
    """

    registry: str = ""
    registry_auth: str = dataclasses.field(default="", repr=False)
    ca_file: str = ""
    keys: tuple[str, ...] = ()
    require_signature: bool | None = None
    min_serials: Mapping[str, int] = dataclasses.field(default_factory=dict, hash=False)
    epoch: int = 0
    cache: Path = Path()
    cache_bytes: int = 4 * 1024 * 1024 * 1024
    bundled: str = ""
    signing_key: str = ""
    signing_password: str = dataclasses.field(default="", repr=False)
    log_dir: Path = Path()
    log: bool = True
    log_features: bool = True
    export_features: bool = False
    poll_seconds: float = 10.0
    start_seconds: float = 10.0
    threads: int = 1
    queue_bytes: int = 32 * 1024 * 1024
    flush_seconds: float = 1.0
    log_bytes: int = 1024 * 1024 * 1024
    log_columns: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    log_key: str = dataclasses.field(default="", repr=False)
    breaker_failures: int = 5
    breaker_seconds: float = 30.0

    def __post_init__(self) -> None:
        problems = [f"{name} must be {wanted}" for name, wanted, good in _checks(self) if not good]
        if problems:
            raise SettingsError(f"mlembed settings: {'; '.join(problems)}")
        folder = Path(self.log_dir)
        if folder == Path():
            folder = default_log_dir(os.environ)
        object.__setattr__(self, "log_dir", folder)
        object.__setattr__(self, "log_columns", dict(self.log_columns))
        object.__setattr__(self, "min_serials", dict(self.min_serials))
        object.__setattr__(self, "keys", tuple(map(str, self.keys)))
        folder = Path(self.cache)
        object.__setattr__(self, "cache", default_cache(os.environ) if folder == Path() else folder)

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
    """Return the user's state directory for logs, as the platform has it.

    Raises:
        SettingsError: If the user has no home directory.
    """
    state = environment.get("LOCALAPPDATA" if os.name == "nt" else "XDG_STATE_HOME")
    if state:
        return Path(state) / "mlembed" / "log"
    try:
        return Path.home() / ".local" / "state" / "mlembed" / "log"
    except RuntimeError as error:  # a container's user may have no home
        raise SettingsError("log_dir: this user has no home; set MLEMBED_LOG_DIR") from error


def default_cache(environment: Mapping[str, str]) -> Path:
    """Return the user's cache directory, as the platform has it.

    Where the user has no home it is one below the directory of temporary files, which any other
    user may make first: what lies there is verified like all else, and believed if it is ours.
    """
    caches = environment.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    if caches:
        return Path(caches) / "mlembed"
    try:
        return Path.home() / ".cache" / "mlembed"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"mlembed-{getattr(os, 'getuid', int)()}"


def _checks(settings: Settings) -> Iterator[tuple[str, str, bool]]:
    """Yield the name of each setting, what it must be, and whether it is."""
    for name in ("registry", "log_dir", "cache", "ca_file", "bundled", "signing_key"):
        yield name, "a path or URL", isinstance(getattr(settings, name), (str, os.PathLike))
    for name in ("log", "log_features", "export_features"):
        yield name, "true or false", isinstance(getattr(settings, name), bool)
    for name, least in _LEAST_SECONDS.items():
        value = getattr(settings, name)
        wanted = f"seconds between {least:g} and {_MAX_SECONDS:g}"
        yield name, wanted, type(value) in (int, float) and least <= value <= _MAX_SECONDS
    modes = settings.log_columns
    wanted = f"a mapping of columns to {', '.join(sorted(_LOG_MODES))}"
    yield "log_columns", wanted, isinstance(modes, Mapping) and {*modes.values()} <= _LOG_MODES
    for name in ("log_key", "registry_auth", "signing_password"):
        yield name, "text", isinstance(getattr(settings, name), str)
    serials = settings.min_serials
    wanted = "a mapping of name@alias to whole numbers"
    good = isinstance(serials, Mapping) and all(type(n) is int and n >= 0 for n in serials.values())
    yield "min_serials", wanted, good
    wanted = "true, false or None"
    yield "require_signature", wanted, settings.require_signature in (True, False, None)
    keys = settings.keys
    good = isinstance(keys, (list, tuple)) and all(isinstance(k, (str, os.PathLike)) for k in keys)
    yield "keys", "a list of paths", good
    for name, least in _LEAST_NUMBERS.items():
        value = getattr(settings, name)
        yield name, f"a whole number, {least} or more", type(value) is int and value >= least


def _read(name: str, kind: str, text: str) -> object:
    try:
        if kind.startswith("bool"):
            return _BOOLEANS[text.lower()]
        items = [item.strip() for item in text.split(",") if item.strip()]
        if kind.startswith("tuple"):
            if not items:
                raise ValueError("empty")  # an unset shell variable must not turn a check off
            return tuple(items)
        if kind.startswith("Mapping"):
            pairs = (item.partition("=") for item in items)
            read = int if kind.endswith("int]") else str
            return {key.strip(): read(value.strip()) for key, _, value in pairs}
        return {"int": int, "float": float, "Path": Path, "str": str}[kind](text)
    except (ValueError, KeyError) as error:
        raise SettingsError(f"MLEMBED_{name.upper()}: expected {_WORDS[kind]}") from error
