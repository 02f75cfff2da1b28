"""The card tells people what a model is for, how good it is, where it is not, and how to load it."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mlembed.bundle.manifest import Task
from mlembed.registry import open_registry
from mlembed.training.card import write_card
from training.report import scenes
from visits import trainer, visits

if TYPE_CHECKING:
    from pathlib import Path


def card() -> str:
    """Return the card of a whole evaluation."""
    return write_card(scenes.manifest(), scenes.binary(), scenes.PROOF)


def headings(text: str) -> list[str]:
    """Return the headings below the first."""
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def test_card_answers_in_order() -> None:
    """Use and input come first, then evidence, limits and origin."""
    assert headings(card()) == [
        *("Load it", "Input", "Data", "Measured on rows it was not trained on"),
        *("Slices, worst first", "Threshold", "Limits", "Proof", "Origin", "Make it again"),
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "# visits@1.4.0\n\nOne visit to a shop.\n\nThe score is the probability that `ordered` is yes",
        "All 3 gates passed.",
        "15,320 rows read, 200 of them rejected.",
        "| 'minutes' is above 600 | 150 |",
        "| test (measured on) | 4,120 | 12.3% | 2025-12-28 | 2026-03-07 07:00 UTC |",
        "| missing | basket | warned | 0.1 | 0.05 |",
        "| ROC AUC | 0.8777 | 0.8657 to 0.889 | higher |",
        "| DummyClassifier | 0.5 | baseline |",
        "| HistGradientBoostingClassifier | 0.8611 | chosen |",
        "a gain of +0.0114 (95% interval 0.0021 to 0.0203).",
        "| source | search | 60 | 0.8077 | 0.7577 to 0.8477 | -0.07 |",
        "from 0.31: least expected cost (asked false_positive 1, false_negative 5, n 2000,",
        "| split thresholds | 3,533 | 2.2e-16 | 0 | 3 |",
        "--verify visits-1.4.0",
    ],
)
def test_card_holds_what_was_measured(sentence: str) -> None:
    """Data, metrics with intervals, rivals, slices, threshold and proof stand in the card."""
    assert sentence in card()


def test_card_of_an_unmeasured_model_says_so() -> None:
    """Without evaluation and proof there is no table of nothing, but a limit."""
    text = write_card(scenes.manifest(), {}, {})

    assert headings(text) == ["Load it", "Input", "Limits", "Origin"]
    assert "- It was not measured" in text


def test_card_of_a_failed_gate_says_so() -> None:
    """What kept a model from being published stands at the top."""
    text = write_card(scenes.regression_manifest(), scenes.regression(), scenes.PROOF)

    assert "1 of 2 gates failed. floor: mae &lt;= 20 asked, 21.4 found." in text.split("##")[0]
    assert "| floor | mae &lt;= 20 | 21.4 | **failed** |" in text


def test_card_of_classes_says_what_a_score_is() -> None:
    """With several classes the score is the probability of the label."""
    task = Task(kind="multiclass", label="species", classes=("a", "b", "c"))

    text = write_card(scenes.manifest(task=task), {}, {})

    assert "The label is the most probable `species`, the score its probability." in text


def test_card_keeps_data_from_being_markup() -> None:
    """Names and values are neither HTML nor links nor the end of a cell or a block of code."""
    made, evaluation = scenes.odd()
    evaluation["slices"][0].update(column="a | b", value="![x](http://x)\n# big")
    evaluation["reproduce"]["command"] = "a\n```\n<script>"

    text = write_card(made, evaluation, scenes.PROOF)

    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "<script" not in outside
    assert "<img" not in outside
    assert "](http" not in outside
    assert "\n# big" not in outside
    assert "| a \\| b |" in outside


def test_card_of_a_trainer_needs_no_description() -> None:
    """Where a trainer writes the card, its record says what the model is about."""
    text = trainer().train(visits(1200)).bundle.files["card.md"].decode()

    assert "One visit to a shop." in text
    assert "agree on" in text


def test_card_shows_code_that_runs(tmp_path: Path) -> None:
    """Whoever copies the first block of the card gets a prediction."""
    bundle = trainer().train(visits(1200)).bundle
    open_registry(tmp_path).publish(bundle)
    found = re.search(r"```python\n(.*?)```", bundle.files["card.md"].decode(), re.DOTALL)

    assert found is not None
    done = subprocess.run(
        [sys.executable, "-c", found[1]],
        env={"MLEMBED_REGISTRY": str(tmp_path), "MLEMBED_LOG": "false", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert re.fullmatch(r"0\.\d+ \S+ ok\n", done.stdout)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"positives": 12}, "Only 12 of the rows measured on are positive"),
        ({"intervals": {}}, "No intervals were made"),
        ({"champion": None}, "It was not compared with a model in service."),
        ({"folds": {}}, "No time of the rows is recorded"),
        ({"folds": {"kind": "RandomSplit"}}, "Rows were held out at random"),
        ({}, "30.1% of the rows measured on belong to a 'customer' that it was trained on too"),
        ({"slices": []}, "No groups of rows were measured apart"),
        ({}, "It is worst where 'source' is search: ROC AUC 0.8077 on 60 rows."),
        ({}, "Not measured, fewer than 50 rows: town = town 39."),
        ({}, "Scores are 0.0121 from the share that came true"),
        ({"calibration_error": None}, "The error of its probabilities was not measured"),
        ({}, "Column 'basket' predicts the label all alone (ROC AUC 0.991 alone) and was kept"),
        ({}, "Column 'member' has about as many values as there are rows: what was learnt"),
        ({}, "A value that training never saw is treated as missing in 'town'."),
        ({}, "1.3% of the rows read were rejected"),
        ({}, "Check 'future times' failed for 'since': found 3, allowed 0."),
        ({}, "It was made from code that was not committed"),
    ],
)
def test_card_admits_its_limits(changes: dict[str, Any], sentence: str) -> None:
    """What was not measured, or measured badly, is a limit in words."""
    text = write_card(scenes.manifest(), {**scenes.binary(), **changes}, scenes.PROOF)

    assert f"\n- {sentence}" in text


def test_card_of_a_quantity_tells_how_far_it_is_off() -> None:
    """An interval is told with what it held; none is a limit."""
    told = scenes.regression()
    without = {**told, "interval": None}

    assert "- Its intervals of 90.0% held 90.3%" in write_card(
        scenes.regression_manifest(), told, scenes.PROOF
    )
    assert "- It gives no interval" in write_card(
        scenes.regression_manifest(), without, scenes.PROOF
    )


def test_card_names_a_column_that_never_was_missing() -> None:
    """A nullable column without a missing value in training is a limit, as are many odd checks."""
    evaluation = scenes.binary()
    evaluation["data"]["columns"][1]["missing_share"] = 0.0
    evaluation["data"]["checks"] *= 4

    text = write_card(scenes.manifest(), evaluation, scenes.PROOF)

    assert "- May be missing, but never was in the data: 'basket'." in text
    assert "- 3 more checks of the data warned or failed." in text


def test_card_says_that_checks_passed() -> None:
    """Where nothing warned, one line tells that all was checked."""
    evaluation = scenes.binary()
    evaluation["data"]["checks"] = evaluation["data"]["checks"][1:2]

    assert "All checks of the data passed (1)." in write_card(
        scenes.manifest(), evaluation, scenes.PROOF
    )
