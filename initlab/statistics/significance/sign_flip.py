"""Exact sign-flip permutation test of paired differences, and its smallest possible p-value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from initlab.statistics.significance.blocks import Floats

#: up to so many seeds all 2ⁿ patterns of signs are gone through
EXACT_TO = 14

_SIGNS = 9999


def sign_flips(differences: Floats, *, seed: int = 0) -> Floats:
    """Two-sided p-value of each column of paired differences (seeds × comparisons): is their mean 0?

    Under the null each difference might as well have had the other sign. All 2ⁿ patterns up to 14 seeds, else 9,999
    drawn ones and (b + 1) / (m + 1). Fisher, 1935; Phipson & Smyth, 2010.
    """
    n = len(differences)
    exact = n <= EXACT_TO
    if exact:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(_SIGNS, n))
    observed = np.abs(differences.sum(axis=0))
    scale = np.abs(differences).sum(axis=0)
    as_far = (np.abs(signs @ differences) >= observed - 1e-12 * scale).sum(axis=0)
    return as_far / len(signs) if exact else (as_far + 1) / (len(signs) + 1)


def smallest_p_value(n: int) -> float:
    """Smallest two-sided p-value that the sign-flip test can give."""
    return 2.0 / 2**n if n <= EXACT_TO else 1.0 / (_SIGNS + 1)


def seeds_for_exact(alpha: float, tests: int) -> int:
    """Seeds from which on the exact test can reach `alpha` after a correction for so many tests."""
    return max(1, math.ceil(math.log2(2 * tests / alpha)))
