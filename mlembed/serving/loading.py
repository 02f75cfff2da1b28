"""Bring a verified bundle into service: graph, encoder and decision, proved on its golden rows."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from mlembed.bundle.golden import read_golden
from mlembed.bundle.manifest import MODEL, REFERENCE
from mlembed.errors import (
    BundleError,
    GoldenError,
    InferenceError,
    MlembedError,
    SchemaError,
)
from mlembed.serving.decision import decider
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Row, Session
from mlembed.serving.tables import encode_table
from mlembed.telemetry.notices import tell
from mlembed.telemetry.redaction import Redaction
from mlembed.telemetry.source import Source
from mlembed.telemetry.tally import tally_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.columns import Column
    from mlembed.serving.decision import Decide
    from mlembed.serving.tables import UnknownCells
    from mlembed.settings import Settings

AnySource = TypeVar("AnySource", bound=Source)


class Scored(NamedTuple):
    """The bare scores of a table.

    Attributes:
        scores: `(n_records,)`.
        matrix: The encoded rows, `(n_records, n_columns)`; None where no graph was run.
        unknown: For each category the rows whose value stands outside its vocabulary.
    """

    scores: NDArray[np.float64]
    matrix: NDArray[np.float64] | None
    unknown: UnknownCells


class Rows(threading.local):
    """The rows of one thread that no call is using; a call made inside another takes a new one."""

    def __init__(self) -> None:
        self.free: list[Row] = []


class Serving(NamedTuple):
    """How a host serves a model, whatever its version.

    Attributes:
        settings: Threads and the log.
        timeout_seconds: Longest run of the graph; without end where it is None.
    """

    settings: Settings
    timeout_seconds: float | None = None


class Served:
    """One version in service; shared by all threads.

    Args:
        bundle: The verified bundle.
        serving: How it is served.

    Attributes:
        encode_dict: Writes a dictionary into a row; see `Encoder`.
        encode: Writes any record into a row.
        rows: Each thread's own rows; none is ever free where the version answers itself.
        own_rows: The same, of a version that answers itself.
        source: What its events say of it.
        band: The scores in which it abstains, or None.
        run_seconds: A run of the graph on one row, by the clock: the median of its golden rows.

    Raises:
        BundleError: If the graph cannot be loaded or does not fit the manifest.
        GoldenError: If it does not reproduce its golden rows on this machine.
        SettingsError: If the settings log a column in a way that there is not.
    """

    answers_itself = False

    def __init__(self, bundle: Bundle, serving: Serving) -> None:
        manifest = bundle.manifest
        self.id = bundle.id
        self.manifest = manifest
        self.version = manifest.version
        self.band = manifest.task.abstain
        self.decide = decider(manifest.task)
        self._bundle, self._serving = bundle, serving
        self.begin_in_child()
        self._runners: set[int] = set()
        self._timeout_seconds: float | None = None
        self._load(serving.settings)
        self.run_seconds = self._prove()
        self._timeout_seconds = serving.timeout_seconds
        self.begin_in_child()
        self._runners.clear()

    @property
    def bundle(self) -> Bundle:
        """The verified bundle."""
        return self._bundle

    def _load(self, settings: Settings) -> None:
        """Make encoder, session and source."""
        bundle, manifest = self._bundle, self.manifest
        self.encoder = Encoder(manifest.title, manifest.columns)
        self.encode_dict, self.encode = self.encoder.encode_dict, self.encoder.encode
        self.session = Session(bundle.files[MODEL], settings.threads)
        self.source: Source = self._source(settings)
        found = self.session.n_columns, self.session.n_outputs
        said = len(manifest.columns), len(manifest.task.classes) or 1
        if found != said:
            raise BundleError(
                f"{manifest.title}: the graph takes {found[0]} columns and gives {found[1]} "
                f"scores; the manifest says {said[0]} and {said[1]}"
            )

    def _source(self, settings: Settings) -> Source:
        """Return what its events say of it."""
        return source_of(Source, self._bundle, settings, self.decide)

    def _prove(self) -> float:
        """Replay the golden rows; return the median time of one."""
        times: list[float] = []

        def timed(record: Mapping[str, Any]) -> Sequence[float]:
            start = time.perf_counter()
            scores = self.scores_of_record(record)
            times.append(time.perf_counter() - start)
            return scores

        with proving(self.manifest.title):
            read_golden(self._bundle).replay(self.manifest.title, timed)
        return sorted(times)[len(times) // 2] if times else 0.0

    def new_row(self) -> Row:
        """Return a new row for the calling thread; it goes to `rows.free` after its use."""
        self._runners.add(threading.get_ident())
        return self.session.row(self._timeout_seconds)

    def begin_in_child(self) -> None:
        """Forget, in a forked child, the rows that the parent bound."""
        self.rows = self.own_rows = Rows()

    def survives_fork(self) -> bool:
        """Tell, in a forked child, whether the inherited session may run there.

        A session has locks of its own: one that another thread was running at the fork may be
        locked for good, and one with threads of its own has lost them.
        """
        return self._serving.settings.threads == 1 and self._runners <= {threading.get_ident()}

    def again(self) -> Served:
        """Return the same version with a session of its own."""
        return type(self)(self._bundle, self._serving)

    def score(self, record: Mapping[str, Any]) -> float:
        """Return the bare score of *record*, neither decided nor logged."""
        return max(self.scores_of_record(record))

    def scores_of_record(self, record: Mapping[str, Any]) -> Sequence[float]:
        """Return all that the graph gives for *record*: one number, or one for each class."""
        free = self.own_rows.free
        row = free.pop() if free else self.new_row()
        self.encode(record, row.cells)
        row.run()
        scores: Sequence[float] = row.scores.tolist()
        free.append(row)
        return scores

    def score_columns(self, data: Any) -> Scored:
        """Return the bare scores of a table.

        Raises:
            SchemaError: If the table does not fit.
            InferenceError: If the graph fails, or gives what is no number.
        """
        encoded = encode_table(self.encoder, data)
        self._runners.add(threading.get_ident())
        matrix, scores = encoded.room(), np.empty(0)
        if len(matrix):
            fill = functools.partial(encoded.fill, matrix)
            scores = self.session.run_matrix(matrix, self._timeout_seconds, fill)
        if not np.isfinite(scores).all():
            raise InferenceError(f"{self.manifest.title} gave no finite number in some rows")
        return Scored(scores, matrix, encoded.unknown)


@contextlib.contextmanager
def proving(title: str) -> Iterator[None]:
    """Map whatever fails on a golden row to an error that says so.

    Raises:
        GoldenError: In its place.
    """
    try:
        yield
    except SchemaError as error:
        raise GoldenError(f"{title}: a golden row does not fit: {error}") from error
    except MlembedError:
        raise
    except Exception as error:  # the runtime raises its own types, which are not public
        raise GoldenError(
            f"{title}: the graph fails on a golden row ({type(error).__name__}). "
            "It was not put in service; pack the model again"
        ) from error


def serve(bundle: Bundle, serving: Serving) -> Served:
    """Bring *bundle* into service, whatever its graph takes; see `Served`."""
    if bundle.manifest.inputs:
        from mlembed.serving.tensors import TensorServed  # others start without

        return TensorServed(bundle, serving)
    if bundle.manifest.task.classes:
        from mlembed.serving.classes import ClassServed  # idem

        return ClassServed(bundle, serving)
    return Served(bundle, serving)


def source_of(
    kind: type[AnySource],
    bundle: Bundle,
    settings: Settings,
    decide: Decide,
    beside: Sequence[Column] = (),
) -> AnySource:
    """Return what the events of *bundle* say of it.

    Args:
        kind: What is to be returned.
        bundle: The bundle.
        settings: How each column is logged.
        decide: Returns the label and the reason of a score.
        beside: What is logged behind the columns of the row.
    """
    manifest, tally = bundle.manifest, None
    columns = (*manifest.columns, *beside)
    if REFERENCE in bundle.files:
        try:
            tally = tally_of(bundle.id, bundle.json(REFERENCE), columns)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"{manifest.title}: reference.json is malformed; train or pack it again"
            ) from error
    redaction = Redaction(
        columns,
        settings.log_columns,
        settings.log_key,
        tally.edges if tally is not None else {},
    )
    for problem in redaction.problems:
        tell(logging.WARNING, "%s, in the log: %s", manifest.title, problem)
    source = kind(
        *(manifest.name, manifest.version, bundle.id, columns),
        log_features=settings.log_features,
        redaction=redaction,
        tally=tally,
        decide=decide,
    )
    source.interval = manifest.task.interval
    return source
