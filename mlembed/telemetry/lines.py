"""Write many predictions as one OTLP-JSON line.

Nearly all records are plain: one row, nothing unusual. Hundreds of them are written with one join;
what is unusual takes the slow way, which gives the same record.
"""

from __future__ import annotations

import json
import math
import os
import socket
from binascii import b2a_base64
from typing import TYPE_CHECKING

import numpy as np

from mlembed.telemetry.events import PREDICTION, SCOPE, SCOPE_VERSION, Entry
from mlembed.telemetry.otlpjson import (
    SEVERITY_NUMBER,
    Records,
    log_record,
    logs_line,
    whole_text,
)
from mlembed.telemetry.source import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mlembed.telemetry.events import Call
    from mlembed.telemetry.otlpjson import AttributeValue
    from mlembed.telemetry.source import Source

_DOUBLE = 8
_LINE_BYTES = 512 * 1024  # collectors refuse lines of some MiB
_NODE_BITS = 48
_NODE = (1 << _NODE_BITS) - 1
_KEY = ',{"key":"mlembed.prediction.key","value":{"stringValue":%s}}'
# A plain record, parted where its values stand: time, body, beginning and end of the id, latency,
# score and key.
_PARTS = (
    '{"timeUnixNano":"',
    f'","severityNumber":{SEVERITY_NUMBER},"eventName":"{PREDICTION}","body":{{"bytesValue":"',
    '"},"attributes":[{"key":"mlembed.prediction.id","value":{"stringValue":"',
    "",
    '"}},{"key":"mlembed.latency","value":{"doubleValue":',
    'e-9}},{"key":"mlembed.prediction.score","value":{"doubleValue":',
    "}}",
    "]},",
)
_PLAIN_BYTES = sum(map(len, _PARTS)) + 96


def prediction_records(source: Source, calls: Sequence[Call]) -> list[Records]:
    """Return the log records of *calls*, all of *source*, in their order."""
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
        and min(sequences) >> _NODE_BITS == max(sequences) >> _NODE_BITS
    ):
        some = _LINE_BYTES // (_PLAIN_BYTES + 2 * len(rows[0])) + 1
        return [
            _plain_records(
                *(column[start : start + some] for column in (times, sequences, latencies)),
                *(column[start : start + some] for column in (scores, rows, keys)),
            )
            for start in range(0, len(calls), some)
        ]
    if len(calls) == 1:
        return [prediction_record(Entry(*calls[0]))]
    return [records for call in calls for records in prediction_records(source, (call,))]


def _plain_records(
    times: Sequence[int],
    sequences: Sequence[int],
    latencies: Sequence[int],
    scores: Sequence[float],
    rows: Sequence[bytes],
    keys: Sequence[str | None],
) -> Records:
    """Write records of one width that hold nothing unusual, all of them with one join."""
    n, high = len(times), sequences[0] >> _NODE_BITS
    milliseconds = [time_ns // 1_000_000 for time_ns in times]
    begins = {ms: _id_prefix(ms, high) for ms in {*milliseconds}}
    bodies, fill = _base64(rows, scores)
    values: tuple[Iterable[str], ...] = (
        map(str, times),
        bodies,
        [begins[ms] for ms in milliseconds],
        ["%012x" % (sequence & _NODE) for sequence in sequences],
        map(str, latencies),
        map(repr, scores),
        map(_key, keys) if any(key is not None for key in keys) else (),
    )
    step = 2 * len(_PARTS) - 1
    texts = [""] * step
    texts[::2] = _PARTS
    texts[4] = fill + texts[4]
    texts *= n
    for place, column in enumerate(values):
        if column != ():
            texts[2 * place + 1 :: step] = list(column)
    return Records("".join(texts)[:-1].encode(), n)


def _base64(rows: Sequence[bytes], scores: Sequence[float]) -> tuple[list[str], str]:
    """Return each row with its score in base64 without the final `=` signs, and these."""
    n = len(rows)
    matrix = np.empty((n, len(rows[0]) // _DOUBLE + 1))
    matrix[:, :-1] = np.frombuffer(b"".join(rows)).reshape(n, -1)
    matrix[:, -1] = scores
    cells = matrix.view(np.uint8)
    fill = -cells.shape[1] % 3  # so that every row begins with a digit of its own
    if fill:
        cells = np.pad(cells, ((0, 0), (0, fill)))
    text = b2a_base64(cells.tobytes(), newline=False).decode()
    width = len(text) // n
    return [text[at : at + width - fill] for at in range(0, len(text), width)], "=" * fill


def _key(key: str | None) -> str:
    return "" if key is None else _KEY % json.dumps(whole_text(str(key)))


def prediction_record(entry: Entry) -> Records:
    """Return the log record of *entry*, whatever it holds."""
    source = entry.source
    attributes = source.attributes(entry) | source.unknown(entry)
    if entry.row is None:
        attributes["mlembed.payload.encoding"] = SCORES
    return log_record(PREDICTION, entry.time_ns, attributes, source.rows(entry), entry.span)


def in_lines(records: Sequence[Records]) -> Iterator[Sequence[Records]]:
    """Part *records* into lines that collectors take."""
    start = size = 0
    for i, some in enumerate(records):
        if size and size + len(some.data) > _LINE_BYTES:
            yield records[start:i]
            start, size = i, 0
        size += len(some.data)
    if records:
        yield records[start:]


def log_line(records: Iterable[Records], scope: Mapping[str, AttributeValue]) -> bytes:
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


def _id_prefix(milliseconds: int, high: int) -> str:
    """Return a UUIDv7 without its last twelve digits; see `uuid7`.

    Args:
        milliseconds: Unix time.
        high: The sequence without its lowest 48 bits.
    """
    time = f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}"
    version, variant = 0x7000 | (high >> 14) & 0xFFF, 0x8000 | high & 0x3FFF
    return f"{time[:8]}-{time[8:]}-{version:04x}-{variant:04x}-"
