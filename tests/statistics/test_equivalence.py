"""Equivalence tests against statsmodels, and their level at the margin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from initlab.statistics.significance import equivalent_to_the_first


def test_it_is_statsmodels_tost() -> None:
    rng = np.random.default_rng(0)
    values = 0.9 + 0.01 * rng.normal(size=(2, 8))
    assert equivalent_to_the_first(values, 0.01)[1] == pytest.approx(ttost_paired(values[1], values[0], -0.01, 0.01)[0])
    apart = np.full((2, 16), math.nan)
    apart[0, :8], apart[1, 8:] = values
    oracle = ttost_ind(values[1], values[0], -0.01, 0.01, usevar="unequal")[0]
    assert equivalent_to_the_first(apart, 0.01)[1] == pytest.approx(oracle)


def test_at_the_margin_an_arm_is_called_equivalent_once_in_twenty() -> None:
    rng = np.random.default_rng(1)
    called = [
        equivalent_to_the_first(np.stack([rng.normal(size=6), 4 + rng.normal(size=6)]), 4.0)[1] <= 0.05
        for _ in range(1000)
    ]
    assert 0.03 < np.mean(called) < 0.07


def test_few_seeds_and_no_spread_say_nothing() -> None:
    assert np.isnan(equivalent_to_the_first(np.array([[0.9, 0.91], [0.9, 0.91]]), 0.1)).all()
    assert np.isnan(equivalent_to_the_first(np.array([[0.9] * 4, [0.9] * 4]), 0.1)).all()
