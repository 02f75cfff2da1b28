"""Count truth against label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]


def confusion(y: Values, positive: NDArray[np.bool_]) -> dict[str, int]:
    """Count truth against label, both `(n,)`."""
    truth = y == 1
    return {
        "true_positive": int(np.sum(truth & positive)),
        "false_positive": int(np.sum(~truth & positive)),
        "false_negative": int(np.sum(truth & ~positive)),
        "true_negative": int(np.sum(~truth & ~positive)),
    }
