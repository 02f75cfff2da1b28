"""Let what serves now score the rows that a candidate is measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed.bundle.manifest import MODEL
from mlembed.serving.encoder import Encoder
from mlembed.serving.session import Session
from mlembed.serving.tables import encode_columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.training.dataset import Dataset


def scores_by(bundle: Bundle, table: Dataset) -> NDArray[np.float64]:
    """Return the scores of *bundle* for the rows of *table*.

    Returns:
        `(n_records,)`; `(n_records, n_classes)` where there are more than two classes.

    Raises:
        SchemaError: If it reads columns that the table does not have, or takes other values.
    """
    manifest = bundle.manifest
    encoder = Encoder(manifest.title, manifest.columns)
    given = {name: table.columns[name] for name in encoder.names if name in table.columns}
    matrix, _ = encode_columns(encoder, given)
    return Session(bundle.files[MODEL]).run_matrix(matrix)
