"""Put a declared model to work once, as a server would at its first prediction.

It goes the whole way: resolve, fetch, verify every byte, hold the record's mapping against the
columns, load the graph, replay the golden rows.
Nothing is logged and no thread is left behind, so a trial can run beside the live site.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import TYPE_CHECKING, Any, Literal

from django.core.exceptions import ImproperlyConfigured

from mlembed.errors import MlembedError, SettingsError
from mlembed_django.conf import mapping_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlembed.bundle.manifest import Manifest
    from mlembed.registry import BundleSource
    from mlembed.serving.loading import Served
    from mlembed.settings import Settings
    from mlembed_django.declaration import Declared
    from mlembed_django.instances import InstanceMapping

_TIMED = 200

State = Literal["serves", "fallback", "fails"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of it.

    Attributes:
        name: What the site calls the model.
        ref: What was asked of the registry.
        state: `serves`; `fallback` where it cannot, but the site named a score to answer with;
            `fails` where its predictions will raise.
        version: Version the reference points at; empty where it cannot be resolved.
        bundle: Id of its bundle; empty likewise.
        golden_rows: Golden rows replayed.
        load_seconds: Time from resolving to the last golden row.
        predict_microseconds: Median time of one encoded and scored record; of a run of the graph on
            a golden call where it takes tensors.
        error: Why it cannot serve; empty where it does.
    """

    name: str
    ref: str
    state: State
    version: str = ""
    bundle: str = ""
    golden_rows: int = 0
    load_seconds: float | None = None
    predict_microseconds: float | None = None
    error: str = ""


def try_model(declared: Declared, registry: BundleSource, settings: Settings) -> Trial:
    """Put *declared* to work; a failure is part of the answer, never raised."""
    trial = Trial(name=declared.name, ref=str(declared.ref), state="serves")
    start = time.perf_counter()
    try:
        target = registry.resolve(declared.ref)
        trial = dataclasses.replace(trial, version=target.version, bundle=target.bundle_id)
        bundle = registry.fetch(target)
        require_record(declared, bundle.manifest)
        served = _bring(bundle, declared, settings)
        loaded = time.perf_counter() - start
        if bundle.manifest.inputs:
            from mlembed.bundle.calls import read_calls

            return dataclasses.replace(
                trial,
                golden_rows=len(read_calls(bundle).calls),
                load_seconds=loaded,
                predict_microseconds=served.run_seconds * 1e6,
            )
        from mlembed.bundle.golden import read_golden

        records = read_golden(bundle).records
        return dataclasses.replace(
            trial,
            golden_rows=len(records),
            load_seconds=loaded,
            predict_microseconds=_median_microseconds(served, records),
        )
    except MlembedError as error:
        state: State = "fails" if declared.fallback is None else "fallback"
        return dataclasses.replace(trial, state=state, error=str(error))


def _misfit(mapping: InstanceMapping[Any], manifest: Manifest) -> str:
    """Tell how the records of *mapping* differ from what a bundle takes; empty where they do not."""
    wanted, given = {column.name for column in manifest.columns}, set(mapping.sources)
    parts = [
        f"{what} {', '.join(sorted(names))}"
        for what, names in (("lacks", wanted - given), ("also gives", given - wanted))
        if names
    ]
    return " and ".join(parts)


def require_record(declared: Declared, manifest: Manifest) -> None:
    """See that the declared mapping, if there is one, gives exactly what a bundle takes.

    Raises:
        SettingsError: If it does not, or is none.
    """
    try:
        mapping = mapping_of(declared)
    except ImproperlyConfigured as error:
        raise SettingsError(str(error)) from error
    how = _misfit(mapping, manifest) if mapping is not None and manifest.columns else ""
    if how:
        raise SettingsError(
            f"{declared.record} {how}, and {manifest.title} takes exactly its columns; change the "
            "mapping, or declare the version that it was made for"
        )


def _bring(bundle: Any, declared: Declared, settings: Settings) -> Served:
    from mlembed.serving.loading import Serving, serve

    return serve(bundle, Serving(declared.settings(settings)))


def _median_microseconds(served: Served, records: Sequence[Mapping[str, Any]]) -> float:
    times = []
    for number in range(_TIMED):
        record = records[number % len(records)]
        start = time.perf_counter_ns()
        served.score(record)
        times.append((time.perf_counter_ns() - start) / 1_000)
    return statistics.median(times)
