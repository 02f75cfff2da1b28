"""Keep what models answer, and act on it, as the site's setting says.

The answer stands whatever happens here: a database that is down, locked or not migrated is told of
in the log, and what it costs is counted in `lost`.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import os
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from mlembed.telemetry.events import make_outcome
from mlembed.telemetry.notices import tell
from mlembed_django.conf import in_tests
from mlembed_django.context import current
from mlembed_django.declaration import listed
from mlembed_django.inserting import insert
from mlembed_django.writer import ROWS, Writer

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from django.db.models import Model

    from mlembed.serving.batch import Batch
    from mlembed.serving.prediction import Prediction
    from mlembed.telemetry.events import Outcome as Truth
    from mlembed_django.acting import SiteActions
    from mlembed_django.batches import BatchRows
    from mlembed_django.conf import Site
    from mlembed_django.declaration import DatabaseLog
    from mlembed_django.live import SiteModel
    from mlembed_django.rows import Asked
    from mlembed_django.services import Services

_ROW_BYTES = 768
_USE_APREDICT = "await apredict there; what was asked for is written by a thread"


class Journal:
    """What keeps the answers of a site's models, and acts on them.

    Args:
        site: The site; its setting asks for a database, for actions, or for both.
    """

    def __init__(self, site: Site) -> None:
        self._declaration = site.declaration
        self._database = database = site.declaration.database
        self._using = site.declaration.outbox.using if database is None else database.using
        self._writer = Writer(self._using)

    # What needs the site's tables is made at the first answer: models may be asked for before the
    # site's apps are ready.
    @functools.cached_property
    def actions(self) -> SiteActions | None:
        """What applies the rules; None where there are none, or where they cannot be imported."""
        from mlembed_django.acting import SiteActions
        from mlembed_django.outbox import DjangoOutbox

        declared = self._declaration.actions
        if not declared:
            return None
        try:
            outbox = DjangoOutbox(self._declaration.outbox.using)
            return SiteActions(outbox, listed(declared))
        except Exception as error:  # noqa: BLE001  the host's module may raise anything
            self._writer.lost["actions"] += 1
            tell(
                logging.ERROR,
                "MLEMBED['ACTIONS']: %s gives no rules (%s); nothing acts. "
                "Run manage.py check --tag mlembed",
                *(
                    f"'{declared}'" if isinstance(declared, str) else "its list",
                    type(error).__name__,
                ),
                traceback=True,
            )
            return None

    @functools.cached_property
    def _services(self) -> Services:
        from mlembed_django.services import Services

        return Services(self._writer)

    @property
    def lost(self) -> dict[str, int]:
        """Rows and actions that were lost, by reason; each reason is in the log."""
        lost = dict(self._writer.lost)
        actions = self.actions
        return {**lost, "unqueued": actions.failed} if actions and actions.failed else lost

    def note(self, model: SiteModel, prediction: Prediction) -> None:
        """Keep *prediction*, and do what it causes, for the caller; never raises."""
        try:
            if self._concerns(prediction):
                self._do(1, functools.partial(self._act, prediction))
            if self._database is not None:
                self._keep(model, prediction, self._database)
        except Exception as error:  # noqa: BLE001  the host's answer must not depend on this
            self._writer.lose("failed", 1, error)

    async def anote(self, model: SiteModel, prediction: Prediction) -> None:
        """Do as `note` from a coroutine; what must be written at once is written on a thread."""
        try:
            if not (self._is_at_once() or self._concerns(prediction)):
                self.note(model, prediction)
                return
            from asgiref.sync import sync_to_async

            noting = asyncio.ensure_future(sync_to_async(self.note)(model, prediction))
            try:
                await asyncio.shield(noting)
            except asyncio.CancelledError:  # what was predicted is kept all the same
                await self._finish(noting)
                raise
        except Exception as error:  # noqa: BLE001  as in `note`
            self._writer.lose("failed", 1, error)

    async def _finish(self, noting: asyncio.Future[None]) -> None:
        try:
            await noting
        except asyncio.CancelledError:  # a second time
            self._writer.lose("failed", 1, "the caller was cancelled")

    def note_batch(self, model: SiteModel, batch: Batch, keys: Sequence[Any] | None) -> None:
        """Keep the answers of *batch*, and do what they cause; never raises.

        Args:
            model: What answered.
            batch: The answers.
            keys: The host's key of each record, or None.
        """
        try:
            self._note_batch(model, batch, keys)
        except Exception as error:  # noqa: BLE001  as in `note`
            self._writer.lose("failed", len(batch), error)

    def finish_run(self, best: Mapping[str, Sequence[Prediction]]) -> None:
        """Act on the best of a whole run, by the name of the rule; never raises."""
        if self.actions is not None:
            self.actions.finish_run(best)

    def note_outcome(
        self,
        model: SiteModel,
        prediction_id: str,
        value: Any,
        key: str,
        observed_at: dt.datetime | None,
        revision: int,
    ) -> None:
        """Keep what really happened; never raises."""
        if self._database is None:
            return
        try:
            truth = make_outcome(model.name, prediction_id, value, key, observed_at, revision)
            self._put(1, _ROW_BYTES, functools.partial(self._outcome_rows, model.name, truth))
        except Exception as error:  # noqa: BLE001  as in `note`
            self._writer.lose("failed", 1, error)

    def flush(self, timeout_seconds: float = 2.0) -> bool:
        """Wait until all that was noted so far is written; return whether it is."""
        return self._writer.flush(timeout_seconds)

    def finish(self, hear: Callable[[int], None] | None = None) -> int:
        """Wait for what was noted so far, as long as the database takes it; as `Writer.finish`.

        In a transaction of the caller there is no wait: the writer may wait for that.
        """
        return 0 if self._is_inside() else self._writer.finish(hear)

    @property
    def waiting(self) -> int:
        """How many rows were noted and are not written."""
        return self._writer.waiting

    def keep_up(self) -> None:
        """Wait where much is to be written; as `Writer.keep_up`, and as `finish`."""
        if not self._is_inside():
            self._writer.keep_up()

    def close(self) -> None:
        """Write what waits, within two seconds, and end the thread."""
        self._writer.close()

    def _note_batch(self, model: SiteModel, batch: Batch, keys: Sequence[Any] | None) -> None:
        actions, database = self.actions, self._database
        acts = actions is not None and any(rule.model == batch.model for rule in actions.rules)
        if database is not None and not in_tests():
            self._services.see(model)
        keeps = database is not None and database.predictions != "off"
        if not (acts or keeps):
            return
        from mlembed_django.batches import BatchRows
        from mlembed_django.rows import batch_rows

        if keys is not None and len(keys) != len(batch):
            self._writer.warn(
                "keys of a batch are left out", f"{len(keys)} keys for {len(batch)} records"
            )
            keys = None
        rows = BatchRows(batch, keys)
        if acts and actions is not None:
            self._do(len(rows), functools.partial(_act_on, actions, rows))
        if keeps and database is not None:
            chosen = rows.kept(database.sample)
            make = functools.partial(batch_rows, model.name, rows, chosen, self._asked())
            if not _on_loop():
                self._writer.make_room(rows.n_bytes)
            self._put(len(chosen), rows.n_bytes, make)

    def _keep(self, model: SiteModel, prediction: Prediction, database: DatabaseLog) -> None:
        from mlembed_django.rows import prediction_rows
        from mlembed_django.sampling import is_kept

        if not in_tests():
            self._services.see(model)
        if database.predictions == "off":
            return
        if database.sample >= 1.0 or is_kept(prediction.id, database.sample):
            make = functools.partial(prediction_rows, model.name, prediction, self._asked())
            self._put(1, _ROW_BYTES, make)

    def _concerns(self, prediction: Prediction) -> bool:
        return self.actions is not None and self.actions.concern(prediction)

    def _act(self, prediction: Prediction) -> tuple[()]:
        if self.actions is not None:
            self.actions(prediction)
        return ()

    def _outcome_rows(self, name: str, truth: Truth) -> Iterable[Model]:
        from mlembed_django.rows import outcome_row

        row = outcome_row(name, truth)
        if row is None:
            self._writer.lose("unknown", 1, "an outcome names no prediction of ours, and no key")
        return () if row is None else (row,)

    def _do(self, n_rows: int, act: Callable[[], tuple[()]]) -> None:
        """Act now; on the thread of an event loop, which must not query, hand it to the writer."""
        if _on_loop():
            self._later(n_rows, 0, act)
        else:
            act()

    def _put(self, n_rows: int, n_bytes: int, make: Callable[[], Iterable[Model]]) -> None:
        if not self._is_at_once():
            self._writer.put(n_bytes, n_rows, make)
        elif _on_loop():
            self._later(n_rows, n_bytes, make)
        else:
            rest = iter(make())
            with transaction.atomic(self._using):
                while some := list(itertools.islice(rest, ROWS)):
                    insert(some, self._using)

    def _later(self, n_rows: int, n_bytes: int, make: Callable[[], Iterable[Model]]) -> None:
        if in_tests():  # a thread would write outside of the test's transaction
            self._writer.lose("loop", n_rows, _USE_APREDICT)
            return
        self._writer.warn("predict was called on the thread of an event loop", _USE_APREDICT)
        self._writer.put(n_bytes, n_rows, make)

    def _is_inside(self) -> bool:
        return connections[self._using].in_atomic_block

    def _is_at_once(self) -> bool:
        """Tell whether rows are written by the caller: so the site asks, or a test rolls back."""
        database = self._database
        return database is not None and (database.predictions == "transaction" or in_tests())

    def _asked(self) -> Asked:
        from mlembed_django.rows import NOBODY, Asked

        try:
            return Asked.of(current.get())
        except Exception as error:  # noqa: BLE001  the host's own USER may raise anything
            self._writer.warn("who asked is not known", error)
            return NOBODY


def _act_on(actions: SiteActions, rows: BatchRows) -> tuple[()]:
    actions.apply_batch(rows)
    return ()


def _on_loop() -> bool:
    if os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
