"""Bring a verified bundle into service: graph, encoder and decision, proved on its golden rows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlembed.bundle.golden import read_golden
from mlembed.errors import (
    BundleError,
    GoldenError,
    InferenceError,
    MlembedError,
    SchemaError,
)
from mlembed.serving.batch import encode_columns
from mlembed.serving.decision import decider
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Row, Session
from mlembed.telemetry.events import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.manifest import Manifest
    from mlembed.serving.batch import UnknownCells


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


class Served:
    """One version in service; shared by all threads and never changed.

    Args:
        bundle: The verified bundle.
        threads: CPU threads of its session.
        log_features: Whether its events hold the features.

    Raises:
        BundleError: If the graph cannot be loaded or does not fit the manifest.
        GoldenError: If it does not reproduce its golden rows on this machine.
    """

    def __init__(self, bundle: Bundle, *, threads: int, log_features: bool) -> None:
        manifest = bundle.manifest
        self.id = bundle.id
        self.manifest = manifest
        self.version = manifest.version
        self.encoder = Encoder(manifest.title, manifest.columns)
        self.session = Session(bundle.files["model.onnx"], threads)
        self.decide = decider(manifest.task)
        self.source = Source(
            manifest.name, manifest.version, bundle.id, manifest.columns, log_features=log_features
        )
        self.rows = threading.local()
        self._bundle, self._threads = bundle, threads
        self._runners: set[int] = set()
        if (self.session.n_columns, self.session.n_outputs) != (len(manifest.columns), 1):
            raise BundleError(
                f"{manifest.title}: the graph takes {self.session.n_columns} columns and gives "
                f"{self.session.n_outputs} scores; the manifest says {len(manifest.columns)} and 1"
            )
        try:
            read_golden(bundle).replay(manifest.title, self.score)
        except SchemaError as error:
            raise GoldenError(f"{manifest.title}: a golden row does not fit: {error}") from error
        except MlembedError:
            raise
        except Exception as error:  # the runtime raises its own types, which are not public
            raise GoldenError(
                f"{manifest.title}: the graph fails on a golden row ({type(error).__name__}). "
                "It was not put in service; pack the model again"
            ) from error
        self.rows = threading.local()
        self._runners.clear()

    def new_row(self) -> Row:
        """Return this thread's row, made on its first use."""
        self._runners.add(threading.get_ident())
        row: Row = self.session.row()
        self.rows.row = row
        return row

    def survives_fork(self) -> bool:
        """Tell, in a forked child, whether the inherited session may run there.

        A session has locks of its own: one that another thread was running at the fork may be
        locked for good, and one with threads of its own has lost them.
        """
        return self._threads == 1 and self._runners <= {threading.get_ident()}

    def again(self) -> Served:
        """Return the same version with a session of its own."""
        return Served(self._bundle, threads=self._threads, log_features=self.source.log_features)

    def score(self, record: Mapping[str, Any]) -> float:
        """Return the bare score of *record*, neither decided nor logged."""
        row = getattr(self.rows, "row", None) or self.new_row()
        self.encoder.encode(record, row.cells)
        row.run()
        return float(row.scores[0])

    def score_columns(self, data: Any) -> Scored:
        """Return the bare scores of a table.

        Raises:
            SchemaError: If the table does not fit.
            InferenceError: If the graph fails, or gives what is no number.
        """
        matrix, unknown = encode_columns(self.encoder, data)
        self._runners.add(threading.get_ident())
        scores = self.session.run_matrix(matrix) if len(matrix) else np.empty(0)
        if not np.isfinite(scores).all():
            raise InferenceError(f"{self.manifest.title} gave no finite number in some rows")
        return Scored(scores, matrix, unknown)


def check_columns(serving: Manifest, manifest: Manifest) -> None:
    """Refuse a version that the records made for the one in service do not fit.

    Raises:
        BundleError: Listing every column that the host would have to change.
    """
    old = {column.name: column for column in serving.columns}
    new = {column.name: column for column in manifest.columns}
    problems = [f"'{name}' is gone" for name in old if name not in new]
    for name, column in new.items():
        before = old.get(name)
        if before is None and not column.nullable:
            problems.append(f"'{name}' is new")
        elif before is not None and before.kind != column.kind:
            problems.append(f"'{name}' is {column.kind}, not {before.kind}")
        elif before is not None and before.nullable > column.nullable:
            problems.append(f"'{name}' may not be missing any more")
    if problems:
        raise BundleError(
            f"{manifest.title} needs other columns than {serving.title}, which this process "
            f"serves: {'; '.join(problems)}. Deploy a host that gives them and start it anew"
        )
