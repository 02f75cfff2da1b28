"""The report of a trained model: one page that shows how good it is and how that is known."""

from __future__ import annotations

from mlembed.training.report.page import write_report

__all__ = ["write_report"]
