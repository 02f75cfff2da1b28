"""A model as the site declares it: what it answers may be kept and may act, as the site says.

Where the site keeps nothing and acts on nothing it is the library's model, with nothing added.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

from django.db.models import Model as Row

from mlembed.registry.pointer import parse_ref
from mlembed.serving.loading import Serving
from mlembed.serving.model import RAISE, Model

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Sequence

    from django.db.models import QuerySet

    from mlembed.registry import BundleSource
    from mlembed.serving.batch import Batch
    from mlembed.serving.prediction import Prediction
    from mlembed.settings import Settings
    from mlembed_django.declaration import Declared
    from mlembed_django.instances import InstanceMapping
    from mlembed_django.journal import Journal
    from mlembed_django.querysets import Scored

_held: contextvars.ContextVar[bool] = contextvars.ContextVar("mlembed_held", default=False)


class SiteModel(Model):
    """A live model; made by `get_model`.

    Args:
        declared: What the site says of it.
        settings: The site's settings of the library.
        source: The registry.
        journal: What keeps its answers and acts on them; None where nothing does.
        mapping: How an instance of the site's own model becomes the record, or None.

    Attributes:
        name: What the site calls it.
        journal: As above.
        mapping: As above.
    """

    def __init__(
        self,
        declared: Declared,
        settings: Settings,
        source: BundleSource,
        journal: Journal | None = None,
        mapping: InstanceMapping[Any] | None = None,
    ) -> None:
        timeout = None if declared.timeout_ms is None else declared.timeout_ms / 1000
        super().__init__(
            parse_ref(str(declared.ref)),
            source,
            RAISE if declared.fallback is None else declared.fallback,
            Serving(declared.settings(settings), timeout),
        )
        self.name = declared.name
        self._handle.call(called(declared.name))
        self.declared = declared
        self.mapping = mapping
        self.journal = journal

    def predict(self, record: Any, *, key: str | None = None) -> Prediction:
        """Answer for one record, or for an instance of the model that `RECORD` maps.

        The key of an instance is its primary key, unless another is given.
        """
        if self.mapping is not None and isinstance(record, Row):
            record, key = self.mapping.record_and_key(record, key)
        answer = super().predict(record, key=key)
        if self.journal is not None and not _held.get():
            self.journal.note(self, answer)
        return answer

    async def apredict(self, record: Any, *, key: str | None = None) -> Prediction:
        """Answer for one record, from a coroutine; rows and actions are written on a thread.

        An instance whose relations are loaded is read at once, another on the thread of the host's
        database.
        """
        if self.mapping is not None and isinstance(record, Row):
            record, key = await self.mapping.arecord_and_key(record, key)
        if self.journal is None:
            return await super().apredict(record, key=key)
        token = _held.set(True)  # what it answers is written here, not on the loop
        try:
            answer = await super().apredict(record, key=key)
        finally:
            _held.reset(token)
        await self.journal.anote(self, answer)
        return answer

    def predict_batch(self, data: Any, *, keys: Sequence[Any] | None = None) -> Batch:
        """Answer for many records at once.

        Args:
            data: As for `mlembed.Model.predict_batch`.
            keys: The host's key of each record, in order; actions that follow an entity need it.
        """
        batch = super().predict_batch(data)
        if self.journal is not None:
            self.journal.note_batch(self, batch, keys)
        return batch

    def predict_queryset(
        self, queryset: QuerySet[Any] | Iterable[Any], *, chunk_size: int = 2_000
    ) -> Iterator[Scored]:
        """Answer for each row of *queryset*, reading and predicting in chunks; see `querysets`."""
        from mlembed_django.querysets import predict_queryset

        return predict_queryset(self, queryset, chunk_size=chunk_size)

    def outcome(
        self,
        prediction_id: str = "",
        value: bool | float | str | None = None,  # noqa: FBT001  the label itself
        *,
        key: str = "",
        observed_at: dt.datetime | None = None,
        revision: int = 0,
    ) -> None:
        """Report what really happened, as `mlembed.Model.outcome`."""
        super().outcome(prediction_id, value, key=key, observed_at=observed_at, revision=revision)
        if self.journal is not None:
            self.journal.note_outcome(self, prediction_id, value, key, observed_at, revision)


def called(name: str) -> str:
    """Return what tests override when they override what the site calls *name*."""
    return f"site:{name}"  # no model of a registry may have such a name
