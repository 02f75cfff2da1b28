"""Functions that the runtime has no double kernel for, to the last digits.

A power transform divides by small scales, so an error of one rounding in `1 + x` would show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlembed.training.lowering.graph import Builder


def log1p(builder: Builder, x: str) -> str:
    """Add the nodes of `log(1 + x)`; what the sum rounded off is put back as a factor.

    W. Kahan's trick, as in D. Goldberg, "What every computer scientist should know about
    floating-point arithmetic", theorem 4.
    """
    node, one = builder.node, builder.constant(1.0)
    shifted = node("Add", x, one)
    rounded = node("Sub", shifted, one)
    exact = node("Equal", rounded, x)
    factor = node("Where", exact, one, node("Div", x, rounded))
    logarithm = node("Mul", node("Log", shifted), factor)
    return node("Where", node("Equal", shifted, one), x, logarithm)


def expm1(builder: Builder, x: str) -> str:
    """Add the nodes of `exp(x) - 1`, with the same trick near 0."""
    node, one = builder.node, builder.constant(1.0)
    power = node("Exp", x)
    near = node("Less", node("Abs", x), one)
    factor = node("Where", near, node("Div", x, node("Log", power)), one)
    result = node("Mul", node("Sub", power, one), factor)
    return node("Where", node("Equal", power, one), x, result)


def logistic(builder: Builder, x: str) -> str:
    """Add the nodes of `1 / (1 + exp(-x))`, of which far below 0 every digit counts.

    The runtime's Sigmoid is right to 1e-16 of 1, so below -37 it is 0: enough for a score, not
    for one that is divided by a sum of such.
    """
    node, one = builder.node, builder.constant(1.0)
    return node("Div", one, node("Add", one, node("Exp", node("Neg", x))))


# Rational approximations of S. L. Moshier's Cephes library (ndtri), highest power first: the
# ones scipy evaluates, so that the last digits are the same.
_MIDDLE = (
    (
        -59.9633501014107895267,
        98.0010754185999661536,
        -56.6762857469070293439,
        13.9312609387279679503,
        -1.23916583867381258016,
    ),
    (
        1.0,
        1.95448858338141759834,
        4.67627912898881538453,
        86.3602421390890590575,
        -225.462687854119370527,
        200.260212380060660359,
        -82.0372256168333339912,
        15.9056225126211695515,
        -1.18331621121330003142,
    ),
)
_TAIL = (
    (
        4.05544892305962419923,
        31.5251094599893866154,
        57.1628192246421288162,
        44.0805073893200834700,
        14.6849561928858024014,
        2.18663306850790267539,
        -0.140256079171354495875,
        -0.0350424626827848203418,
        -8.57456785154685413611e-4,
    ),
    (
        1.0,
        15.7799883256466749731,
        45.3907635128879210584,
        41.3172038254672030440,
        15.0425385692907503408,
        2.50464946208309415979,
        -0.142182922854787788574,
        -0.0380806407691578277194,
        -9.33259480895457427372e-4,
    ),
)
_TAIL_BEGINS = 0.13533528323661269189  # exp(-2)


def normal_quantile(builder: Builder, y: str) -> str:
    """Add the nodes of the standard normal's quantile at *y*, which lies in [1e-13, 1 - 1e-13]."""
    node, constant = builder.node, builder.constant
    one = constant(1.0)
    mirrored = node("Greater", y, constant(1 - _TAIL_BEGINS))
    low = node("Where", mirrored, node("Sub", one, y), y)
    centred = node("Sub", low, constant(0.5))
    square = node("Mul", centred, centred)
    bend = node("Mul", centred, node("Mul", square, _ratio(builder, square, *_MIDDLE)))
    middle = node("Mul", node("Add", centred, bend), constant(np.sqrt(2 * np.pi)))
    root = node("Sqrt", node("Mul", constant(-2.0), node("Log", low)))
    start = node("Sub", root, node("Div", node("Log", root), root))
    inverse = node("Div", one, root)
    correction = node("Mul", inverse, _ratio(builder, inverse, *_TAIL))
    tail = node("Sub", correction, start)
    signed = node("Where", mirrored, node("Neg", tail), tail)
    is_middle = node("Greater", low, constant(_TAIL_BEGINS))
    return node("Where", is_middle, middle, signed)


def _ratio(builder: Builder, x: str, above: Sequence[float], below: Sequence[float]) -> str:
    return builder.node("Div", _horner(builder, x, above), _horner(builder, x, below))


def _horner(builder: Builder, x: str, coefficients: Sequence[float]) -> str:
    total = builder.constant(coefficients[0])
    for coefficient in coefficients[1:]:
        product = builder.node("Mul", total, x)
        total = builder.node("Add", product, builder.constant(coefficient))
    return total
