"""What is known of the table that an earlier bundle was trained on.

It comes out of a file that others may have written: nothing of it is used before it is checked.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

from mlembed.columns import KINDS, is_finite_number
from mlembed.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlembed.columns import Column, Kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnSnapshot:
    """One column of that table.

    Attributes:
        kind: Its kind.
        missing_share: Share of the rows without a value.
        n_distinct: Distinct values.
        top: Rows of the most frequent values; None where values were not kept.
        edges: Inner edges of bins of a number, `(n_bins - 1,)`, increasing; None where not kept.
        counts: Rows of each bin, `(n_bins,)`.
    """

    kind: Kind
    missing_share: float
    n_distinct: int
    top: Mapping[str, int] | None = None
    edges: tuple[float, ...] | None = None
    counts: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The table of an earlier training.

    Attributes:
        n: Rows it was trained on.
        digest: Digest of these rows.
        columns: The record's columns, by name.
        vocabularies: Values that have a code in the bundle, by category.
    """

    n: int
    digest: str
    columns: Mapping[str, ColumnSnapshot]
    vocabularies: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Any, *, columns: Sequence[Column] = ()) -> Snapshot:
        """Read the section `data` of an evaluation, as `summarise` made it.

        Args:
            data: The section; keys that are not needed are left alone.
            columns: The columns of the same bundle, for their vocabularies.

        Raises:
            BundleError: If the section is malformed; lists what is, without a value.
        """
        problems = list(_problems(data))
        if problems:
            raise BundleError(
                f"the data summary of the bundle is malformed: {'; '.join(problems[:5])}. Compare "
                "with another bundle, or train without a comparison"
            )
        return cls(
            n=data["n"],
            digest=data["digest"],
            columns={item["column"]: _column(item) for item in data["columns"]},
            vocabularies={
                column.name: frozenset(column.vocabulary)
                for column in columns
                if column.kind == "category"
            },
        )


def _column(item: Mapping[str, Any]) -> ColumnSnapshot:
    bins = item.get("bins")
    return ColumnSnapshot(
        kind=item["kind"],
        missing_share=float(item["missing_share"]),
        n_distinct=item["n_distinct"],
        top=dict(item["top"]) if "top" in item else None,
        edges=None if bins is None else tuple(map(float, bins["edges"])),
        counts=() if bins is None else tuple(bins["counts"]),
    )


def _problems(data: Any) -> Iterator[str]:
    if not isinstance(data, dict):
        yield "expected an object"
        return
    if not _is_count(data.get("n")) or data["n"] == 0:
        yield "n: expected a number of rows"
    if not isinstance(data.get("digest"), str):
        yield "digest: expected text"
    items = data.get("columns")
    if not isinstance(items, list):
        yield "columns: expected a list"
        return
    for i, item in enumerate(items):
        if not isinstance(item, dict):
            yield f"columns[{i}]: expected an object"
            continue
        for key, (wanted, good) in _wanted(item).items():
            if not good:
                yield f"columns[{i}].{key}: expected {wanted}"
    names = [str(item.get("column")) for item in items if isinstance(item, dict)]
    if len(set(names)) < len(names):
        yield "columns: a name comes twice"


def _wanted(item: Mapping[str, Any]) -> dict[str, tuple[str, bool]]:
    """Return what must hold of a column, and whether it does."""
    name, kind, share = (item.get(key) for key in ("column", "kind", "missing_share"))
    named = kind in ("category", "boolean")
    return {
        "column": ("a name", isinstance(name, str) and name.isidentifier()),
        "kind": (f"one of {', '.join(KINDS)}", isinstance(kind, str) and kind in KINDS),
        "missing_share": ("a share", _is_share(share)),
        "n_distinct": ("a number of values", _is_count(item.get("n_distinct"))),
        "top": (
            "pairs of a distinct text and a count, for a category or a boolean",
            "top" not in item or (named and _is_top(item["top"])),
        ),
        "bins": (
            "increasing edges and one count more than edges, for a number or a time",
            "bins" not in item or (not named and _is_binned(item["bins"])),
        ),
    }


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_share(value: Any) -> bool:
    return is_finite_number(value) and 0 <= value <= 1


def _is_top(top: Any) -> bool:
    return (
        isinstance(top, list)
        and all(isinstance(pair, list) and len(pair) == 2 for pair in top)  # noqa: PLR2004  a pair
        and all(isinstance(name, str) and _is_count(count) for name, count in top)
        and len({name for name, _ in top}) == len(top)
    )


def _is_binned(bins: Any) -> bool:
    if not isinstance(bins, dict):
        return False
    edges, counts = bins.get("edges"), bins.get("counts")
    return (
        isinstance(edges, list)
        and isinstance(counts, list)
        and len(counts) == len(edges) + 1
        and all(map(is_finite_number, edges))
        and all(low < high for low, high in itertools.pairwise(edges))
        and all(map(_is_count, counts))
    )
