"""Spread of ln q at the last layer over draws of the weights, carried through the depth of a plain network."""

from __future__ import annotations

import math
from collections.abc import Iterable

from initlab.errors import ConfigError
from initlab.spec import Activation, LayerPrediction
from initlab.theory.finite_width import log_q_slope, log_q_variance

#: beyond these mean squares an activation is taken to be the power of h that it is there
_LOW, _HIGH = 1e-30, 1e30


def log_q_spread(layers: Iterable[tuple[LayerPrediction, Activation, int]]) -> float:
    """Standard deviation of ln q at the last of `layers`, to first order in 1/width.

    The variance K a layer is drawn with has Var ln K = v, and v ← share² (χ² v + (E[φ⁴]/E[φ²]² - 1)/n) from one layer
    to the next: χ = d ln E[φ²] / d ln q is how much of a deviation is passed on, share = 1 - σ_b²/q is what the weights
    contribute to q. The mean square of the last layer's own n units adds 2/n.

    Args:
        layers: of each layer its prediction, the activation it is sent through, and its width.
    """
    v, before, width = 0.0, None, 0
    for row, activation, n in layers:
        if before is not None:
            share = max(0.0, 1 - row.sigma_b2 / row.q) if row.q > 0 else 0.0
            v = share * share * (before[0] * before[0] * v + before[1])
        q = min(max(row.q, _LOW), _HIGH)
        try:
            before = log_q_slope(activation, q), log_q_variance(activation, q, n)
        except (ConfigError, OverflowError):  # no moments: it sends the network out of range
            return math.inf
        width = n
    return math.sqrt(v + 2 / width) if width else 0.0
