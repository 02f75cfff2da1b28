"""How sure a share is that was counted."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054


def wilson(k: float, n: float) -> tuple[float, float]:
    """Return the ends of the 95 % score interval of a share; 0 and 1 where nothing was counted.

    Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22(158), 1927.

    Args:
        k: Counted cases.
        n: All cases.
    """
    if n <= 0:
        return 0.0, 1.0
    share, z2 = k / n, Z_95**2
    centre = share + z2 / (2 * n)
    spread = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    whole = 1 + z2 / n
    # Rounding may not keep the share itself out.
    low = 0.0 if k <= 0 else max(0.0, (centre - spread) / whole)
    return low, 1.0 if k >= n else min(1.0, (centre + spread) / whole)
