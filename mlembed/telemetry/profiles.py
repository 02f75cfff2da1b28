"""Bin counts that describe a column, and add up across threads, processes and hosts.

The bins come from the training data and travel in the bundle, so that any two windows of any
two processes are counted alike.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlembed.columns import Column

N_BINS = 10
MAX_VALUES = 50
MIN_SHARE = 0.005


@dataclasses.dataclass(frozen=True, slots=True)
class Bins:
    """Counts of one column.

    Attributes:
        kind: `number` (bins between edges, the outer ones open) or `category`.
        edges: Inner edges, increasing; a value falls into the bin numbered by the edges <= it.
        values: Categories counted by name; the last count is of all others.
        counts: One count a bin: `len(edges) + 1` or `len(values) + 1`, int64.
        missing: Count of missing values.
    """

    kind: Literal["number", "category"]
    edges: tuple[float, ...]
    values: tuple[str, ...]
    counts: tuple[int, ...]
    missing: int

    def to_json(self) -> dict[str, Any]:
        """Describe the counts in plain JSON types."""
        bins = (
            {"edges": list(self.edges)} if self.kind == "number" else {"values": list(self.values)}
        )
        return {"kind": self.kind, **bins, "counts": list(self.counts), "missing": self.missing}


def number_bins(values: NDArray[np.float64]) -> Bins:
    """Count *values* in bins at their own deciles, so that outliers cannot hide a shift.

    Where nearly all are the smallest one, the bins are below, at and above that value.

    Args:
        values: `(n,)`; NaN is missing.
    """
    present = values[~np.isnan(values)]
    edges = np.empty(0)
    if present.size:
        inner = np.linspace(0, 1, N_BINS + 1)[1:-1]
        edges = np.unique(np.quantile(present, inner, method="inverted_cdf"))
        edges = edges[edges > present.min()]
        if not edges.size:
            # One value fills nine tenths: a single bin could never show a change.
            largest = np.finfo(np.float64).max
            edges = np.unique([present.min(), np.nextafter(present.min(), largest)])
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    return Bins(
        kind="number",
        edges=tuple(edges.tolist()),
        values=(),
        counts=tuple(counts.tolist()),
        missing=int(values.size - present.size),
    )


def category_bins(codes: NDArray[np.float64], vocabulary: Sequence[str]) -> Bins:
    """Count categories, those that are rare together.

    Args:
        codes: `(n,)`, positions in *vocabulary*; NaN is missing, other codes count as others.
        vocabulary: Names of the categories.
    """
    present = codes[~np.isnan(codes)].astype(np.int64)
    counts = np.bincount(present, minlength=len(vocabulary))
    named = [
        code
        for code in np.argsort(-counts[: len(vocabulary)], kind="stable")[:MAX_VALUES].tolist()
        if counts[code] >= MIN_SHARE * max(1, present.size)
    ]
    kept = [int(counts[code]) for code in named]
    return Bins(
        kind="category",
        edges=(),
        values=tuple(vocabulary[code] for code in named),
        counts=(*kept, int(present.size) - sum(kept)),
        missing=int(codes.size - present.size),
    )


def reference_profile(
    columns: Sequence[Column], matrix: NDArray[np.float64], scores: NDArray[np.float64]
) -> dict[str, Any]:
    """Describe the data a model was measured on, as the bundle's reference.json.

    Args:
        columns: Columns of the row.
        matrix: Encoded rows, `(n_records, n_columns)`.
        scores: `(n_records,)`.
    """
    profiles = {}
    for i, column in enumerate(columns):
        if column.kind == "category":
            profiles[column.name] = category_bins(matrix[:, i], column.vocabulary).to_json()
        elif column.kind == "boolean":
            profiles[column.name] = category_bins(matrix[:, i], ("false", "true")).to_json()
        elif column.kind != "timestamp":
            profiles[column.name] = number_bins(matrix[:, i]).to_json()
    return {
        "n": int(matrix.shape[0]),
        "columns": profiles,
        "score": number_bins(scores).to_json(),
    }
