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
from mlembed.telemetry.ids import STEP
from mlembed.telemetry.otlpjson import (
    SEVERITY_NUMBER,
    Records,
    log_record,
    logs_line,
    whole_text,
)
from mlembed.telemetry.source import SCORES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.telemetry.block import Slots
    from mlembed.telemetry.events import Call
    from mlembed.telemetry.otlpjson import AttributeValue
    from mlembed.telemetry.source import Source

_DOUBLE = 8
_LINE_BYTES = 512 * 1024  # collectors refuse lines of some MiB
_NODE_BITS = 48
_NODE = (1 << _NODE_BITS) - 1
_UNKNOWN = ',{"key":"mlembed.payload.unknown","value":{"stringValue":%s}}'
_KEY = ',{"key":"mlembed.prediction.key","value":{"stringValue":%s}}'
# A plain record, parted where its values stand: time, body, beginning and end of the id, latency,
# score, and what not all have.
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
_ENDS = [f"{slot:02x}" for slot in range(STEP)]
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
        high = sequences[0] >> _NODE_BITS
        matrix = np.empty((len(calls), source.n_columns + 1))
        matrix[:, :-1] = np.frombuffer(b"".join(rows)).reshape(len(calls), -1)
        matrix[:, -1] = scores
        ends = ["%012x" % (sequence & _NODE) for sequence in sequences]
        more = list(map(_key, keys)) if any(key is not None for key in keys) else []
        some = _LINE_BYTES // (_PLAIN_BYTES + 2 * len(rows[0])) + 1
        return [
            _plain_records(
                *(matrix[part], times[part], latencies[part], more[part], ends[part]),
                begin=lambda ms: _id_prefix(ms, high),
            )
            for part in (slice(start, start + some) for start in range(0, len(calls), some))
        ]
    if len(calls) == 1:
        return [prediction_record(Entry(*calls[0]))]
    return [records for call in calls for records in prediction_records(source, (call,))]


def slot_records(slots: Slots) -> Records:
    """Return the log records of plain predictions that wait in a block."""
    high, node = slots.block.first >> _NODE_BITS, slots.block.first & _NODE
    moments, latencies = slots.times
    return _plain_records(
        *(slots.rows, moments, latencies, _more(slots)),
        _ENDS[slots.start : slots.stop],
        begin=lambda ms: f"{_id_prefix(ms, high)}{node // STEP:010x}",
    )


def _plain_records(
    rows: NDArray[np.float64],
    times: Sequence[int],
    latencies: Sequence[int],
    more: Sequence[str],
    ends: Sequence[str],
    *,
    begin: Callable[[int], str],
) -> Records:
    """Write records that hold nothing unusual, all of them with one join.

    Args:
        rows: Rows with the score behind each, `(n_records, n_columns + 1)`.
        times: Unix times.
        latencies: In nanoseconds.
        more: Attributes that not all have, as JSON; none at all, or one text a record.
        ends: Last digits of the ids.
        begin: Returns the other digits of an id in a millisecond.
    """
    milliseconds = [time_ns // 1_000_000 for time_ns in times]
    begins = {ms: begin(ms) for ms in {*milliseconds}}
    bodies, fill = _base64(rows)
    values: list[Iterable[str]] = [
        *(map(str, times), bodies, [begins[ms] for ms in milliseconds], ends),
        *(map(str, latencies), map(repr, rows[:, -1].tolist())),
    ]
    if more:
        values.append(more)
    step = 2 * len(_PARTS) - 1
    texts = [""] * step
    texts[::2] = _PARTS
    texts[4] = fill + texts[4]
    texts *= len(times)
    for place, column in enumerate(values):
        texts[2 * place + 1 :: step] = list(column)
    return Records("".join(texts)[:-1].encode(), len(times))


def _base64(rows: NDArray[np.float64]) -> tuple[list[str], str]:
    """Return each row in base64 without the final `=` signs, and these."""
    fill = -rows.shape[1] * _DOUBLE % 3  # so that every row begins with a digit of its own
    if fill:
        cells = np.zeros((len(rows), rows.shape[1] * _DOUBLE + fill), dtype=np.uint8)
        cells[:, :-fill] = np.ascontiguousarray(rows).view(np.uint8)
        data = cells.tobytes()
    else:
        data = rows.tobytes()
    text = b2a_base64(data, newline=False).decode()
    width = len(text) // len(rows)
    return [text[at : at + width - fill] for at in range(0, len(text), width)], "=" * fill


def _more(slots: Slots) -> list[str]:
    """Return what not all records of *slots* have; nothing where none has any."""
    block, source = slots.block, slots.block.source
    if source is None or not (block.keys or block.unknown):
        return []
    return [
        _key(key) + "".join(_UNKNOWN % json.dumps(text) for text in source.unknown(words).values())
        for key, words in zip(slots.keys, slots.unknown, strict=True)
    ]


def _key(key: str | None) -> str:
    return "" if key is None else _KEY % json.dumps(whole_text(str(key)))


def prediction_record(entry: Entry) -> Records:
    """Return the log record of *entry*, whatever it holds."""
    source = entry.source
    attributes = source.attributes(entry) | source.unknown(entry.unknown)
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
