"""The additive model: its interpolation, its limits, and that it says what it is made to say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from initlab.diagnosis.probability import contributions, probability, quantities, table
from initlab.diagnosis.trainability import IMPROBABLE, PROBABLE, Risk, judge
from initlab.probes import FirstUpdate
from tests.diagnosis.test_trainability import CHANCE, predicted, seen

FIRST = FirstUpdate(
    loss=CHANCE, decrease=0.05, learned=0.04, moved=(1e-3, 3e-3, 1e-2), agreement=(0.5, 0.5)
)  # fmt: skip
BAD = (math.nan, math.inf, -math.inf)


def of(first: FirstUpdate, *, updates: int = 300, risk: Risk | None = None) -> dict[str, float]:
    return quantities(risk or Risk(0.0, 0.0, 0.0), seen(), first, updates=updates, untrained_loss=CHANCE)


def test_it_is_numpy_interpolation_of_every_quantity() -> None:
    rng = np.random.default_rng(0)
    rows = table()["quantities"]
    assert set(rows) == set(of(FIRST))
    for _ in range(20):
        found = {n: float(rng.uniform(r["knots"][0] - 1, r["knots"][-1] + 1)) for n, r in rows.items()}
        parts = {n: np.interp(found[n], r["knots"], r["values"]) for n, r in rows.items()}
        assert contributions(found) == pytest.approx(parts)
        odds = table()["constant"] + sum(parts.values())
        assert probability(found) == pytest.approx(1 / (1 + math.exp(-odds)))


@pytest.mark.parametrize("bad", BAD)
def test_whatever_is_measured_gives_a_probability(bad: float) -> None:
    first = FirstUpdate(loss=bad, decrease=bad, learned=bad, moved=(bad,) * 3, agreement=(bad,) * 2)
    found = quantities(Risk(bad, bad, bad, bad), seen(loss=bad), first, updates=300, untrained_loss=CHANCE)
    assert all(map(math.isfinite, found.values())) and 0 <= probability(found) <= 0.5


def test_the_rate_decides() -> None:
    """The same network: updates that do nothing, that are right, and that are too large."""

    def at(rate: float) -> float:
        first = FirstUpdate(
            loss=CHANCE, decrease=0.05 * rate, learned=0.04 * rate, moved=(1e-3 * rate, 3e-3 * rate, 1e-2 * rate),
            agreement=(0.5, 0.5),
        )  # fmt: skip
        return probability(of(first))

    assert at(1.0) > 0.85 and at(1e-4) < 0.3 and at(300.0) < at(1.0)


def test_the_outlook_says_the_probability_and_why() -> None:
    small = FirstUpdate(loss=CHANCE, decrease=1e-7, learned=1e-8, moved=(1e-9, 1e-8, 1e-7), agreement=(0.1, 0.1))
    said = judge(predicted(), seen(), untrained_loss=CHANCE, first=small, updates=300)
    assert said.calibrated and said.score < PROBABLE and said.verdict != "trainable"
    assert "move the weights by about" in said.reasons[0] and said.figure.startswith("probability 0.")
    assert not judge(predicted(), seen(), untrained_loss=CHANCE).calibrated
    assert 0 < IMPROBABLE < PROBABLE < 1
