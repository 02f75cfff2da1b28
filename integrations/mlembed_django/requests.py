"""What a view sees of the models: `request.predictions`.

It belongs to one request object and to nothing else, so requests that are served at the same time
never see each other's predictions; no context variable, thread or database is involved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest

from mlembed_django.conf import get_model, site

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from mlembed.serving.batch import Batch
    from mlembed.serving.model import Model
    from mlembed.serving.prediction import Prediction


class RequestModel:
    """One model, as one request uses it.

    Args:
        name: What the site calls it.
        made: Where the request notes its predictions.
    """

    __slots__ = ("_made", "name")

    def __init__(self, name: str, made: list[Prediction]) -> None:
        self.name = name
        self._made = made

    @property
    def model(self) -> Model:
        """The live model, shared by all requests of the process."""
        return get_model(self.name)

    def predict(self, record: Any, key: str | None = None) -> Prediction:
        """Answer for one record, as `mlembed.Model.predict`."""
        prediction = self.model.predict(record, key=key)
        self._made.append(prediction)
        return prediction

    async def apredict(self, record: Any, key: str | None = None) -> Prediction:
        """Answer for one record from an async view, as `mlembed.Model.apredict`."""
        prediction = await self.model.apredict(record, key=key)
        self._made.append(prediction)
        return prediction

    def predict_batch(self, data: Any) -> Batch:
        """Answer for many records, as `mlembed.Model.predict_batch`; not noted in `made`."""
        return self.model.predict_batch(data)

    def outcome(
        self,
        prediction_id: str = "",
        value: bool | float | str | None = None,  # noqa: FBT001  the label itself
        *,
        key: str = "",
        observed_at: dt.datetime | None = None,
        revision: int = 0,
    ) -> None:
        """Report what really happened, as `mlembed.Model.outcome`; blocks on nothing."""
        self.model.outcome(
            prediction_id, value, key=key, observed_at=observed_at, revision=revision
        )


class RequestPredictions(Mapping[str, RequestModel]):
    """The declared models by name; nothing is read or loaded until one is used.

    Attributes:
        made: The predictions that this request asked for through it, the oldest first. Those of
            `predict_batch` and of models used elsewhere are not among them.
    """

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made: list[Prediction] = []

    def __getitem__(self, name: str) -> RequestModel:
        """Return the model *name*, bound to this request.

        Raises:
            UndeclaredModelError: If MLEMBED['MODELS'] has no such name; lists those it has.
        """
        return RequestModel(site().declared(name).name, self.made)

    def __iter__(self) -> Iterator[str]:
        return iter(site().declaration.models)

    def __len__(self) -> int:
        return len(site().declaration.models)


class PredictionRequest(HttpRequest):
    """The type of a request behind the middleware: annotate a view's *request* with it."""

    predictions: RequestPredictions


def predictions_of(request: HttpRequest) -> RequestPredictions:
    """Return `request.predictions`, made now where no middleware made it."""
    found = getattr(request, "predictions", None)
    if not isinstance(found, RequestPredictions):
        found = request.predictions = RequestPredictions()  # type: ignore[attr-defined]  # Django's requests take attributes
    return found
