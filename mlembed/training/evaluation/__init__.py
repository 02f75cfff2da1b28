"""How good a model is on rows it was not trained on, in numbers.

Every number comes from arrays and a seed alone, in plain JSON types, so that it can be made again.
"""

from __future__ import annotations

from mlembed.training.evaluation.summary import describe

__all__ = ["describe"]
