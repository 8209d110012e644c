"""Significance tests between arms: permutation within seeds, t-tests, corrections for multiple testing.

All functions take values as arms × seeds, float64, NaN where an arm has no value under a seed, the higher the better.
"""

from initlab.statistics.significance.blocks import Blocks, blocks
from initlab.statistics.significance.equivalence import equivalent_to_the_first
from initlab.statistics.significance.pairs import Pair, all_pairs, compare_pair, corrected_p_values, hedges_g, holm
from initlab.statistics.significance.posterior import probability_of_best
from initlab.statistics.significance.power import seeds_needed
from initlab.statistics.significance.sign_flip import EXACT_TO, seeds_for_exact, sign_flips, smallest_p_value
from initlab.statistics.significance.winners import PERMUTATIONS, SEEDS, resolution, winner_set

__all__ = [
    "EXACT_TO",
    "PERMUTATIONS",
    "SEEDS",
    "Blocks",
    "Pair",
    "all_pairs",
    "blocks",
    "compare_pair",
    "corrected_p_values",
    "equivalent_to_the_first",
    "hedges_g",
    "holm",
    "probability_of_best",
    "resolution",
    "seeds_for_exact",
    "seeds_needed",
    "sign_flips",
    "smallest_p_value",
    "winner_set",
]
