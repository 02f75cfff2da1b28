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


def test_page_shows_several_classes_one_by_one() -> None:
    """Which class is taken for which, how well each is found, and how sure the answers are."""
    evaluation = {key: scenes.binary()[key] for key in ("n", "metric", "contest")} | {
        "metric": "error",
        "metrics": {"error": 0.2, "balanced_error": 0.25, "macro_f1": 0.7},
        "classes": [
            {"class": "bus", "n": 60, "precision": 0.8, "recall": 0.9, "f1": 0.847},
            {"class": "<tram>", "n": 40, "precision": 0.75, "recall": 0.6, "f1": 0.667},
        ],
        "confusion_matrix": {"classes": ["bus", "<tram>"], "counts": [[54, 6], [16, 24]]},
        "confidence": [
            {"n": 100, "mean_score": 0.8, "positive_share": 0.78, "low": 0.69, "high": 0.85}
        ],
        "calibration_error": 0.02,
    }

    page = _text(evaluation)

    assert "truth bus &lt;tram&gt; bus 54 6 &lt;tram&gt; 16 24" in page
    assert "&lt;tram&gt; 40 0.75 0.6 0.667" in page
    assert "mean probability of the answer" in page
    assert "error, each class alike 0.25 - lower" in page


def _text(evaluation: dict[str, Any]) -> str:
    page = write_report(scenes.manifest(), evaluation, scenes.PROOF)
    return " ".join(re.sub(r"<[^>]+>", " ", page.replace("<wbr>", "")).split())
