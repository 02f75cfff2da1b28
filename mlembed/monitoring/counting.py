"""Count logged values in the bins of the bundle's reference.

Logged values are raw, as the host gave them; they are counted as the model took them, so that an
unknown category falls where the encoder put it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mlembed.errors import BundleError
from mlembed.monitoring.statistics import effective_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.columns import Column

    Floats = NDArray[np.float64]

_UNKNOWN = -1
_MISSING = -2
_LOW_AND_HIGH = 2
_SMALL, _LARGE = 1e-4, 1e12  # beyond these a number is written with an exponent


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """Counts of one column in the bundle's reference.

    Attributes:
        kind: number or category.
        edges: Inner edges of a number's bins.
        values: Categories counted by name; the last bin holds all others.
        counts: `(n_bins,)`.
        missing: Count of missing values.
    """

    kind: str
    edges: Floats
    values: tuple[str, ...]
    counts: Floats
    missing: float

    @property
    def n(self) -> float:
        """Rows of the reference, missing ones included."""
        return float(self.counts.sum()) + self.missing

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of each bin, for people."""
        if self.kind == "category":
            return (*self.values, "(others)")
        edges = self.edges.tolist()
        if not edges:
            return ("all values",)
        if len(edges) == _LOW_AND_HIGH and edges[1] == math.nextafter(edges[0], math.inf):
            value = _written(edges[:1])[0]
            return (f"less than {value}", f"exactly {value}", f"more than {value}")
        texts = _written(edges)
        inner = [f"{low} to {high}" for low, high in itertools.pairwise(texts)]
        return (f"less than {texts[0]}", *inner, f"{texts[-1]} or more")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """Counts of one column in a window, scaled to its effective size.

    Attributes:
        bins: `(n_bins,)`, the bins of the reference.
        missing: Count of values missing to the model.
        unseen: Share of given categories that are not in the vocabulary; 0 for numbers.
    """

    bins: Floats
    missing: float
    unseen: float

    @property
    def n(self) -> float:
        """Size of the window, missing values included."""
        return float(self.bins.sum()) + self.missing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference:
    """The bundle's reference.json.

    Attributes:
        n: Held-out rows it describes.
        columns: Profile of each column that is profiled.
        score: Profile of the score.
        metric: Name of the metric the model was published for, or empty.
        promised: Its value, or None.
    """

    n: int
    columns: dict[str, Profile]
    score: Profile
    metric: str
    promised: float | None


def read_reference(bundle: Bundle) -> Reference:
    """Read the reference of *bundle*.

    Raises:
        BundleError: If it has none or it is malformed.
    """
    data = bundle.json("reference.json")
    try:
        metric = data.get("metric") or {}
        return Reference(
            n=int(data["n"]),
            columns={name: _profile(item) for name, item in data["columns"].items()},
            score=_profile(data["score"]),
            metric=str(metric.get("name", "")),
            promised=None if metric.get("value") is None else float(metric["value"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BundleError(
            f"{bundle.manifest.title}: reference.json is malformed; train or pack it again"
        ) from error


def count(profile: Profile, column: Column | None, values: NDArray[Any], weights: Floats) -> Counts:
    """Count *values* in the bins of *profile*.

    Args:
        profile: The reference's counts.
        column: The bundle's column, or None for the score.
        values: Logged values, `(n,)`; None or NaN is missing.
        weights: Calls each row stands for, `(n,)`.
    """
    if profile.kind == "number":
        bins = _number_bins(profile, values)
        unseen = np.zeros(len(values), dtype=np.bool_)
    else:
        bins, unseen = _category_bins(profile, column, values)
    total = float(weights.sum())
    scale = effective_size(weights) / total if total > 0 else 1.0
    given = bins != _MISSING
    counts = np.bincount(bins[given], weights[given], minlength=len(profile.counts))
    present = float(weights[given | unseen].sum())
    return Counts(
        bins=(counts * scale).astype(np.float64),
        missing=float(weights[~given].sum()) * scale,
        unseen=float(weights[unseen].sum()) / present if present > 0 else 0.0,
    )


def _number_bins(profile: Profile, values: NDArray[Any]) -> NDArray[np.int64]:
    if values.dtype == object:
        values = np.array([_number(value) for value in values], dtype=np.float64)
    bins: NDArray[np.int64] = np.searchsorted(profile.edges, values, side="right")
    return np.where(np.isnan(values), _MISSING, bins)


def _category_bins(
    profile: Profile, column: Column | None, values: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    others = len(profile.values)
    vocabulary = ("false", "true") if column is None or not column.n_codes else column.vocabulary
    places = dict.fromkeys(vocabulary, others)
    places.update({value: place for place, value in enumerate(profile.values)})
    found = np.array([_place(places, value) for value in values.tolist()], dtype=np.int64)
    unseen = found == _UNKNOWN
    taken = _MISSING if column is None or column.unknown_code != column.unknown_code else others
    found[unseen] = taken
    return found, unseen


def _place(places: dict[str, int], value: Any) -> int:
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, str):
        return places.get(value, _UNKNOWN)
    return _MISSING


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _profile(data: dict[str, Any]) -> Profile:
    kind = str(data["kind"])
    edges = np.array(data["edges"] if kind == "number" else [], dtype=np.float64)
    values = tuple(str(value) for value in (() if kind == "number" else data["values"]))
    counts = np.array(data["counts"], dtype=np.float64)
    increasing = np.isfinite(edges).all() and (np.diff(edges) > 0).all()
    if not increasing or counts.shape != (len(edges) + len(values) + 1,):
        raise ValueError
    return Profile(
        kind=kind, edges=edges, values=values, counts=counts, missing=float(data["missing"])
    )


def _written(edges: list[float]) -> list[str]:
    """Write *edges*, which increase, with as few digits as keep them apart; 17 always do."""
    tries = ([_text(edge, digits) for edge in edges] for digits in (4, 6, 9, 17))
    return next(texts for texts in tries if len(set(texts)) == len(edges))


def _text(value: float, digits: int) -> str:
    if value and not _SMALL <= abs(value) < _LARGE:
        return f"{value:.{digits}g}"
    return np.format_float_positional(
        value, precision=digits, unique=False, fractional=False, trim="-"
    )
