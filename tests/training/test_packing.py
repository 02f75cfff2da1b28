"""A bundle holds what a host needs to trust it: golden rows, a reference, evidence, a card."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from mlembed.bundle.golden import read_golden
from mlembed.serving.encoder import Encoder
from mlembed.training.goldens import decode
from visits import trainer, visits

if TYPE_CHECKING:
    from mlembed.bundle.bundle import Bundle


@functools.cache
def _bundle() -> Bundle:
    return trainer().train(visits(1200)).bundle


def test_golden_rows_hold_missing_unseen_and_extreme_values() -> None:
    """The rows a host replays cover what breaks conversions."""
    golden = read_golden(_bundle())
    known = next(c for c in _bundle().manifest.columns if c.name == "source").vocabulary

    assert any(record["basket"] is None for record in golden.records)
    assert any(record["source"] not in known for record in golden.records)
    assert {0.0, 600.0} <= {record["minutes"] for record in golden.records}
    assert len(golden.records) >= 50


def test_decode_is_the_inverse_of_encoding() -> None:
    """A decoded row encodes to the same doubles, missing and rare codes among them."""
    columns = _bundle().manifest.columns
    encoder = Encoder("test", columns)
    rows = np.array([[1.5, np.nan, 0.0, 1.0], [600.0, 3.0, 2.0, 0.0]])

    for row in rows:
        data = bytearray(8 * len(columns))
        encoder.encode(decode(columns, row.tolist()), data)
        cells = np.frombuffer(data)
        assert np.array_equal(cells, row, equal_nan=True)


def test_reference_counts_every_held_out_row() -> None:
    """Bins, others and missing of each column add up to the rows measured on."""
    reference = _bundle().json("reference.json")

    for profile in [*reference["columns"].values(), reference["score"]]:
        assert sum(profile["counts"]) + profile["missing"] == reference["n"]
    assert reference["metric"]["name"] == "roc_auc"
    assert reference["metric"]["value"] == _bundle().manifest.metrics["roc_auc"]


def test_evaluation_counts_every_held_out_row() -> None:
    """Confusion and calibration each account for all rows."""
    evaluation = _bundle().json("evaluation.json")

    assert sum(evaluation["confusion"].values()) == evaluation["n"]
    assert sum(part["n"] for part in evaluation["calibration"]) == evaluation["n"]


def test_card_says_what_the_model_is() -> None:
    """The card names the record, the meaning of the score, each column and the proof."""
    card = _bundle().files["card.md"].decode()

    assert "One visit to a shop." in card
    assert "the probability that `ordered` is yes" in card
    assert all(f"| {column.name} |" in card for column in _bundle().manifest.columns)
    assert "agree on" in card


def test_manifest_tells_where_the_model_comes_from() -> None:
    """Data digest, seed, estimator and library versions stand in the manifest."""
    training = _bundle().manifest.training

    assert len(training["data_digest"]) == 64
    assert training["seed"] == 0
    libraries = training["libraries"]
    assert {"mlembed", "scikit-learn", "onnx", "onnxruntime", "protobuf", "scipy"} <= set(libraries)
    assert "xgboost" not in libraries
