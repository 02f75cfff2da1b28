"""Check a table against its record, its past and the clock before anything is learnt from it.

Every check is made from the declaration: nobody writes one, so nobody forgets one. Each says what
was found and what is allowed, without a value of the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

from mlembed.columns import is_finite_number
from mlembed.errors import DataError, DeclarationError
from mlembed.training import changes, inspection
from mlembed.training.distinct import count_texts

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence

    from mlembed.columns import Column
    from mlembed.training.dataset import Dataset
    from mlembed.training.inspection import Finding
    from mlembed.training.labels import Binary, Multiclass, Regression
    from mlembed.training.snapshot import Snapshot

CHECKS = (
    "rejected",
    "duplicates",
    "seen",
    "range",
    "empty",
    "missing",
    "constant",
    "rare",
    "future",
    "label_delay",
    "new_values",
    "drift",
)
Status = Literal["ok", "warning", "failed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checks:
    """What a table may be like; shares lie between 0 and 1.

    Attributes:
        max_rejected: Share of the rows read that may be set aside.
        max_duplicates: Share of the rows read that may repeat a declared key.
        max_seen: Share of the rows of a table of its own to measure on that are, label and all,
            among those to train on.
        max_missing: Share of missing values in a nullable column that has any value, one for all
            or by column (others are free).
        max_rare: Share of a category's values that may have no code of their own.
        max_future: Share of a time column that may lie later than now.
        future_seconds: How much later than now still is now.
        max_label_delay: How much older than the newest row the newest labelled one may be, as a
            share of the time that the table spans.
        max_new: Share of a category's values that the last training did not know.
        max_psi: Population stability index of a column against the last training.
        fail: Checks that stop the training; the others warn.
    """

    max_rejected: float = 0.05
    max_duplicates: float = 0.05
    max_seen: float = 0.05
    max_missing: float | Mapping[str, float] = 0.95
    max_rare: float = 0.2
    max_future: float = 0.0
    future_seconds: float = 86_400.0
    max_label_delay: float = 0.1
    max_new: float = 0.05
    max_psi: float = 0.25
    fail: Sequence[str] = ("rejected", "range")

    def __post_init__(self) -> None:
        for name in ("rejected", "duplicates", "seen", "rare", "future", "label_delay", "new"):
            _require_share(f"max_{name}", getattr(self, f"max_{name}"))
        shares = self.max_missing
        for share in shares.values() if isinstance(shares, Mapping) else (shares,):
            _require_share("max_missing", share)
        for name in ("future_seconds", "max_psi"):
            value = getattr(self, name)
            if not is_finite_number(value) or value < 0:
                raise DeclarationError(f"Checks({name}=...): expected a number, 0 or more")
        several = isinstance(self.fail, Collection) and not isinstance(self.fail, str)
        if not several or not all(one in CHECKS for one in self.fail):
            raise DeclarationError(f"Checks(fail=...): expected some of {', '.join(CHECKS)}")

    def missing_bound(self, column: str) -> float:
        """Return the share of *column* that may be missing."""
        if isinstance(self.max_missing, Mapping):
            return self.max_missing.get(column, 1.0)
        return self.max_missing


@dataclasses.dataclass(frozen=True)
class Check:
    """One check of a table.

    Attributes:
        check: Its name, one of `CHECKS`.
        column: The column, empty for the table or for all columns at once.
        found: What was found, in words.
        allowed: What is allowed, in words.
        status: `ok`, `warning` or `failed`.
    """

    check: str
    column: str
    found: str
    allowed: str
    status: Status

    @property
    def words(self) -> str:
        """What was found, where, and what is allowed."""
        where = f" ({self.column!r})" if self.column else ""
        return f"{self.check}{where}: {self.found}, allowed {self.allowed}"

    def to_json(self) -> dict[str, Any]:
        """Describe the check in plain JSON types."""
        return dataclasses.asdict(self)


def run_checks(  # noqa: PLR0913  a table, its past and the clock
    columns: Sequence[Column],
    dataset: Dataset,
    label: Binary | Multiclass | Regression,
    *,
    checks: Checks,
    previous: Snapshot | None = None,
    now: dt.datetime | float,
    time: str | None = None,
    newest: float | None = None,
    trained: Dataset | None = None,
    measured: Dataset | None = None,
) -> tuple[Check, ...]:
    """Check a table.

    Args:
        columns: The record's columns, as declared.
        dataset: The whole table, before it is split.
        label: What is predicted.
        checks: What is allowed.
        previous: The table of the last training, if there was one.
        now: The present moment: a zoned datetime, or seconds since 1970.
        time: Column of the time of each row; by default the record's only timestamp.
        newest: Time of the newest row there is, labelled or not, in seconds since 1970.
        trained: The rows to train on, which are compared with those of the last training; by
            default the whole table.
        measured: A table of its own to measure on, of which too few rows may be good as well, and
            too many among those to train on.

    Returns:
        A check for each column that is not as it should be, and one for all that are.
    """
    moment = now if isinstance(now, (int, float)) else now.timestamp()
    counts = _counts(columns, dataset)
    findings: list[Finding] = [
        *inspection.rejected(dataset, checks),
        *inspection.duplicates(dataset, checks),
        *inspection.ranges(columns, dataset, counts),
        *inspection.missing(columns, dataset, checks, counts),
        *inspection.rare(columns, checks, counts),
        *changes.future(columns, dataset, checks, now=moment, time=time),
        *changes.label_delay(columns, dataset, label, checks, time=time, newest=newest),
    ]
    if measured is not None:
        findings += [
            dataclasses.replace(one, found=f"of the table to measure on {one.found}")
            for one in inspection.rejected(measured, checks)
            if one.bad
        ]
        findings += inspection.seen(dataset if trained is None else trained, measured, checks)
    if previous is not None:
        findings += changes.new_values(columns, checks, counts, previous)
        rows = dataset if trained is None else trained
        findings += changes.drift(columns, rows, checks, _counts(columns, rows), previous)
    return tuple(_judged(findings, frozenset(checks.fail)))


def _counts(columns: Sequence[Column], dataset: Dataset) -> dict[str, Any]:
    held = dataset.held()
    return {
        column.name: count_texts(held[column.name])
        for column in columns
        if column.kind == "category"
    }


def require(checks: Iterable[Check]) -> None:
    """Stop where a check failed.

    Raises:
        DataError: If one did; lists all that did.
    """
    failed = [check.words for check in checks if check.status == "failed"]
    if failed:
        raise DataError(
            f"the table cannot be trained on: {'; '.join(failed)}. Correct the table, or declare "
            "what is allowed in Checks(...)"
        )


def _judged(findings: Sequence[Finding], fail: frozenset[str]) -> list[Check]:
    """Return a check for each bad finding, and one for the good ones of the same name."""
    judged = []
    for name in CHECKS:
        mine = [finding for finding in findings if finding.check == name]
        status: Status = "failed" if name in fail else "warning"
        judged += [
            Check(name, one.column, one.found, one.allowed, status) for one in mine if one.bad
        ]
        good = [one for one in mine if not one.bad]
        if good:
            worst = max(good, key=lambda one: one.measure)
            many = f"{len(good)} columns, at worst {worst.found}"
            found = many if len(good) > 1 else worst.found
            judged.append(
                Check(name, worst.column if len(good) == 1 else "", found, worst.allowed, "ok")
            )
    return judged


def _require_share(name: str, share: Any) -> None:
    if not is_finite_number(share) or not 0 <= share <= 1:
        raise DeclarationError(f"Checks({name}=...): expected a share between 0 and 1")
