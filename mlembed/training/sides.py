"""Score the rows of a proof with the graph and with the estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlembed.errors import ProofError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from mlembed.serving.session import Session
    from mlembed.training.probes import Probe

    Matrix = NDArray[np.float64]
    Scores = NDArray[np.float64]

_ROWS_TOGETHER = 50_000


def both_sides(
    session: Session, predict: Callable[[Matrix], Scores], kinds: Sequence[Probe]
) -> Iterator[tuple[Probe, Scores, Scores]]:
    """Yield each kind of rows with the scores of the graph and of the estimator.

    Small kinds are scored together: an estimator of a hundred trees has a cost for each call.

    Args:
        session: The loaded graph.
        predict: The estimator's scores of rows.
        kinds: The rows.

    Raises:
        ProofError: If a side fails; names the kind of rows.
    """
    waiting: list[Probe] = []
    for probe in kinds:
        if waiting and sum(map(len, (*waiting, probe))) > _ROWS_TOGETHER:
            yield from _scored(session, predict, waiting)
            waiting = []
        waiting.append(probe)
    if waiting:
        yield from _scored(session, predict, waiting)


def _scored(
    session: Session, predict: Callable[[Matrix], Scores], kinds: Sequence[Probe]
) -> Iterator[tuple[Probe, Scores, Scores]]:
    try:
        blocks = (
            [np.vstack([block for probe in kinds for block in probe.blocks()])]
            if len(kinds) > 1
            else kinds[0].blocks()
        )
        with np.errstate(all="ignore"):
            pairs = [(session.run_matrix(x), predict(x)) for x in blocks]
    except Exception as error:
        if len(kinds) == 1:
            raise _stopped(kinds[0], error) from error
        for probe in kinds:
            yield from _scored(session, predict, [probe])
        return
    ours, theirs = (np.concatenate(side) for side in zip(*pairs, strict=True))
    start = 0
    for probe in kinds:
        rows = slice(start, start := start + len(probe))
        yield probe, ours[rows], theirs[rows]


def _stopped(probe: Probe, error: Exception) -> ProofError:
    failure = ProofError(
        f"proof stopped in group '{probe.name}' of {len(probe)} rows: {type(error).__name__}. "
        "Declare ranges that exclude what the estimator cannot take"
    )
    failure.group = probe.name
    return failure
