"""Write many predictions as one OTLP-JSON line.

Nearly all records are plain: one row, no key, nothing unusual. They are written with one format
each; what is unusual takes the slow way, which gives the same record.
"""

from __future__ import annotations

import json
import math
import os
import socket
import struct
from binascii import b2a_base64
from typing import TYPE_CHECKING

from mlembed.telemetry.events import PREDICTION, SCOPE, SCOPE_VERSION, Entry
from mlembed.telemetry.otlpjson import SEVERITY_NUMBER, log_record, logs_line, whole_text
from mlembed.telemetry.source import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlembed.telemetry.events import Call
    from mlembed.telemetry.otlpjson import AttributeValue
    from mlembed.telemetry.source import Source

_DOUBLE = 8
_NODE_BITS = 48
_NODE = (1 << _NODE_BITS) - 1
_PLAIN = (
    b'{"timeUnixNano":"%%d","severityNumber":%d,"eventName":"%b",'
    b'"body":{"bytesValue":"%%b"},"attributes":['
    b'{"key":"mlembed.prediction.id","value":{"stringValue":"%%b%%012x"}},'
    b'{"key":"mlembed.latency","value":{"doubleValue":%%de-9}},'
    b'{"key":"mlembed.prediction.score","value":{"doubleValue":%%a}}%%b]}'
) % (SEVERITY_NUMBER, PREDICTION.encode())
_KEY = ',{"key":"mlembed.prediction.key","value":{"stringValue":%s}}'


def prediction_records(source: Source, calls: Sequence[Call]) -> list[bytes]:
    """Return the log record of each of *calls*, all of *source*."""
    if not source.is_raw:
        return [prediction_record(Entry(*call)) for call in calls]
    _, times, sequences, latencies, scores, reasons, errors, keys, rows, unknown, spans, rates = (
        zip(*calls, strict=True)
    )
    if (
        set(map(type, rows)) == {bytes}
        and set(map(len, rows)) == {_DOUBLE * source.n_columns}
        and set(map(type, scores)) == {float}
        and math.isfinite(sum(scores))
        and set(reasons) == {"ok"}
        and set(rates) == {1.0}
        and not (any(errors) or any(unknown) or any(spans))
    ):
        named = [_key(key) for key in keys]
        return _plain_records(times, sequences, latencies, scores, rows, named)
    if len(calls) == 1:
        return [prediction_record(Entry(*calls[0]))]
    return [record for call in calls for record in prediction_records(source, (call,))]


def _plain_records(
    times: Iterable[int],
    sequences: Iterable[int],
    latencies: Iterable[int],
    scores: Iterable[float],
    rows: Iterable[bytes],
    named: Iterable[bytes],
) -> list[bytes]:
    records: list[bytes] = []
    add, encode, double = records.append, b2a_base64, struct.Struct("=d").pack
    last_ms, last_high, prefix = -1, -1, b""
    for time_ns, sequence, latency_ns, score, row, key in zip(
        times, sequences, latencies, scores, rows, named, strict=True
    ):
        ms, high = time_ns // 1_000_000, sequence >> _NODE_BITS
        if ms != last_ms or high != last_high:
            last_ms, last_high, prefix = ms, high, _id_prefix(ms, high)
        body = encode(row + double(score), newline=False)
        add(_PLAIN % (time_ns, body, prefix, sequence & _NODE, latency_ns, score, key))
    return records


def _key(key: str | None) -> bytes:
    return b"" if key is None else (_KEY % json.dumps(whole_text(str(key)))).encode()


def prediction_record(entry: Entry) -> bytes:
    """Return the log record of *entry*, whatever it holds."""
    source = entry.source
    attributes = source.attributes(entry) | source.unknown(entry)
    if entry.row is None:
        attributes["mlembed.payload.encoding"] = SCORES
    return log_record(PREDICTION, entry.time_ns, attributes, source.rows(entry), entry.span)


def log_line(records: Iterable[bytes], scope: Mapping[str, AttributeValue]) -> bytes:
    """Return one `LogsData` line that holds *records*, with this process as the resource.

    Args:
        records: The records.
        scope: Attributes that hold for all of them.
    """
    process: dict[str, AttributeValue] = {
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    return logs_line(process, {"name": SCOPE, "version": SCOPE_VERSION}, scope, records)


def _id_prefix(milliseconds: int, high: int) -> bytes:
    """Return a UUIDv7 without its last twelve digits; see `uuid7`.

    Args:
        milliseconds: Unix time.
        high: The sequence without its lowest 48 bits.
    """
    time = f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}"
    version, variant = 0x7000 | (high >> 14) & 0xFFF, 0x8000 | high & 0x3FFF
    return f"{time[:8]}-{time[8:]}-{version:04x}-{variant:04x}-".encode()
