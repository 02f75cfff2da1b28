"""How the model was called: how often, with what success, how fast and when.

Calls that no version could answer belong to every version's report: a model that cannot be loaded
must not look quiet.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlembed.bundle.bundle import Bundle
    from mlembed.monitoring.log import PredictionLog

FAILED = ("fallback", "error")

QUANTILES = {"5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95, "99%": 0.99}

_MAX_BUCKETS = 48
_WIDTHS = (1, 5, 15, 60, 300, 900, 3_600, 10_800, 21_600, 86_400, 604_800)


@dataclasses.dataclass(frozen=True, slots=True)
class Bucket:
    """The calls that began within one stretch of time.

    Attributes:
        start: Its beginning, ISO 8601 in UTC.
        answered: Rows a version answered.
        failed: Rows the fallback or an error answered.
    """

    start: str
    answered: int
    failed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traffic:
    """The calls of one version.

    Attributes:
        calls: Rows asked for, failed ones included.
        reasons: Rows by reason: ok, abstain, fallback, error.
        errors: Failed rows by the class of their error.
        versions: Rows of the whole log by version.
        latency_median: Seconds of a single prediction; None where there was none.
        latency_p99: The same, 99th percentile.
        latency_quantiles: The same by the names of `QUANTILES`; empty where there was none.
        first: Time of the first call, ISO 8601 in UTC; empty for none.
        last: Time of the last call.
        bucket_seconds: Length of a bucket.
        buckets: Calls over time, without gaps.
    """

    calls: int
    reasons: dict[str, int]
    errors: dict[str, int]
    versions: dict[str, int]
    latency_median: float | None
    latency_p99: float | None
    first: str
    last: str
    bucket_seconds: int
    buckets: tuple[Bucket, ...]
    latency_quantiles: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Rows the fallback or an error answered."""
        return sum(self.reasons.get(reason, 0) for reason in FAILED)

    @property
    def failed_share(self) -> float:
        """Share of failed rows; 0 where there were no calls."""
        return self.failed / self.calls if self.calls else 0.0

    def to_json(self) -> dict[str, Any]:
        """Describe it in plain JSON types."""
        return dataclasses.asdict(self)


def calls_of(log: PredictionLog, bundle: Bundle) -> NDArray[np.bool_]:
    """Return the mask of the rows *bundle* answered, or that nothing could answer."""
    nobody: NDArray[np.bool_] = (log.digest == "") & np.isin(log.reason.astype(str), FAILED)
    own: NDArray[np.bool_] = log.digest == bundle.id
    return own | nobody


def traffic(log: PredictionLog, bundle: Bundle) -> Traffic:
    """Describe the calls of *bundle* in *log*."""
    own = log.select(calls_of(log, bundle))
    failed = np.isin(own.reason.astype(str), FAILED)
    fast = own.latency[(own.batch == 1) & ~failed & np.isfinite(own.latency)]
    width, buckets = _buckets(own.time_ns, failed)
    return Traffic(
        calls=len(own),
        reasons=_counted(_reasons(own, bundle)),
        errors=_counted(own.error_type[failed].tolist()),
        versions=_counted(log.version.tolist()),
        latency_median=float(np.median(fast)) if fast.size else None,
        latency_p99=float(np.percentile(fast, 99)) if fast.size else None,
        first=_iso(int(own.time_ns.min()) // 10**9) if len(own) else "",
        last=_iso(int(own.time_ns.max()) // 10**9) if len(own) else "",
        bucket_seconds=width,
        buckets=buckets,
        latency_quantiles=_quantiles(fast),
    )


def _quantiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    if not seconds.size:
        return {}
    found = np.quantile(seconds, list(QUANTILES.values())).tolist()
    return dict(zip(QUANTILES, found, strict=True))


def _reasons(log: PredictionLog, bundle: Bundle) -> list[str]:
    """Return the reason of each row; the event of a batch has one for all, so scores decide."""
    band = bundle.manifest.task.abstain
    reasons = log.reason.copy()
    if band is not None:
        reasons[(reasons == "ok") & (log.score >= band[0]) & (log.score <= band[1])] = "abstain"
    return [str(reason) for reason in reasons]


def _buckets(
    time_ns: NDArray[np.int64], failed: NDArray[np.bool_]
) -> tuple[int, tuple[Bucket, ...]]:
    if not len(time_ns):
        return _WIDTHS[0], ()
    seconds = time_ns // 10**9
    span = int(seconds.max() - seconds.min())
    width = next((w for w in _WIDTHS if span // w + 2 <= _MAX_BUCKETS), 0)
    if not width:
        width = _WIDTHS[-1] * (span // (_WIDTHS[-1] * (_MAX_BUCKETS - 2)) + 1)
    places = seconds // width
    start = int(places.min())
    n = int(places.max()) - start + 1
    good = np.bincount(places[~failed] - start, minlength=n).tolist()
    bad = np.bincount(places[failed] - start, minlength=n).tolist()
    return width, tuple(Bucket(_iso((start + i) * width), good[i], bad[i]) for i in range(n))


def _counted(values: list[str]) -> dict[str, int]:
    return dict(sorted(collections.Counter(values).items()))


def _iso(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()
