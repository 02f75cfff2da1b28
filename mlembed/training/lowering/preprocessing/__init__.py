"""Lower the transformers of scikit-learn, one module a family.

Each repeats scikit-learn's own arithmetic in its own order, in doubles: what stands behind a
transformer may amplify a last digit, and a tree turns it into another leaf.
"""

from __future__ import annotations

from mlembed.training.lowering.preprocessing import (
    bins,
    decomposition,
    encoders,
    functions,
    imputers,
    polynomial,
    power,
    quantile,
    scalers,
    selection,
    splines,
)

__all__ = [
    "bins",
    "decomposition",
    "encoders",
    "functions",
    "imputers",
    "polynomial",
    "power",
    "quantile",
    "scalers",
    "selection",
    "splines",
]
