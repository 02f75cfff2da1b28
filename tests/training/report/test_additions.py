"""What a run adds to its evaluation is on the page: the column to beat, the price of a row, joins."""

from __future__ import annotations

import re
from typing import Any

from mlembed.training.report.page import write_report
from training.report import scenes

ADDED: dict[str, Any] = {
    "baseline": {"column": "week_ago_users", "n": 1464, "value": 0.3972},
    "serving": {"latency_seconds": 8.1e-6, "size_bytes": 182_400},
}
JOIN = {
    "title": "customers.csv",
    "n_rows": 10_000,
    "n_matched": 9_812,
    "n_without_key": 3,
    "n_right": 4_001,
    "n_right_unusable": 1,
}


def test_page_shows_what_a_model_must_beat_and_what_a_row_costs() -> None:
    """The declared baseline stands among the key numbers, and so do time and size of the graph."""
    page = _text(scenes.binary() | ADDED)

    assert "To beat, test rows 0.3972 week_ago_users" in page
    assert "One row takes 8.1 µs" in page
    assert "182.4 kB" in page


def test_page_shows_what_joined() -> None:
    """Each joined table stands with its rows and how many rows found one of them."""
    evaluation = scenes.binary()
    evaluation["data"] = {**evaluation["data"], "joins": [JOIN]}

    assert "customers.csv 4,001 1 9,812 3" in _text(evaluation)


def _text(evaluation: dict[str, Any]) -> str:
    page = write_report(scenes.manifest(), evaluation, scenes.PROOF)
    return " ".join(re.sub(r"<[^>]+>", " ", page.replace("<wbr>", "")).split())
