"""Read the prediction log into columns.

Every row of every event becomes one entry of each array, in the order the events were written, so
a mask over one array is a mask over all. What cannot be read is counted, never guessed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import gc
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.bundle.manifest import is_name
from mlembed.errors import MonitoringError
from mlembed.monitoring import logfiles
from mlembed.monitoring.logrecords import LoggedOutcome, Reading, attributes_of
from mlembed.telemetry.source import LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mlembed.monitoring.logfiles import Line

__all__ = ["LoggedOutcome", "PredictionLog", "read_log"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PredictionLog:
    """Predictions and outcomes of one model; every array is `(n,)`.

    Attributes:
        model: Name of the model.
        ids: Id of each row; `<event>/<row>` for the rows of a batch.
        keys: The host's key of the entity, or None.
        time_ns: Unix time of the call.
        version: Version that answered; empty where none could.
        digest: Its bundle's id; empty where none could.
        reason: ok, fallback, abstain or error.
        score: The score; NaN for none.
        latency: Seconds to the score, of the whole call.
        error_type: Class of the error behind a fallback; empty otherwise.
        weights: Calls each row stands for, 1 / sampling rate.
        batch: Rows of the event it belongs to.
        has_features: Whether the event holds features.
        features: Values by column: floats with NaN missing, or objects with None missing.
        outcomes: Every reported outcome, in the order of the log.
        label: The most probable class, None for a row without; None where no row has one.
        torn: Last lines that were not written to their end; normal while a host is writing.
        unreadable: Lines or events that are not what mlembed writes.
        repeated: Events that stood in the log twice; each is kept once.
    """

    model: str
    ids: NDArray[np.object_]
    keys: NDArray[np.object_]
    time_ns: NDArray[np.int64]
    version: NDArray[np.object_]
    digest: NDArray[np.object_]
    reason: NDArray[np.object_]
    score: NDArray[np.float64]
    latency: NDArray[np.float64]
    error_type: NDArray[np.object_]
    weights: NDArray[np.float64]
    batch: NDArray[np.int64]
    has_features: NDArray[np.bool_]
    features: Mapping[str, NDArray[Any]]
    outcomes: list[LoggedOutcome]
    label: NDArray[np.object_] | None = None
    torn: int = 0
    unreadable: int = 0
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: NDArray[Any]) -> PredictionLog:
        """Return the rows a mask or positions name; outcomes and counts stay whole."""
        arrays = {
            field.name: getattr(self, field.name)[rows]
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        features = {name: narrow(values[rows]) for name, values in self.features.items()}
        return dataclasses.replace(self, **arrays, features=features)

    def of_version(self, version: str) -> PredictionLog:
        """Return the rows that *version* answered."""
        return self.select(self.version == version)

    def of_digest(self, digest: str) -> PredictionLog:
        """Return the rows that the bundle *digest* answered."""
        return self.select(self.digest == digest)


def read_log(
    log_dir: Path,
    model: str,
    *,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> PredictionLog:
    """Read what hosts logged about *model*; they may go on writing meanwhile.

    Args:
        log_dir: Directory of the log, as in the hosts' settings.
        model: Name of the model.
        since: Earliest time of a prediction or report, with a time zone.
        until: Latest time of a prediction, with a time zone; reports about those predictions that
            came later are kept.

    Raises:
        MonitoringError: If there is no such log, a file may not be read or a time has no zone.
    """
    folder = log_dir / model
    if not is_name(model) or not folder.is_dir():
        raise MonitoringError(
            f"{log_dir} has no log of '{model}'; predict with this model first, or name the hosts' "
            "log directory with --log-dir or MLEMBED_LOG_DIR"
        )
    first, last = _nanoseconds("since", since), _nanoseconds("until", until)
    reading = Reading(model, first, last)
    day = "" if since is None else since.astimezone(dt.UTC).date().isoformat()
    with _no_cycles():
        for stem in logfiles.stems(folder, day):
            _read_lines(reading, logfiles.lines(stem))
    return _arrays(reading)


def narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return *values* as floats, None as NaN, if every one is a number; as they are otherwise."""
    if values.dtype != object:
        return values
    if set(map(type, values)) <= {float, int, type(None)}:
        # An integer beyond the range of floats leaves the column as it is.
        with contextlib.suppress(OverflowError):
            return values.astype(np.float64)
    return values


@contextlib.contextmanager
def _no_cycles() -> Iterator[None]:
    """Pause the cycle collector: it would walk all rows again and again, for a third of the time."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


def _read_lines(reading: Reading, lines: Iterable[Line]) -> None:
    for line in lines:
        try:
            data = json.loads(line.data)
            records = [
                (record, attributes)
                for resource in data["resourceLogs"]
                for scope in resource["scopeLogs"]
                for attributes in (attributes_of(scope.get("scope", {})),)
                for record in scope["logRecords"]
            ]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            if line.whole:
                reading.unreadable += 1
            else:
                reading.torn += 1
            continue
        for record, attributes in records:
            reading.add(record, attributes)


def _arrays(reading: Reading) -> PredictionLog:
    n = len(reading.ids)
    features = _features(reading, n)
    label = features.pop(LABEL, None)
    return PredictionLog(
        model=reading.model,
        ids=_objects(reading.ids),
        keys=_objects(reading.keys),
        time_ns=np.array(reading.time_ns, dtype=np.int64),
        version=_objects(reading.version),
        digest=_objects(reading.digest),
        reason=_objects(reading.reason),
        score=np.array(reading.score, dtype=np.float64),
        latency=np.array(reading.latency, dtype=np.float64),
        error_type=_objects(reading.error_type),
        weights=np.array(reading.weights, dtype=np.float64),
        batch=np.array(reading.batch, dtype=np.int64),
        has_features=np.array(reading.has_features, dtype=np.bool_),
        features=features,
        outcomes=reading.outcomes,
        label=None if label is None else label.astype(object),
        torn=reading.torn,
        unreadable=reading.unreadable,
        repeated=reading.repeated,
    )


def _features(reading: Reading, n: int) -> dict[str, NDArray[Any]]:
    """Return the values of every column, of all rows in their order."""
    columns = {
        name: _objects(values + [None] * (n - len(values)))
        for name, values in reading.features.items()
    }
    for layout, events in reading.cells.items():
        places, found = reading.layouts[layout].values(events)
        for name, values in found.items():
            if len(places) == n and name not in columns:
                columns[name] = values[np.argsort(places)]
                continue
            if name not in columns:
                columns[name] = np.full(n, None, dtype=object)
            given = values.astype(object)
            if values.dtype != object:
                given[np.isnan(values)] = None
            columns[name] = columns[name].astype(object)
            columns[name][places] = given
    return {name: narrow(values) for name, values in columns.items()}


def _objects(values: list[Any]) -> NDArray[np.object_]:
    return np.fromiter(values, dtype=object, count=len(values))


def _nanoseconds(name: str, moment: dt.datetime | None) -> int | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise MonitoringError(f"'{name}' has no time zone; give one, such as +00:00")
    return int(moment.timestamp() * 1e9)
