"""`POST models/NAME/predict`: one record, or several of which all are answered or none."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from mlembed.endpoints.messages import json_answer
from mlembed.endpoints.models import served_or_fallback
from mlembed.endpoints.problems import Problem
from mlembed.endpoints.reading import json_type, key_of, typed
from mlembed.endpoints.rows import prediction_row, rows_of
from mlembed.endpoints.steps import Predict, Work
from mlembed.serving.fallback import Raise
from mlembed.serving.tables import encode_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.endpoints.call import Call
    from mlembed.endpoints.messages import Answer
    from mlembed.endpoints.steps import Steps
    from mlembed.serving.batch import Batch
    from mlembed.serving.loading import Served
    from mlembed.serving.model import Model

    Records = list[dict[str, Any]]
    Keys = list[str | None]

_FIELDS = ("record", "key", "records", "keys")
_MAX_EXTRA = 10
_MAX_UNREAD = 100


def predict(call: Call) -> Steps:
    """Answer with one prediction, or with a list of them."""
    model, body = call.asked(), (yield from call.body(_FIELDS))
    many = "records" in body or "keys" in body
    if many == ("record" in body or "key" in body):
        raise Problem("request", "Give 'record' and its 'key', or 'records' and their 'keys'")
    if many:
        return (yield from _predict_many(call, model, body))
    record = _record(body.get("record"), "record")
    prediction = yield Predict(model, record, key_of(body.get("key")))
    return json_answer(prediction_row(prediction))


def _predict_many(call: Call, model: Model, body: dict[str, Any]) -> Steps:
    records, keys = _records(call, body), _keys(body)
    if keys is not None and len(keys) != len(records):
        raise Problem("request", f"There are {len(records)} records and {len(keys)} keys")
    if not records:
        return json_answer({"predictions": []})
    served = yield from served_or_fallback(model)

    def answer_all() -> Answer:
        return json_answer({"predictions": _rows(model, served, records, keys)})

    answer: Answer = yield Work(answer_all)
    return answer


def _rows(
    model: Model, served: Served | None, records: Records, keys: Keys | None
) -> list[dict[str, Any]]:
    data = _table(served, records)
    if keys is None:
        return rows_of(model.predict_batch(data), None)
    if _takes_keys(model):
        predict_batch: Callable[..., Batch] = model.predict_batch
        return rows_of(predict_batch(data, keys=keys), keys)
    # The library's log holds a key for each prediction of its own, and none for a batch.
    if served is not None and isinstance(model.fallback, Raise):
        _require_fit(served, data)
    pairs = zip(records, keys, strict=True)
    return [prediction_row(model.predict(record, key=key)) for record, key in pairs]


def _takes_keys(model: Model) -> bool:
    """Tell whether a batch of the model takes the key of each record, as a site's own does."""
    return "keys" in inspect.signature(model.predict_batch).parameters


def _require_fit(served: Served, data: Any) -> None:
    """Refuse all records where one does not fit, before the first is answered.

    Raises:
        SchemaError: Naming what does not fit.
    """
    if served.manifest.inputs:
        for record in data:
            cast("Any", served).feed.read(record)
    else:
        encode_table(served.encoder, data)


def _table(served: Served | None, records: Records) -> Any:
    """Return what `predict_batch` takes: columns, or the records themselves where tensors are."""
    if served is None:
        # A fallback reads none of it, but a table has no rows without a column.
        names = dict.fromkeys([*records[0]][:_MAX_UNREAD] or [""])
    elif served.manifest.inputs:
        return records
    else:
        names = dict.fromkeys(column.name for column in served.manifest.columns)
        extra = dict.fromkeys(name for record in records for name in record if name not in names)
        # Of unknown names a few are enough to be refused; all of them could be a matrix.
        names |= dict.fromkeys([*extra][:_MAX_EXTRA])
    return {name: [record.get(name) for record in records] for name in names}


def _records(call: Call, body: dict[str, Any]) -> Records:
    records = typed(body, "records", list)
    if records is None:
        raise Problem("request", "'records' are missing")
    most = call.limits.max_records
    if len(records) > most:
        raise Problem("too-many-records", f"At most {most} are answered at a time")
    return [_record(record, f"records[{place}]") for place, record in enumerate(records)]


def _record(value: Any, name: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise Problem("request", f"'{name}' is {json_type(value)}, expected an object")
    return value


def _keys(body: dict[str, Any]) -> Keys | None:
    keys = typed(body, "keys", list)
    if keys is None:
        return None
    return [key_of(key, f"keys[{place}]") for place, key in enumerate(keys)]
