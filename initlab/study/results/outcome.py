"""What a study came to, computed once for all places that show it: terminal, note, page, figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initlab.study.results.leaderboard import Row, leaderboard, summary
from initlab.study.search import importance
from initlab.study.search.arms import ArmResult
from initlab.study.search.trials import arm_results
from initlab.study.space.plan import Plan

if TYPE_CHECKING:
    from optuna import Study


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a study.

    Attributes:
        arms: in any state.
        rows: the leaderboard.
        summary: the study in one line.
        importance: of each key in one line.
        noise: keys that are no more important than in random orders.
    """

    arms: Sequence[ArmResult]
    rows: Sequence[Row]
    summary: str
    importance: str
    noise: frozenset[str]


def outcome_of(plan: Plan, study: Study) -> Outcome:
    """The result of the study as it stands."""
    arms = arm_results(study)
    rows = leaderboard(arms, direction=plan.direction, metric=plan.metrics)
    weights, noise = importance.format_importance(arms, study, plan.direction)
    return Outcome(
        arms=arms, rows=rows, summary=summary(arms, rows, metric=plan.settings.metric), importance=weights,
        noise=noise,
    )  # fmt: skip
