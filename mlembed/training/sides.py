"""Score the rows of a proof with the graph and with the estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlembed.errors import ProofError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

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

    Returns:
        Each kind with scores of both sides; none of them where the estimator refuses rows that
        no host can send.

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


class _RefusedError(Exception):
    """The estimator takes no such rows."""


def _scored(
    session: Session, predict: Callable[[Matrix], Scores], kinds: Sequence[Probe]
) -> Iterator[tuple[Probe, Scores, Scores]]:
    try:
        ours, theirs = _score(session, predict, kinds)
    except Exception as error:  # noqa: BLE001  estimators raise anything; told in words below
        if len(kinds) > 1:
            for probe in kinds:
                yield from _scored(session, predict, [probe])
        elif kinds[0].is_foreign and isinstance(error, _RefusedError):
            yield kinds[0], np.empty(0), np.empty(0)
        else:
            cause = error.__cause__ if isinstance(error, _RefusedError) else error
            raise _stopped(kinds[0], cause) from cause
        return
    start = 0
    for probe in kinds:
        rows = slice(start, start := start + len(probe))
        yield probe, ours[rows], theirs[rows]


def _score(
    session: Session, predict: Callable[[Matrix], Scores], kinds: Sequence[Probe]
) -> tuple[Scores, Scores]:
    ours, theirs = [], []
    blocks: Iterable[Matrix] = (block for probe in kinds for block in probe.blocks())
    if len(kinds) > 1:
        blocks = [np.vstack([*blocks])]
    with np.errstate(all="ignore"):
        for x in blocks:
            ours.append(session.run_matrix(x))
            try:
                theirs.append(predict(x))
            except Exception as error:
                raise _RefusedError from error
    return np.concatenate(ours), np.concatenate(theirs)


def _stopped(probe: Probe, error: BaseException | None) -> ProofError:
    failure = ProofError(
        f"proof stopped in group '{probe.name}' of {len(probe)} rows: {type(error).__name__}. "
        "Declare ranges that exclude what the estimator cannot take"
    )
    failure.group = probe.name
    return failure
