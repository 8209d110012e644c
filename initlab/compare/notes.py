"""Notes and warnings of a comparison: what limits the tests, which runs have no value, what makes it doubtful."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from initlab.compare.arms import Raw
from initlab.compare.ending import Ending, ending_of
from initlab.compare.result import Comparison
from initlab.statistics import significance as tests
from initlab.statistics.failures import share_interval
from initlab.statistics.spread import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def notes_of(made: Comparison, raw: Raw) -> list[str]:
    """Notes below the table."""
    lines: list[str] = []
    n = [r.n for r in made.rows if r.rank is not None]
    pairs = tests.all_pairs(len(n))
    if (
        len(n) > 1
        and made.paired
        and min(n) > 1
        and max(n) <= tests.EXACT_TO
        and tests.smallest_p_value(min(n)) * pairs > made.alpha
    ):
        lines.append(
            f"the exact sign-flip test cannot reach {made.alpha:g} here: with {min(n)} seeds its smallest p is"
            f" {tests.smallest_p_value(min(n)):.3g}, before the correction for {pairs} pair{'' if pairs == 1 else 's'};"
            f" {tests.seeds_for_exact(made.alpha, pairs)} seeds could"
        )
    if made.count("diverged"):
        if math.isfinite(made.untrained):
            of = made.count("diverged")
            lines.append(
                f"{of} run{'' if of == 1 else 's'} diverged and count{'s' if of == 1 else ''} with"
                f" {made.by.metric} {made.untrained:.4g}, the value before training"
            )
        else:
            lines.append(f"{made.count('diverged')} runs diverged and have no value")
    flat = [r for r in made.rows if r.n > 1 and r.sd == 0]
    if flat:
        lines.append(f"{len(flat)} arm{'' if len(flat) == 1 else 's'} ended with equal values under all seeds (sd 0)")
    for row in [r for r in made.rows if r.failed and r.rank is not None][:6]:
        low, high = share_interval(row.failed, row.n, 0.95)
        lines.append(
            f"{row.arm.name}: {row.failed} of {row.n} seeds did not learn (95 % interval of the share: {low:.0%} to"
            f" {high:.0%}); mean {made.by.metric} of the others: {row.level:.4g}"
        )
    if raw.again:
        lines.append(f"{raw.again} seeds were trained again: the latest run counts")
    if len(n) > 1 and not any(r.winner is not None for r in made.rows):
        if max(n) < tests.SEEDS:
            many = "one seed" if max(n) == 1 else f"{max(n)} seeds"
            lines.append(f"{many} per arm: with fewer than {tests.SEEDS} no arm is called worse (replicas=5)")
        else:
            lines.append("every arm has equal values under all seeds: differences between arms cannot be tested")
    return lines


def warnings_of(made: Comparison, shortest: int, longest: int) -> list[str]:
    lines: list[str] = []
    able = [r for r in made.rows if r.rank is not None]
    if len(able) == 1 and len(made.rows) == 1:
        lines.append("there is one arm: nothing to compare it with")
    counts = {r.n for r in able}
    if len(counts) > 1:
        lines.append(f"arms have different numbers of seeds: {min(counts)} to {max(counts)}")
    lost: dict[Ending, str] = {"failed": "failed", "early": "ended early", "running": "still running"}
    told = ", ".join(f"{k} {words}" for ending, words in lost.items() if (k := made.count(ending)))
    if told:
        lines.append(f"runs without a value: {told}")
    if missing := sum(
        ending_of(run) == "finished" and s not in r.arm.values for r in made.rows for s, run in r.arm.runs.items()
    ):
        lines.append(f"{missing} runs that finished have no {made.by.metric}")
    if not made.paired and len(able) > 1:
        lines.append("arms do not share their seeds: differences are not paired (Welch's t)")
    if shortest != longest:
        lines.append(f"runs were trained for different numbers of updates: {shortest} to {longest}")
    if any(r.method == NONE for r in able) and max(counts) > 1:
        lines.append("an arm with one seed has no interval of its own")
    return lines
