"""How a host uses the public names; checked by mypy, never run."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, assert_type

import mlembed
from bundles import RECORD, Toy
from mlembed.testing import InMemoryRegistry, capture_predictions, override_model

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

TOY = Toy(**RECORD)


def load(folder: Path) -> mlembed.Model:
    """Every way to name a registry is accepted."""
    settings = mlembed.Settings(registry="file:///srv/models", log_dir=folder, poll_seconds=30)
    assert_type(mlembed.load("income@champion"), mlembed.Model)
    mlembed.load("income", registry=folder, fallback=0.0)
    mlembed.load("income@1.2.0", registry="file:///srv/models", settings=settings)
    return mlembed.load("income", registry=InMemoryRegistry())


async def predict(model: mlembed.Model, person: Toy) -> None:
    """An answer has types a host can rely on."""
    prediction = model.predict(person, key="7")
    assert_type(prediction, mlembed.Prediction)
    assert_type(await model.apredict({"age": 41}), mlembed.Prediction)
    assert_type(prediction.score, float)
    assert_type(prediction.id, str)
    assert_type(prediction.key, str | None)
    assert_type(prediction.label, bool | str | None)
    assert_type(prediction.interval, tuple[float, float] | None)
    for name, probability in (prediction.probabilities or {}).items():
        assert_type((name, probability), tuple[str, float])
    assert_type(prediction.to_json(), dict[str, Any])
    batch = model.predict_batch({"age": [41.0]})
    scores: NDArray[np.float64] = batch.scores
    assert_type(batch.labels, list[bool | str | None])
    both: list[NDArray[np.float64] | None] = [batch.intervals, batch.probabilities]
    assert_type(len(both), int)
    assert_type(batch.ids, list[str])
    model.outcome(prediction.id, True, observed_at=dt.datetime.now(dt.UTC))  # noqa: FBT003  the truth
    model.outcome(key="7", value=float(scores[0]), revision=1)
    model.outcome(prediction.id, "a class")
    assert_type(model.refresh(), bool)
    assert_type(model.error, mlembed.errors.MlembedError | None)


@mlembed.predicts("income@champion", fallback=0.0)
def of_person(age: float, *, town: str = "oslo") -> dict[str, object]:
    """A record as a mapping."""
    return {"age": age, "town": town}


@mlembed.predicts("income@champion")
async def of_row(number: int) -> Toy | None:
    """A record that is awaited."""
    return None if number else TOY


class Customer:
    """A record made by a method."""

    @mlembed.predicts("income@champion")
    def income(self, year: int) -> dict[str, Any]:
        """Return the record of a year."""
        return {"year": year}


async def decorated(customer: Customer) -> None:
    """A decorated function takes the arguments it took, and returns a prediction."""
    assert_type(of_person(41.0, town="lyon"), mlembed.Prediction)
    coroutine: Coroutine[Any, Any, mlembed.Prediction] = of_row(7)
    assert_type(await coroutine, mlembed.Prediction)
    assert_type(await of_row(number=7), mlembed.Prediction)
    assert_type(customer.income(2026), mlembed.Prediction)
    of_person("41")  # type: ignore[arg-type]  # the argument's type is kept
    of_person(41.0, city="lyon")  # type: ignore[call-arg]  # and so is its name
    await of_row()  # type: ignore[call-arg]  # of a coroutine function too
    customer.income("x")  # type: ignore[arg-type]  # and of a method


@override_model("income", returns=0.7, label="a class")
def test_host(number: int) -> str:
    """A decorated test keeps its type."""
    with capture_predictions() as captured:
        assert_type(captured, list[mlembed.Prediction])
    return str(number)


assert_type(test_host(7), str)
