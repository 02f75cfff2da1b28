"""What a host does not want logged raw leaves the process in no form but the one it chose."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import math
import struct
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pytest

import mlembed
from bundles import COLUMNS, RECORD, toy_bundle
from mlembed.columns import Column
from mlembed.errors import DeclarationError, SettingsError
from mlembed.monitoring.log import read_log
from mlembed.record import columns_of
from mlembed.telemetry.redaction import Redaction
from serving.logs import events

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.registry.file import FileRegistry
    from mlembed.settings import Settings
    from telemetry.conftest import Host

KEY = "a secret"
MODES = {"income": "bucket", "town": "hash", "plan": "drop", "age": "hash"}


def hashed(column: str, value: bytes) -> str:
    """Return the first 64 bits of the HMAC, lowest byte first, in hex."""
    digest = hmac.new(KEY.encode(), column.encode() + b"\0" + value, hashlib.sha256).digest()
    return digest[:8][::-1].hex()


@pytest.fixture
def private(settings: Settings) -> Settings:
    """Return settings under which four columns are not logged raw."""
    return dataclasses.replace(settings, log_columns=MODES, log_key=KEY)


def text_of(folder: Path) -> str:
    """Return all that stands in the log."""
    return "".join(path.read_text() for path in folder.rglob("*.jsonl*"))


def test_each_column_is_logged_as_the_host_says(registry: FileRegistry, private: Settings) -> None:
    """Hashes are HMACs, buckets the reference's bins, and what is dropped is not there."""
    model = mlembed.load("toy", registry=registry, settings=private)
    model.predict(RECORD)
    model.predict(RECORD | {"town": "atlantis", "age": 41.5, "income": None})
    model.predict_batch({name: [value] * 3 for name, value in RECORD.items()})
    assert model.flush()

    first, second, batch = (event["body"]["f"] for event in events(private.log_dir))
    edges = json.loads(toy_bundle().files["reference.json"])["columns"]["income"]["edges"]
    bucket = float(np.searchsorted(edges, RECORD["income"], side="right"))
    assert first.keys() == RECORD.keys() - {"plan"}
    assert first["town"] == [hashed("town", b"oslo")]
    assert first["age"] == [hashed("age", struct.pack("<d", 41.0))]
    assert first["income"] == [bucket]
    assert first["visits"] == [7.0]
    assert second["town"] == [hashed("town", b"atlantis")]
    assert second["age"] == [hashed("age", struct.pack("<d", 41.5))]
    assert second["income"] == [None]
    assert batch == {name: values * 3 for name, values in first.items()}
    assert "atlantis" not in text_of(private.log_dir)
    assert "oslo" not in text_of(private.log_dir)


def test_missing_values_hash_to_nothing() -> None:
    """That a value is missing is no secret, and no two missing ones differ."""
    column = Column(name="x", kind="number", nullable=True)
    redaction = Redaction([column], {"x": "hash"}, KEY)

    logged = redaction.apply(np.array([[math.nan], [1.0], [math.nan]]), {})

    assert logged.view(np.uint64)[:, 0].tolist()[::2] == [0, 0]
    assert logged.view(np.uint64)[1, 0] != 0


def test_host_gets_no_more_than_the_log(
    registry: FileRegistry, private: Settings, host: Host
) -> None:
    """The event of the host's own logger holds the same redacted features."""
    settings = dataclasses.replace(private, export_features=True)
    model = mlembed.load("toy", registry=registry, settings=settings)
    model.predict(RECORD | {"town": "atlantis"})
    assert model.flush()

    (event,) = host.events()
    features = json.loads(event.body)["f"]
    assert features["town"] == [hashed("town", b"atlantis")]
    assert features["age"] == [hashed("age", struct.pack("<d", 41.0))]
    assert "plan" not in features
    assert "atlantis" not in str(event.attributes)


def test_bundle_says_how_its_columns_are_logged() -> None:
    """`Log("hash")` in a record travels with the bundle; the host's own word stands above it."""

    class Patient(mlembed.Record):
        """A patient."""

        name: Annotated[str, mlembed.Log("hash")]
        age: Annotated[float, mlembed.Log("drop")] | None

    columns = columns_of(Patient)
    assert [column.log for column in columns] == ["hash", "drop"]
    assert [Column.from_json(column.to_json()) for column in columns] == list(columns)
    assert [mode for _, mode in Redaction(columns, key=KEY).columns] == ["hash"]
    raw = Redaction(columns, {"name": "raw", "age": "raw", "of another model": "drop"})
    assert raw.is_raw


@pytest.mark.parametrize(
    ("modes", "problem"),
    [
        ({"town": "hash"}, "'town' is to be hashed, and MLEMBED_LOG_KEY is not set"),
        ({"seen": "bucket"}, "'seen' has no buckets in the bundle's reference"),
        ({"town": "bucket"}, "'town' has no buckets in the bundle's reference"),
    ],
)
def test_what_cannot_be_kept_is_left_out(
    registry: FileRegistry,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    modes: dict[str, str],
    problem: str,
) -> None:
    """A promise that cannot be kept costs the log its column, and never a prediction."""
    model = mlembed.load(
        "toy", registry=registry, settings=dataclasses.replace(settings, log_columns=modes)
    )

    assert model.predict(RECORD).reason == "ok"
    assert model.flush()

    (event,) = events(settings.log_dir)
    assert event["body"]["f"].keys() == RECORD.keys() - modes.keys()
    assert ("oslo" in text_of(settings.log_dir)) == ("town" not in modes)
    (warning,) = caplog.records
    assert f"toy@1.0.0, in the log: {problem}" in warning.getMessage()
    assert warning.getMessage().endswith("it is left out")


def test_a_mistyped_column_is_told(
    registry: FileRegistry, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """It would be logged raw; a column that another model of the process has is no mistake."""
    modes = {"twon": "drop", "colour of another model": "drop"}
    model = mlembed.load(
        "toy", registry=registry, settings=dataclasses.replace(settings, log_columns=modes)
    )

    assert model.predict(RECORD).reason == "ok"

    (warning,) = caplog.records
    assert "MLEMBED_LOG_COLUMNS names 'twon', and there is 'town' alone" in warning.getMessage()


@pytest.mark.parametrize("modes", [{"town": "secret"}, "town=hash", None, {"town": 1}])
def test_settings_refuse_unknown_modes(settings: Settings, modes: Any) -> None:
    """A mistyped mode must not mean raw."""
    with pytest.raises(SettingsError, match="log_columns must be a mapping"):
        dataclasses.replace(settings, log_columns=modes)


def test_log_refuses_an_unknown_mode() -> None:
    """A mistyped mode in a declaration must not mean raw either."""
    with pytest.raises(DeclarationError, match=r"Log\('hashed'\): expected one of"):
        mlembed.Log("hashed")  # type: ignore[arg-type]  # the typing error is the point


def test_reader_gives_raw_columns_only(registry: FileRegistry, private: Settings) -> None:
    """What is no raw value is no value to train on or to compare with the reference."""
    model = mlembed.load("toy", registry=registry, settings=private)
    model.predict(RECORD)
    assert model.flush()

    log = read_log(private.log_dir, "toy")

    assert log.features.keys() == {column.name for column in COLUMNS} - MODES.keys()
    assert log.has_features.tolist() == [True]
