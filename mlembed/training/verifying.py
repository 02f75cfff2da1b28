"""Train again and compare: is a bundle what its declaration and its table say?

The graph must be the same to the byte, and so must all that the bundle promises: what a score
means, and every number of its evaluation that does not hang on the machine or the day. Where
something is not, the facts that differ (the table, the code, the versions) say where to look.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mlembed.bundle.manifest import GOLDEN, MODEL
from mlembed.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlembed.bundle.bundle import Bundle
    from mlembed.bundle.manifest import Manifest

_FACTS = {
    "source": "where the rows are from",
    "data_digest": "the table",
    "test_digest": "the table to measure on",
    "code": "the code",
    "seed": "the seed",
    "estimator": "the estimator",
    "parameters": "its settings",
    "python": "Python",
}
# What hangs on the machine, the day or the registry, and what is compared for itself.
_PASSING = {"serving", "champion", "gates", "reproduce", "metrics"}
_EVALUATION, _REFERENCE = "evaluation.json", "reference.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of training again.

    Attributes:
        title: The bundle that was verified, as `name@version`.
        same_model: Whether the graph is the same to the byte.
        same_golden: Whether the golden rows and their scores are.
        same_meaning: Whether columns, features and task (label, threshold, interval ...) are.
        metrics: Held-out metrics that differ: what the bundle says, and what was found.
        evidence: Parts of the evaluation, and the reference window, that differ, by name.
        differences: What else differs, in words: what the score means, and the facts of the training.
    """

    title: str
    same_model: bool
    same_golden: bool
    same_meaning: bool
    metrics: dict[str, tuple[float | None, float | None]]
    evidence: tuple[str, ...]
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the bundle was made again."""
        same = self.same_model and self.same_golden and self.same_meaning
        return same and not self.metrics and not self.evidence

    def to_json(self) -> dict[str, Any]:
        """Describe it in plain JSON types."""
        return dataclasses.asdict(self) | {"passed": self.passed}


def require_trained(bundle: Bundle) -> None:
    """Refuse a bundle that no training run can make again.

    Raises:
        DataError: If it was not made by the trainer.
    """
    manifest = bundle.manifest
    if not {"data_digest", "seed"} <= set(manifest.training) or GOLDEN not in bundle.files:
        raise DataError(
            f"{manifest.title} does not say what it was trained on: only what `mlembed train` made "
            "can be trained again"
        )


def verify(published: Bundle, again: Bundle) -> Verification:
    """Compare a bundle with one that was trained *again*.

    Raises:
        DataError: If the bundle was not made by the trainer.
    """
    require_trained(published)
    theirs, ours = published.manifest, again.manifest
    names = dict.fromkeys([*theirs.metrics, *ours.metrics])
    meaning = tuple(_meaning(theirs, ours))
    return Verification(
        title=theirs.title,
        same_model=published.files[MODEL] == again.files[MODEL],
        same_golden=published.files[GOLDEN] == again.files[GOLDEN],
        same_meaning=not meaning,
        metrics={
            name: (theirs.metrics.get(name), ours.metrics.get(name))
            for name in names
            if theirs.metrics.get(name) != ours.metrics.get(name)
        },
        evidence=tuple(_evidence(published, again)),
        differences=(*meaning, *_facts(theirs.training, ours.training)),
    )


def _meaning(then: Manifest, now: Manifest) -> Iterator[str]:
    """Say what differs in what a host gives and gets."""
    for field in dataclasses.fields(then.task):
        before, after = (getattr(item.task, field.name) for item in (then, now))
        if before != after:
            yield f"{field.name}: {_told(before)} then, {_told(after)} now"
    if then.features != now.features:
        yield f"the features: {', '.join(then.features)} then, {', '.join(now.features)} now"
    transforms = _unlike(then.transforms, now.transforms)
    columns = _unlike(
        {column.name: column for column in then.columns},
        {column.name: column for column in now.columns},
    )
    for words, names in (("transforms", transforms), ("columns", columns)):
        if names:
            yield f"the {words} differ: {', '.join(names)}"
    if not columns and then.columns != now.columns:
        yield "the columns stand in another order"


def _evidence(published: Bundle, again: Bundle) -> Iterator[str]:
    """Yield the parts of the evidence that the bundle holds and that were not found again."""
    then, now = (_lasting(bundle) for bundle in (published, again))
    for name in then:
        if name not in now or then[name] != now[name]:
            yield name
    if published.files.get(_REFERENCE) != again.files.get(_REFERENCE):
        yield "the reference window"


def _lasting(bundle: Bundle) -> dict[str, Any]:
    """Return the evaluation without what another machine or another day would change."""
    held = bundle.json(_EVALUATION) if _EVALUATION in bundle.files else {}
    kept = {name: value for name, value in held.items() if name not in _PASSING}
    if "data" in kept:  # its checks look at the calendar and at the champion
        kept["data"] = {name: value for name, value in kept["data"].items() if name != "checks"}
    return kept


def _facts(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name, words in _FACTS.items():
        if then.get(name) != now.get(name):
            yield f"{words}: {then.get(name, 'not known')} then, {now.get(name, 'not known')} now"
    before, after = then.get("libraries", {}), now.get("libraries", {})
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield f"{name}: {before.get(name, 'none')} then, {after.get(name, 'none')} now"


def _unlike(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in dict.fromkeys([*then, *now]) if then.get(name) != now.get(name)]


def _told(value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return "none" if value is None or value == () else str(value)
