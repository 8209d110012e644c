"""The probability that a run trains, from what is known before its first update.

A logistic model that adds up: the log odds are a constant plus one piecewise linear function of each quantity. It was
fitted on small networks of many kinds with SGD and Adam at three rates each, and measured on activations, depths,
widths and data that had no part in it (`benchmarks/predictor.py`, docs/predictor.md). The numbers are in
`probability.json`, which the benchmark writes.
"""

from __future__ import annotations

import json
import math
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from initlab.diagnosis.trainability import Risk
    from initlab.probes import FirstUpdate, Snapshot

FILE = Path(__file__).with_name("probability.json")
#: beyond it a part of the risk says no more
_MOST = 20.0


def quantities(
    risk: Risk, seen: Snapshot, first: FirstUpdate, *, updates: int, untrained_loss: float
) -> dict[str, float]:
    """The quantities of the model, by name; every one is finite.

    Args:
        risk: of depth, gradient, information and time.
        seen: the network on one batch.
        first: what the first update would do.
        updates: of the whole run.
        untrained_loss: of an answer that ignores the input, in nats.
    """
    least, middle, most = first.moved
    scale = updates / first.loss if 0 < first.loss < math.inf else math.nan
    return {
        "gradient": _bounded(risk.gradient, 0.0, _MOST),
        "depth": _bounded(risk.depth, 0.0, _MOST),
        "information": _bounded(risk.information, 0.0, _MOST),
        "time": _bounded(risk.time, 0.0, _MOST),
        "least moved": _log10(least, 1e-8, 1e3),
        "moved": _log10(middle, 1e-8, 1e3),
        "most moved": _log10(most, 1e-8, 1e3),
        "loss": _log10(seen.loss / untrained_loss, 1e-2, 1e4),
        "output correlation": _bounded(seen.output_c, -1.0, 1.0),
        "learned": _log10(first.learned * scale, 1e-6, 1e6, unknown=1e-6),
        "decrease": _log10(first.decrease * scale, 1e-6, 1e6, unknown=1e-6),
        "agreement": _bounded(first.agreement[1], -1.0, 1.0, unknown=0.0),
        "first agreement": _bounded(first.agreement[0], -1.0, 1.0, unknown=0.0),
    }


def probability(found: dict[str, float]) -> float:
    """Share of runs with these quantities that train.

    Example:
        >>> from initlab.diagnosis.probability import probability, table
        >>> middle = {name: row["knots"][1] for name, row in table()["quantities"].items()}
        >>> 0 < probability(middle) < 1
        True
    """
    odds = float(table()["constant"]) + sum(contributions(found).values())
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, odds))))


def contributions(found: dict[str, float]) -> dict[str, float]:
    """What each quantity adds to the log odds."""
    return {
        name: _interpolated(found[name], row["knots"], row["values"]) for name, row in table()["quantities"].items()
    }


@cache
def table() -> dict[str, Any]:
    """Constant, and knots and values of each quantity's function."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def _interpolated(x: float, knots: list[float], values: list[float]) -> float:
    """Linear between knots, constant outside."""
    if x <= knots[0]:
        return values[0]
    for (a, b), (u, v) in zip(pairwise(knots), pairwise(values), strict=True):
        if x <= b:
            return u + (v - u) * (x - a) / (b - a)
    return values[-1]


def _bounded(x: float, low: float, high: float, *, unknown: float = math.inf) -> float:
    return min(max(unknown if math.isnan(x) else x, low), high)


def _log10(x: float, low: float, high: float, *, unknown: float = math.inf) -> float:
    return math.log10(_bounded(x, low, high, unknown=unknown))
