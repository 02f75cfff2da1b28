"""Encode a training table: its rows become the matrix that the graph reads.

Each value passes through the encoder that serves; a text passes once, not once a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlembed.errors import SchemaError
from mlembed.serving.encoder import Encoder
from mlembed.serving.tables import Encoded, encode_columns, encode_table
from mlembed.training.coded import Columns, Texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.columns import Column
    from mlembed.serving.session import Session
    from mlembed.training.dataset import Dataset

_BLOCK_ROWS = 1 << 18


def encode_dataset(title: str, columns: tuple[Column, ...], table: Dataset) -> NDArray[np.float64]:
    """Encode *table* as a host would.

    Args:
        title: What messages call it.
        columns: The row's columns, vocabularies learnt.
        table: The rows.

    Returns:
        The matrix, `(n_records, n_columns)`.

    Raises:
        SchemaError: Listing every column with values that do not fit.
    """
    held = Columns.of(table.columns)
    problems: list[str] = []
    encoded: list[NDArray[np.float64] | None] = []
    for column in columns:
        encoder = Encoder(title, (column,))
        values = held.held(column.name)
        try:
            if isinstance(values, Texts):
                encoded.append(_encode_texts(encoder, column, values))
            else:
                encoded += encode_table(encoder, {column.name: values}).columns
        except SchemaError as error:
            problems += error.problems
    if problems:
        raise SchemaError(title, tuple(problems))
    rows = Encoded(encoded, len(table), {})
    matrix = rows.room()
    rows.fill(matrix, slice(None))
    return matrix


def _encode_texts(encoder: Encoder, column: Column, values: Texts) -> NDArray[np.float64]:
    """Return the numbers of *values*, `(n_records,)`; only texts that stand in a row are read."""
    counts = values.counts()
    present = np.flatnonzero(counts)
    numbers = np.full(len(counts) + 1, np.nan)
    if len(present):
        codes, _ = encode_columns(encoder, {column.name: values.texts[present]})
        numbers[present] = codes[:, 0]
    if counts.sum() < len(values):
        missing = np.full(1, None, dtype=object)
        numbers[-1] = encode_columns(encoder, {column.name: missing})[0][0, 0]
    return numbers[values.codes]


def run_features(session: Session, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the graph of the features makes of *matrix*, `(n_records, n_features)`.

    A block of rows at a time, so that the features are held once.
    """
    features = np.empty((0, 0))
    for start in range(0, len(matrix), _BLOCK_ROWS):
        part = matrix[start : start + _BLOCK_ROWS]
        block = session.run_matrix(part).reshape(len(part), -1)
        if not start:
            features = np.empty((len(matrix), block.shape[1]))
        features[start : start + len(part)] = block
    return features
