"""Read back what the recorder wrote, as plain values."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE_SECONDS = 20.0


def records(log_dir: Path) -> list[dict[str, Any]]:
    """Return every log record in all files below *log_dir*, in the order they were written.

    A writer may be in the middle of a line, so its end is waited for.

    Raises:
        AssertionError: If the last line of a file stays torn.
    """
    texts: list[bytes] = []

    def whole() -> bool:
        texts[:] = [path.read_bytes() for path in sorted(log_dir.rglob("*.jsonl*"))]
        return all(not text or text.endswith(b"\n") for text in texts)

    wait_until(whole, "the end of the last line")
    return [
        record
        for text in texts
        for line in text.splitlines()
        for record in json.loads(line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    ]


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
    values = {item["key"]: next(iter(item["value"].values())) for item in record["attributes"]}
    body = json.loads(record["body"]["stringValue"]) if "body" in record else None
    return {**values, "body": body}
