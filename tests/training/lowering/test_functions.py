"""Functions without a double kernel are right to the last digits; unknown ones are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri
from sklearn.preprocessing import FunctionTransformer

from mlembed.errors import LoweringError
from mlembed.serving.session import Session
from mlembed.training import lowering
from mlembed.training.lowering.preprocessing.accurate import expm1, log1p, normal_quantile
from training.lowering.transforming import NUMBERS, attack, error, numbers, ours

random = np.random.default_rng(0)
SIZES = np.concatenate(
    [10.0 ** random.uniform(-300, 300, 4_000), 10.0 ** random.uniform(-20, 3, 4_000)]
)
SIGNED = np.concatenate([SIZES, -SIZES, [0.0, -0.0, 5e-324, 1.0, -1.0, 709.7, 710.0, -745.2]])


def relative(lower: Any, right: Any, x: Any) -> float:
    """Return the largest relative error of a lowered function."""
    builder = lowering.Builder(1)
    model = builder.model(lower(builder, "x"), "out", 1)
    with np.errstate(all="ignore"):
        got, wanted = Session(lowering.serialize(model)).run_matrix(x[:, np.newaxis]), right(x)
        errors = np.where(got == wanted, 0.0, np.abs(got - wanted) / np.abs(wanted))
    assert np.array_equal(np.isnan(got), np.isnan(wanted))
    return float(np.nan_to_num(errors[~np.isnan(wanted)], nan=np.inf).max())


@pytest.mark.parametrize(
    ("lower", "right", "x"),
    [
        (log1p, np.log1p, np.append(SIGNED, [np.inf, np.nan, np.nextafter(-1, 0)])),
        (expm1, np.expm1, np.append(SIGNED, [np.inf, -np.inf, np.nan])),
        (
            normal_quantile,
            ndtri,
            np.concatenate(
                [
                    random.uniform(1e-7, 1 - 1e-7, 9_000),
                    10.0 ** random.uniform(-12, -0.3, 9_000),
                    1 - 10.0 ** random.uniform(-7, -0.3, 9_000),
                    np.nextafter([0.13533528323661269189] * 2, [0, 1]),
                ]
            ),
        ),
    ],
    ids=["log1p", "expm1", "normal_quantile"],
)
def test_function_is_right_to_the_last_digits(lower: Any, right: Any, x: Any) -> None:
    """Relative, not absolute: what stands behind may divide by a small number."""
    assert relative(lower, right, x) <= 2e-15


@pytest.mark.parametrize("function", [None, np.log1p, np.expm1, np.sqrt, np.abs, np.absolute])
def test_function_transformer_agrees(function: Any) -> None:
    """A known function is that function, outside its domain too."""
    x = numbers(0)
    transformer = FunctionTransformer(function)
    lowering.step_of(transformer).check(transformer)

    assert error(transformer.fit(x), np.vstack([x, attack(x)]), NUMBERS) <= 1e-15
    assert len(ours(transformer.fit(x), x[:0], NUMBERS)) == 0


class Unhashable:
    """A callable that is no key."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize(
    ("transformer", "words"),
    [
        (FunctionTransformer(np.cbrt), "cbrt has no exact ONNX form"),
        (FunctionTransformer(lambda x: x), "lambda"),
        (FunctionTransformer(Unhashable()), "Unhashable"),
        (FunctionTransformer(np.log1p, kw_args={"where": True}), "log1p with kw_args"),
    ],
    ids=["cbrt", "lambda", "object", "kw_args"],
)
def test_unknown_function_is_refused_by_name(transformer: Any, words: str) -> None:
    """Python of the user's own has no place in a graph, and the message says what has."""
    with pytest.raises(LoweringError, match=words):
        lowering.step_of(transformer).check(transformer)
