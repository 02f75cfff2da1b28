"""The metrics a host's meter gets: how many, how fast, what was lost, and what was seen.

Counts against the reference's bins are observed, not added, so that a forked child cannot count
its parent's a second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlembed.telemetry.tally import SCORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.metrics import CallbackOptions, Observation

    from mlembed.telemetry.events import Entry, Outcome
    from mlembed.telemetry.otlpjson import AttributeValue
    from mlembed.telemetry.source import Source
    from mlembed.telemetry.tally import Bins, Tally

_DURATION_BUCKETS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
_MAX_VERSIONS = 8  # whose counts are still told, the one in service among them
_MAX_FEATURES = 100  # an instrument takes 2,000 sets of attributes


class Meters:
    """The instruments; the host's meter adds them up.

    Args:
        meter: The host's.
    """

    def __init__(self, meter: Any) -> None:
        self._predictions = meter.create_counter("mlembed.predictions", "{prediction}")
        self._outcomes = meter.create_counter("mlembed.outcomes", "{outcome}")
        self._dropped = meter.create_counter("mlembed.telemetry.dropped", "{record}")
        self._duration = meter.create_histogram(
            "mlembed.predict.duration",
            "s",
            explicit_bucket_boundaries_advisory=list(_DURATION_BUCKETS),
        )
        self._told: dict[str, int] = {}
        self._sources: dict[str, Source] = {}
        observed = (
            ("feature.observations", "{observation}", self._feature_observations),
            ("score.observations", "{observation}", self._score_observations),
        )
        for name, unit, callback in observed:
            meter.create_observable_counter(f"mlembed.{name}", [callback], unit)
        meter.create_observable_gauge("mlembed.feature.reference", [self._feature_reference], "1")
        meter.create_observable_gauge("mlembed.score.reference", [self._score_reference], "1")

    def count(
        self, entries: Sequence[Entry], outcomes: Sequence[Outcome], dropped: Mapping[str, int]
    ) -> None:
        """Count what was predicted, reported and lost."""
        for entry in entries:
            if entry.source.tally is not None and entry.source.digest not in self._sources:
                self._sources[entry.source.digest] = entry.source
                if len(self._sources) > _MAX_VERSIONS:
                    del self._sources[next(iter(self._sources))]
            attributes = _model(entry.source)
            if entry.error:
                attributes["error.type"] = entry.error.partition(":")[0]
            self._predictions.add(
                entry.n_records, {**attributes, "mlembed.prediction.reason": entry.reason}
            )
            self._duration.record(entry.latency_ns / 1e9, attributes)
        for outcome in outcomes:
            self._outcomes.add(1, {"mlembed.model.name": outcome.model})
        for reason, total in list(dropped.items()):
            self._dropped.add(total - self._told.get(reason, 0), {"reason": reason})
            self._told[reason] = total

    def forget_parent(self) -> None:
        """Begin to count anew in a forked child: its parent's counts are not its own."""
        self._told.clear()
        self._sources.clear()

    def _feature_observations(self, _: CallbackOptions) -> Iterator[Observation]:
        return self._observations(of_score=False)

    def _score_observations(self, _: CallbackOptions) -> Iterator[Observation]:
        return self._observations(of_score=True)

    def _feature_reference(self, _: CallbackOptions) -> Iterator[Observation]:
        return self._references(of_score=False)

    def _score_reference(self, _: CallbackOptions) -> Iterator[Observation]:
        return self._references(of_score=True)

    def _observations(self, *, of_score: bool) -> Iterator[Observation]:
        from opentelemetry.metrics import Observation

        for source, tally in self._tallies():
            counts = tally.counts()
            for name, bins in _some(tally, of_score=of_score):
                for label, count in zip(bins.labels, counts[name].tolist(), strict=True):
                    yield Observation(count, _place(source, name, label))

    def _references(self, *, of_score: bool) -> Iterator[Observation]:
        from opentelemetry.metrics import Observation

        for source, tally in self._tallies():
            for name, bins in _some(tally, of_score=of_score):
                for label, share in zip(bins.labels, bins.reference.tolist(), strict=False):
                    yield Observation(share, _place(source, name, label))

    def _tallies(self) -> Iterator[tuple[Source, Tally]]:
        for source in list(self._sources.values()):
            if source.tally is not None:
                yield source, source.tally


def _some(tally: Tally, *, of_score: bool) -> list[tuple[str, Bins]]:
    """Return the bins of the score, or of as many features as an exporter can take."""
    if of_score:
        return [(name, bins) for name, bins in tally.bins() if name == SCORE]
    return [(name, bins) for name, bins in tally.bins() if name != SCORE][:_MAX_FEATURES]


def _model(source: Source) -> dict[str, AttributeValue]:
    return {"mlembed.model.name": source.name, "mlembed.model.version": source.version}


def _place(source: Source, name: str, label: str) -> dict[str, AttributeValue]:
    feature: dict[str, AttributeValue] = {"mlembed.feature": name} if name != SCORE else {}
    return _model(source) | feature | {"mlembed.bin": label}
