"""Train again and compare: is a bundle what its declaration and its table say?

The graph must be the same to the byte. Where it is not, the facts that differ (the table, the
code, the versions) say where to look.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from mlembed.bundle.manifest import GOLDEN, MODEL
from mlembed.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.bundle.bundle import Bundle

_FACTS = {
    "data_digest": "the table",
    "code": "the code",
    "seed": "the seed",
    "estimator": "the estimator",
    "parameters": "its settings",
    "python": "Python",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """What came of training again.

    Attributes:
        title: The bundle that was verified, as `name@version`.
        same_model: Whether the graph is the same to the byte.
        same_golden: Whether the golden rows and their scores are.
        metrics: Held-out metrics that differ: what the bundle says, and what was found.
        differences: Facts of the training that differ, in words.
    """

    title: str
    same_model: bool
    same_golden: bool
    metrics: dict[str, tuple[float | None, float | None]]
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the bundle was made again."""
        return self.same_model and self.same_golden and not self.metrics

    def to_json(self) -> dict[str, Any]:
        """Describe it in plain JSON types."""
        return dataclasses.asdict(self) | {"passed": self.passed}


def verify(published: Bundle, again: Bundle) -> Verification:
    """Compare a bundle with one that was trained *again*.

    Raises:
        DataError: If the bundle was not made by the trainer.
    """
    theirs, ours = published.manifest, again.manifest
    if "data_digest" not in theirs.training:
        raise DataError(
            f"{theirs.title} does not say what it was trained on: only what `mlembed train` made "
            "can be trained again"
        )
    names = dict.fromkeys([*theirs.metrics, *ours.metrics])
    return Verification(
        title=theirs.title,
        same_model=published.files[MODEL] == again.files[MODEL],
        same_golden=published.files[GOLDEN] == again.files[GOLDEN],
        metrics={
            name: (theirs.metrics.get(name), ours.metrics.get(name))
            for name in names
            if theirs.metrics.get(name) != ours.metrics.get(name)
        },
        differences=tuple(_differences(theirs.training, ours.training)),
    )


def _differences(then: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for name, words in _FACTS.items():
        if then.get(name) != now.get(name):
            yield f"{words}: {then.get(name, 'not known')} then, {now.get(name, 'not known')} now"
    before, after = then.get("libraries", {}), now.get("libraries", {})
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield f"{name}: {before.get(name, 'none')} then, {after.get(name, 'none')} now"
