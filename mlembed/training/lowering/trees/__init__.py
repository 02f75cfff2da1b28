"""Lower what is made of decision trees: one module a family, one tree operator for all of them."""

from __future__ import annotations

from mlembed.training.lowering.trees import filling, forest, gradient, histogram, isolation
from mlembed.training.lowering.trees.histogram import native_categories

__all__ = ["BUILT_IN", "native_categories"]

BUILT_IN = (filling, forest, gradient, histogram, isolation)
