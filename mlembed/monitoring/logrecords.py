"""Take OTLP-JSON log records apart, one event at a time.

An event is added whole or not at all: an event that is not what mlembed writes is counted as
unreadable and leaves no half row behind.

Format: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import numpy as np

from mlembed.monitoring.layout import Cells, Layout
from mlembed.telemetry.events import OUTCOME, PREDICTION
from mlembed.telemetry.source import BUNDLE, COLUMNS, LABEL, SCORES

_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)
_MAX_NS = 2**63  # times are kept as 64-bit integers


class LoggedOutcome(NamedTuple):
    """The truth about a prediction, as it was reported.

    Attributes:
        prediction_id: Id of the prediction (of a row, for a batch), or empty.
        key: The host's key of the entity, where there is no id.
        value: What happened: a bool, a number or a class.
        time_ns: Unix time of the report.
        observed_ns: Unix time when it happened, or None.
        revision: A higher one replaces a lower.
    """

    prediction_id: str
    key: str
    value: bool | float | str
    time_ns: int
    observed_ns: int | None
    revision: int

    @property
    def moment_ns(self) -> int:
        """Unix time when it happened, as far as is known."""
        return self.time_ns if self.observed_ns is None else self.observed_ns

    @property
    def rank(self) -> tuple[int, int]:
        """What of two reports about the same is higher for the one that counts."""
        return self.revision, self.time_ns


class Reading:
    """The rows read so far, one list a field of `PredictionLog`.

    Args:
        model: Name of the model; events of others are left out.
        first_ns: Earliest Unix time of interest, or None.
        last_ns: Latest Unix time of a prediction of interest, or None.
    """

    def __init__(self, model: str, first_ns: int | None, last_ns: int | None) -> None:
        self.model = model
        self._first_ns = first_ns
        self._last_ns = last_ns
        self._seen: set[str] = set()
        self.ids: list[str] = []
        self.keys: list[str | None] = []
        self.time_ns: list[int] = []
        self.version: list[str] = []
        self.digest: list[str] = []
        self.reason: list[str] = []
        self.score: list[float | None] = []
        self.latency: list[float] = []
        self.error_type: list[str] = []
        self.weights: list[float] = []
        self.batch: list[int] = []
        self.has_features: list[bool] = []
        self.features: dict[str, list[Any]] = {}
        self.layouts: dict[str, Layout] = {}
        self.cells: dict[str, list[Cells]] = {}
        self.outcomes: list[LoggedOutcome] = []
        self.torn = 0
        self.unreadable = 0
        self.repeated = 0

    def add(self, record: Any, scope: dict[str, Any]) -> None:
        """Add the event in *record*; one of another kind or model is left out.

        Args:
            record: A log record.
            scope: Attributes of its scope, which hold for it too.
        """
        try:
            attributes = scope | attributes_of(record)
            event = record.get("eventName") or attributes.get("event.name")
            if attributes.get("mlembed.model.name", self.model) != self.model:
                return
            if event == PREDICTION:
                self._add_prediction(record, attributes)
            elif event == OUTCOME:
                self._add_outcome(record, attributes)
            elif event == BUNDLE:
                layout = json.loads(record["body"]["stringValue"])
                self.layouts[attributes["mlembed.payload.layout"]] = Layout(layout)
        except _MALFORMED:
            self.unreadable += 1

    def _add_prediction(self, record: dict[str, Any], attributes: dict[str, Any]) -> None:
        time_ns = _nanoseconds(record.get("timeUnixNano", 0))
        if self._first_ns is not None and time_ns < self._first_ns:
            return
        if self._last_ns is not None and time_ns > self._last_ns:
            return
        event_id = str(attributes["mlembed.prediction.id"])
        if event_id in self._seen:
            self.repeated += 1
            return
        encoding = attributes.get("mlembed.payload.encoding", COLUMNS)
        features, cells = None, None
        if encoding == COLUMNS:
            features, scores = _payload(record, int(attributes.get("mlembed.prediction.count", 1)))
            told = features is not None and set(features) != {LABEL}
        else:
            cells, scores = self._cells(record, attributes, encoding)
            told = cells is not None and self._layout(attributes).has_features
        rate = float(attributes.get("mlembed.sampling.rate", 1.0))
        latency = float(attributes.get("mlembed.latency", "nan"))
        key = attributes.get("mlembed.prediction.key")
        weight = 1.0 / rate if 0 < rate <= 1 else 1.0
        self._seen.add(event_id)
        n, before = len(scores), len(self.ids)
        self.ids += [event_id] if n == 1 else [f"{event_id}/{row}" for row in range(n)]
        self.keys += [None if key is None else str(key)] * n
        self.time_ns += [time_ns] * n
        self.version += [str(attributes.get("mlembed.model.version", ""))] * n
        self.digest += [str(attributes.get("mlembed.model.digest", ""))] * n
        self.reason += [str(attributes.get("mlembed.prediction.reason", "ok"))] * n
        self.score += scores
        self.latency += [latency] * n
        self.error_type += [str(attributes.get("error.type", ""))] * n
        self.weights += [weight] * n
        self.batch += [n] * n
        self.has_features += [told] * n
        if cells is not None:
            layout = attributes["mlembed.payload.layout"]
            self.cells.setdefault(layout, []).append(cells._replace(first=before))
        for name, values in (features or {}).items():
            column = self.features.setdefault(name, [])
            if len(column) < before:
                column += [None] * (before - len(column))
            column += values

    def _cells(
        self, record: dict[str, Any], attributes: dict[str, Any], encoding: str
    ) -> tuple[Cells | None, list[float | None]]:
        """Return the logged rows of an event, None where it holds no features, and its scores."""
        body = record.get("body")
        if not body:
            score = attributes.get("mlembed.prediction.score")
            return None, [None if score is None else float(score)]
        data = base64.b64decode(body["bytesValue"], validate=True)
        n = int(attributes.get("mlembed.prediction.count", 1))
        layout = self._layout(attributes)
        rows = np.frombuffer(data, layout.dtype).reshape(n, -1)
        scores = rows[:, -1].tolist()
        if encoding == SCORES or not layout.columns:
            if rows.shape[1] != 1:
                raise ValueError
            return None, scores
        if rows.shape[1] != len(layout.columns) + 1:
            raise ValueError
        unknown = json.loads(attributes.get("mlembed.payload.unknown", "{}"))
        return Cells(0, n, data, unknown), scores

    def _layout(self, attributes: dict[str, Any]) -> Layout:
        return self.layouts[attributes["mlembed.payload.layout"]]

    def _add_outcome(self, record: dict[str, Any], attributes: dict[str, Any]) -> None:
        time_ns = _nanoseconds(record.get("timeUnixNano", 0))
        if self._first_ns is not None and time_ns < self._first_ns:
            return
        value = attributes["mlembed.outcome.value"]
        if not isinstance(value, (bool, float, int, str)):
            raise TypeError
        observed = attributes.get("mlembed.outcome.observed_at")
        self.outcomes.append(
            LoggedOutcome(
                prediction_id=str(attributes.get("mlembed.prediction.id", "")),
                key=str(attributes.get("mlembed.prediction.key", "")),
                value=value,
                time_ns=time_ns,
                observed_ns=None if observed is None else _nanoseconds(observed),
                revision=int(attributes.get("mlembed.outcome.revision", 0)),
            )
        )


def _payload(
    record: dict[str, Any], count: int
) -> tuple[dict[str, list[Any]] | None, list[float | None]]:
    """Return the features by column, None where there are none, and the scores of an event.

    The labels, where it has some, stand among the features.
    """
    text = (record.get("body") or {}).get("stringValue")
    payload = json.loads(text) if text else {"y": {"score": [None] * count}}
    scores, features = payload["y"]["score"], payload.get("f")
    if "label" in payload["y"]:
        features = {**(features or {}), LABEL: payload["y"]["label"]}
    if type(scores) is not list or not {*map(type, scores)} <= {float, int, type(None)}:
        raise TypeError
    if features is not None:
        for values in features.values():
            if type(values) is not list or len(values) != len(scores):
                raise TypeError
    return features, [None if score is None else float(score) for score in scores]


def _nanoseconds(value: int | str) -> int:
    moment = int(value)
    if not 0 <= moment < _MAX_NS:
        raise ValueError
    return moment


def attributes_of(holder: Any) -> dict[str, Any]:
    """Return the attributes of a record or a scope as plain values."""
    items = holder.get("attributes", ())
    try:
        return {
            item["key"]: value["stringValue"] if "stringValue" in value else _value(value)
            for item in items
            for value in (item["value"],)
        }
    except (KeyError, TypeError):  # whoever wrote it leaves out what is empty
        return {item.get("key", ""): _value(item.get("value") or {}) for item in items}


def _value(value: dict[str, Any]) -> Any:
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        return float(content) if kind == "doubleValue" else content
    return None
