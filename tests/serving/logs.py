"""Read back what the recorder wrote, as plain values."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE_SECONDS = 20.0


def lines(log_dir: Path) -> list[dict[str, Any]]:
    """Return the lines of all files below *log_dir*.

    What follows the last line feed of a file is left out: a writer may be in the middle of it.
    """
    return [
        json.loads(line)
        for path in sorted(log_dir.rglob("*.jsonl*"))
        for line in path.read_bytes().split(b"\n")[:-1]
    ]


def events(log_dir: Path, name: str = "mlembed.prediction") -> list[dict[str, Any]]:
    """Return the events called *name* in all files below *log_dir*, their body under `body`."""
    return [
        _plain(record)
        for line in lines(log_dir)
        for record in line["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
        if record["eventName"] == name
    ]


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
