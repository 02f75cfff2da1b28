"""Take several batches as one run, so that a rule can act on the best of all."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.serving.prediction import Prediction
    from mlembed_django.conf import Site

open_run: ContextVar[dict[str, list[Prediction]] | None] = ContextVar("open_run", default=None)


@contextlib.contextmanager
def whole_run(site: Site) -> Iterator[None]:
    """Take the batches within as one run, for rules with `top`; they act at its end.

    What an exception ends is no whole run, and nothing of it is among the best.

    Args:
        site: Whose rules.
    """
    best: dict[str, list[Prediction]] = {}
    token = open_run.set(best)
    try:
        yield
    finally:
        open_run.reset(token)
    if best and site.journal is not None:
        site.journal.finish_run(best)
