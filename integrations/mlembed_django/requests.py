"""What a view sees of the models: `request.predictions`.

It belongs to one request object and to nothing else, so requests that are served at the same time
never see each other's predictions; no thread or database is involved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest

from mlembed_django.conf import get_model, site
from mlembed_django.context import InContext, RequestContext

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Sequence

    from django.db.models import QuerySet

    from mlembed.serving.batch import Batch
    from mlembed.serving.prediction import Prediction
    from mlembed_django.live import SiteModel
    from mlembed_django.querysets import Scored


class RequestModel:
    """One model, as one request uses it.

    Args:
        name: What the site calls it.
        predictions: Those of the request.
    """

    __slots__ = ("_of", "name")

    def __init__(self, name: str, predictions: RequestPredictions) -> None:
        self.name = name
        self._of = predictions

    @property
    def model(self) -> SiteModel:
        """The live model, shared by all requests of the process."""
        return get_model(self.name)

    def predict(self, record: Any, key: str | None = None) -> Prediction:
        """Answer for one record, as `mlembed.Model.predict`."""
        with self._of.in_context():
            prediction = self.model.predict(record, key=key)
        self._of.made.append(prediction)
        return prediction

    async def apredict(self, record: Any, key: str | None = None) -> Prediction:
        """Answer for one record from an async view, as `mlembed.Model.apredict`."""
        with self._of.in_context():
            prediction = await self.model.apredict(record, key=key)
        self._of.made.append(prediction)
        return prediction

    def predict_batch(self, data: Any, keys: Sequence[Any] | None = None) -> Batch:
        """Answer for many records, as `SiteModel.predict_batch`; not noted in `made`."""
        with self._of.in_context():
            return self.model.predict_batch(data, keys=keys)

    def predict_queryset(
        self, queryset: QuerySet[Any] | Iterable[Any], chunk_size: int = 2_000
    ) -> Iterator[Scored]:
        """Answer for each row, as `SiteModel.predict_queryset`; not noted in `made`."""
        return self._of.each_in_context(
            self.model.predict_queryset(queryset, chunk_size=chunk_size)
        )

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

    Args:
        request: The request they are used for.

    Attributes:
        context: The request's id, user and trace.
        made: The predictions that this request asked for through it, the oldest first. Those of
            `predict_batch` and of models used elsewhere are not among them.
    """

    __slots__ = ("context", "made")

    def __init__(self, request: HttpRequest) -> None:
        self.context = RequestContext(request)
        self.made: list[Prediction] = []

    def in_context(self) -> InContext:
        """Return the context manager in which the request is known to whatever is called.

        The middleware is one, too, but a response that streams is written after it.
        """
        return InContext(self.context)

    def each_in_context(self, rows: Iterator[Scored]) -> Iterator[Scored]:
        """Yield *rows*, each worked out in the context; what the caller does between them is not."""
        while True:
            with self.in_context():
                row = next(rows, None)
            if row is None:
                return
            yield row

    def __getitem__(self, name: str) -> RequestModel:
        """Return the model *name*, bound to this request.

        Raises:
            UndeclaredModelError: If MLEMBED['MODELS'] has no such name; lists those it has.
        """
        return RequestModel(site().declared(name).name, self)

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
        found = request.predictions = RequestPredictions(request)  # type: ignore[attr-defined]  # Django's requests take attributes
    return found
