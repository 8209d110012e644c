"""Draws all figures of a study; returns them by file stem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from initlab.report.charts import Figure
from initlab.study.results.figures.heat_map_plot import heat_map
from initlab.study.results.figures.history_plot import history
from initlab.study.results.figures.importance_plot import importance
from initlab.study.results.figures.parallel_plot import parallel
from initlab.study.results.figures.pareto_plot import pareto
from initlab.study.search.arms import ArmResult, varying
from initlab.study.search.importance import study_with_parameters
from initlab.study.space.objectives import Direction, Directions, Metrics, each

if TYPE_CHECKING:
    import optuna


def make_figures(
    arms: Sequence[ArmResult],
    study: optuna.Study | None,
    *,
    metric: Metrics,
    direction: Directions,
    noise: frozenset[str] = frozenset(),
) -> dict[str, Figure]:
    """File stem → figure; a figure without data is left out.

    With several objectives the Pareto front is drawn as well, and figures of one objective are drawn once for each:
    those after the first are numbered, ``heat_map_2``.

    Args:
        arms: of the study, in any state.
        study: Optuna's record of it, for the importance; None where there is none.
        metric: key of the objective, or of each.
        direction: of the objective, or of each.
        noise: keys that are within noise, drawn grey.
    """
    keys, metrics, ways = varying(arms), each(metric), _directions(direction)
    made: dict[str, Figure | None] = {}
    if len(metrics) > 1:
        made["pareto"] = pareto(arms, metrics=metrics, directions=ways)
    drawn: dict[str, Callable[[Sequence[ArmResult], str, Direction], Figure | None]] = {
        "heat_map": lambda a, m, d: heat_map(a, metric=m, direction=d),
        "history": lambda a, m, d: history(a, metric=m, direction=d),
        "parallel": lambda a, m, d: parallel(a, keys, metric=m, direction=d),
    }
    for k, (key, way) in enumerate(zip(metrics, ways, strict=True)):
        alone = [a.judged_by(k) for a in arms]
        for stem, make in drawn.items():
            made[stem if k == 0 else f"{stem}_{k + 1}"] = make(alone, key, way)
    made["importance"] = importance(study_with_parameters(arms, study, direction), noise=noise)
    return {stem: figure for stem, figure in sorted(made.items()) if figure is not None}


# ------------------------------------------------------------------ pieces
def _directions(direction: Directions) -> tuple[Direction, ...]:
    return direction if isinstance(direction, tuple) else (direction,)
