"""The result of a comparison: rows of arms, one comparison a task, and the report over all tasks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from initlab.compare.arms import Arm
from initlab.compare.curves import Band, Learning
from initlab.compare.effects import Effect, Ranking
from initlab.compare.ending import Ending
from initlab.compare.metric import Metric
from initlab.errors import InitlabError
from initlab.statistics import significance as tests

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class NothingToCompareError(InitlabError):
    """There are runs, but none of them can be compared."""

    exit_code = 2


@dataclass(frozen=True, kw_only=True)
class Row:
    """Result of one arm.

    Attributes:
        arm: the arm.
        rank: 1 for the best mean; None for an arm without values.
        n: number of seeds with a value, diverged ones included.
        mean: over them; like sd, low and high in the metric's own unit; NaN where there is none.
        low: lower end of the mean's 95 % interval.
        high: upper end.
        method: of the interval.
        failed: number of seeds that did not learn where the others of the arm did; diverged ones are among them.
        level: mean of the seeds that did not fail.
        iqm: interquartile mean.
        best: probability of having the best mean.
        p: p-value of being as good as the best, corrected for all arms; the best set are the arms above the level.
        winner: whether it is in the best set; None where there are too few seeds.
        p_equivalent: of differing from the best by the margin or more, Holm over the arms; NaN without a margin.
        to_best: paired difference of the best arm and this one; None for the best itself.
        p_exact: of the sign-flip test against the best, corrected.
        p_t: of the paired t-test against the best, corrected.
        to_baseline: paired difference of this arm and the baseline.
        baseline_exact: of the sign-flip test against the baseline, Holm over the other arms.
        baseline_t: of the t-test against it, Holm over the other arms.
        learning: summary of its learning curves; None without curves.
    """

    arm: Arm
    rank: int | None
    n: int
    mean: float
    sd: float
    low: float
    high: float
    method: str
    iqm: float
    failed: int = 0
    level: float = math.nan
    best: float = math.nan
    p: float = math.nan
    winner: bool | None = None
    p_equivalent: float = math.nan
    to_best: tests.Pair | None = None
    p_exact: float = math.nan
    p_t: float = math.nan
    to_baseline: tests.Pair | None = None
    baseline_exact: float = math.nan
    baseline_t: float = math.nan
    learning: Learning | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Comparison of the arms of one task.

    Attributes:
        label: of the task, "" where there is only one.
        by: the metric that arms are compared by.
        keys: the keys that distinguish the arms, in order.
        rows: best first, arms without values last.
        seeds: all seeds with a value, and `values`, rows × seeds in the metric's own unit, NaN for holes.
        alpha: level of the tests.
        margin: largest difference that does not matter; None where none was stated.
        paired: whether arms share their seeds.
        correction: of p_exact and p_t.
        baseline: number of the row that is the baseline.
        target: value of the validation curve for steps_to_target; NaN without curves.
        until: last step of the area under the curve.
        needed: number of seeds that would distinguish the first two arms.
        effects: of the two keys that form a complete layout.
        factors: their names.
        bands: learning curves by row.
        untrained: value that is imputed for a diverged run; NaN where none was needed.
        start: value of the metric before training; NaN where no curve shows it.
        notes: sentences below the table.
        warnings: sentences about problems of the comparison.
    """

    label: str
    by: Metric
    keys: tuple[str, ...]
    rows: tuple[Row, ...]
    seeds: tuple[str, ...]
    values: Floats
    alpha: float
    paired: bool
    correction: str
    baseline: int | None
    target: float
    until: int
    needed: float
    effects: tuple[Effect, ...] = ()
    factors: tuple[str, str] | None = None
    bands: Mapping[int, Band] = field(default_factory=dict[int, Band])
    margin: float | None = None
    untrained: float = math.nan
    start: float = math.nan
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def winners(self) -> list[Row]:
        return [r for r in self.rows if r.winner]

    @property
    def runs(self) -> int:
        return sum(len(r.arm.runs) for r in self.rows)

    def count(self, ending: Ending) -> int:
        return sum(r.arm.count(ending) for r in self.rows)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole comparison: one or several tasks, and the ranking of arms over them."""

    title: str
    tasks: tuple[Comparison, ...]
    ranking: Ranking | None = None
    warnings: tuple[str, ...] = ()


def usual_method(rows: Sequence[Row]) -> str:
    """The method of most intervals."""
    counts = Counter(r.method for r in rows if r.method)
    return counts.most_common(1)[0][0] if counts else ""
