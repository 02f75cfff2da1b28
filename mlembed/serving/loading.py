"""Bring a verified bundle into service: graph, encoder and decision, proved on its golden rows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from mlembed.bundle.golden import read_golden
from mlembed.errors import BundleError, GoldenError, SchemaError
from mlembed.serving.decision import decider
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Row, Session
from mlembed.telemetry.events import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlembed.bundle.bundle import Bundle


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
        if (self.session.n_columns, self.session.n_outputs) != (len(manifest.columns), 1):
            raise BundleError(
                f"{manifest.title}: the graph takes {self.session.n_columns} columns and gives "
                f"{self.session.n_outputs} scores; the manifest says {len(manifest.columns)} and 1"
            )
        try:
            read_golden(bundle).replay(manifest.title, self.score)
        except SchemaError as error:
            raise GoldenError(f"{manifest.title}: a golden row does not fit: {error}") from error

    def new_row(self) -> Row:
        """Return this thread's row, made on its first use."""
        row: Row = self.session.row()
        self.rows.row = row
        return row

    def score(self, record: Mapping[str, Any]) -> float:
        """Return the bare score of *record*, neither decided nor logged."""
        row = getattr(self.rows, "row", None) or self.new_row()
        self.encoder.encode(record, row.cells)
        row.run()
        return float(row.scores[0])
