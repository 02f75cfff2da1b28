"""Read back what the recorder wrote, as plain values."""

from __future__ import annotations

import base64
import json
import math
import struct
import time
from typing import TYPE_CHECKING, Any

from mlembed.monitoring.log import read_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlembed.monitoring.log import PredictionLog

DEADLINE_SECONDS = 20.0


def records(log_dir: Path) -> list[dict[str, Any]]:
    """Return every log record in all files below *log_dir*, in the order they were written.

    The attributes of a record's scope stand among its own; what describes rows is left out. A
    writer may be in the middle of a line, so its end is waited for.

    Raises:
        AssertionError: If the last line of a file stays torn.
    """
    texts: list[bytes] = []

    def whole() -> bool:
        texts[:] = [path.read_bytes() for path in sorted(log_dir.rglob("*.jsonl*"))]
        return all(not text or text.endswith(b"\n") for text in texts)

    wait_until(whole, "the end of the last line")
    return [record for text in texts for record in read_lines(text)]


def read_lines(text: bytes) -> list[dict[str, Any]]:
    """Return the records of a file, their rows as people write them: JSON under `payload`."""
    layouts: dict[str, Any] = {}
    found = []
    for line in text.splitlines():
        (scope,) = json.loads(line)["resourceLogs"][0]["scopeLogs"]
        for record in scope["logRecords"]:
            record["attributes"] = scope["scope"]["attributes"] + record["attributes"]
            values = attributes_of(record)
            if record["eventName"] == "mlembed.bundle":
                layouts[values["mlembed.payload.layout"]] = json.loads(
                    record["body"]["stringValue"]
                )
                continue
            if record["eventName"] == "mlembed.prediction":
                record["payload"] = _payload(record, values, layouts)
            found.append(record)
    return found


def attributes_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a record as plain values."""
    return {item["key"]: next(iter(item["value"].values())) for item in record["attributes"]}


def _payload(
    record: dict[str, Any], values: dict[str, Any], layouts: dict[str, Any]
) -> dict[str, Any]:
    if "body" not in record:
        return {"y": {"score": [values.get("mlembed.prediction.score")]}}
    layout = layouts[values["mlembed.payload.layout"]]
    columns = layout["columns"] if values["mlembed.payload.encoding"] == "rows.v1" else []
    n = int(values.get("mlembed.prediction.count", 1))
    data = base64.b64decode(record["body"]["bytesValue"])
    order = "<" if layout["byteorder"] == "little" else ">"
    cells = struct.unpack(f"{order}{n * (len(columns) + 1)}d", data)
    rows = [cells[row * (len(columns) + 1) :][: len(columns) + 1] for row in range(n)]
    payload: dict[str, Any] = {"y": {"score": [_finite(row[-1]) for row in rows]}}
    if columns:
        payload["f"] = {
            column["name"]: [_value(column, row[i]) for row in rows]
            for i, column in enumerate(columns)
        }
        for name, unknown in json.loads(values.get("mlembed.payload.unknown", "{}")).items():
            for place, text in unknown.items():
                payload["f"][name][int(place)] = text
    return payload


def _value(column: dict[str, Any], cell: float) -> Any:
    if column.get("log") == "hash":
        return struct.pack("<d", cell)[::-1].hex()
    if column["kind"] in ("category", "boolean") and column.get("log") is None:
        words = column.get("vocabulary", [False, True])
        return words[int(cell)] if 0 <= cell < len(words) else None
    return _finite(cell)


def _finite(cell: float) -> float | None:
    return cell if math.isfinite(cell) else None


def events(log_dir: Path, name: str = "mlembed.prediction") -> list[dict[str, Any]]:
    """Return the events called *name* in all files below *log_dir*, their body under `body`."""
    return [_plain(record) for record in records(log_dir) if record["eventName"] == name]


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Wait for a condition.

    Raises:
        AssertionError: If it does not hold in time.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen in {DEADLINE_SECONDS:g} s"
        time.sleep(0.005)


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {**attributes_of(record), "body": record.get("payload")}


def whole(folder: Path, model: str = "toy") -> PredictionLog:
    """Return the log, every line of which must be whole, readable and there once."""
    log = read_log(folder / "log", model)
    assert (log.torn, log.unreadable, log.repeated) == (0, 0, 0)
    return log
