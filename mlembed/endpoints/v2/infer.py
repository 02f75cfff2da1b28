"""`POST v2/models/NAME/infer`: tensors in, tensors out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from mlembed.endpoints.models import require_version, served_or_fallback
from mlembed.endpoints.problems import Problem
from mlembed.endpoints.steps import Predict, Work
from mlembed.endpoints.v2.asked import read
from mlembed.endpoints.v2.columns import record_of, table_of
from mlembed.endpoints.v2.outputs import check_wanted, of_batch, of_prediction, write
from mlembed.endpoints.v2.signature import counts_records, outputs_of
from mlembed.serving.prediction import Prediction

if TYPE_CHECKING:
    from mlembed.endpoints.call import Call
    from mlembed.endpoints.messages import Answer
    from mlembed.endpoints.steps import Steps
    from mlembed.endpoints.v2.asked import Asked
    from mlembed.serving.batch import Batch
    from mlembed.serving.loading import Served


def infer(call: Call) -> Steps:
    """Answer with the outputs that were asked for."""
    model = call.asked()
    asked = yield from call.read(lambda: read(call.request, call.limits.max_bytes))
    served = yield from served_or_fallback(model)
    if call.version is not None:
        require_version(model, served, call.version)
    names = [output.name for output in outputs_of(served)]
    check_wanted(asked, names)
    data, n_records = _given(call, served, asked)
    if n_records == 1:
        return _written(call, (yield Predict(model, data, asked.key)), names, asked)
    answer: Answer = yield Work(lambda: _written(call, model.predict_batch(data), names, asked))
    return answer


def _written(call: Call, made: Prediction | Batch, names: list[str], asked: Asked) -> Answer:
    if call.version is not None and made.version not in ("", call.version):  # replaced meanwhile
        raise Problem("unknown-version", f"In service is the version {made.version}")
    arrays = of_prediction(made) if isinstance(made, Prediction) else of_batch(made)
    return write(call.name, made, arrays, names, asked)


def _given(call: Call, served: Served | None, asked: Asked) -> tuple[dict[str, Any], int]:
    """Return what `predict` takes of one record, or `predict_batch` of others, and how many there are."""
    data: dict[str, Any] = asked.inputs
    if served is not None and served.manifest.inputs:
        # Of inputs that do not fit, `predict` tells what is wrong.
        n_records = _n_records(served, data) if counts_records(served) else 1
    else:
        table = table_of(served, data)
        n_records = len(next(iter(table.values())))
        data = record_of(table) if n_records == 1 else table
    if n_records == 1:
        return data, 1
    if n_records > call.limits.max_records:
        raise Problem("too-many-records", f"At most {call.limits.max_records} are answered")
    if asked.key is not None:
        raise Problem("request", f"the parameter 'key' is of one record, and {n_records} are given")
    return data, n_records


def _n_records(served: Served, arrays: dict[str, Any]) -> int:
    counted = (tensor.name for tensor in served.manifest.inputs if tensor.may_batch)
    array = arrays.get(next(counted, ""))
    return cast("int", array.shape[0]) if array is not None and array.ndim else 1
