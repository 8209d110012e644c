"""Summaries in one line: of a study, and of an arm."""

from __future__ import annotations

from collections.abc import Sequence

from initlab.core.text import format_number, interval_text, to_one_line
from initlab.study.results.leaderboard.ranking import Row
from initlab.study.search.arms import ArmResult, counts
from initlab.study.space.objectives import Metrics, each


def summary(arms: Sequence[ArmResult], rows: Sequence[Row], *, metric: Metrics) -> str:
    """The study in one line: number of arms by state, the best one, and how many are not distinguishable from it.
    With several objectives: number of arms on the front, and the best one in the first objective.

    Args:
        rows: the leaderboard of `arms`.
        metric: of each objective.
    """
    many = f"{len(arms)} arm{'' if len(arms) == 1 else 's'}"
    if not arms:
        return many
    best, head = rows[0], f"{many}: {counts(arms)}"
    if best.rank is None:
        return f"{head}; none has a result"
    choices = to_one_line(", ".join(f"{k}={v}" for k, v in best.result.choices.items())) or best.result.name
    if best.others:
        front = sum(r.rank == 1 for r in rows)
        with_first = f", best in {each(metric)[0]}" if front > 1 else ""
        return f"{head}; {front} on the front{with_first}: {choices} with {scores(best, metric)}"
    ties = sum(r.verdict == "not distinguishable" for r in rows)
    close = f"; {ties} more not distinguishable from it" if ties else ""
    return f"{head}; best {choices} with {metric} {score(best)}{close}"


def score(row: Row) -> str:
    """Mean, its interval where there is one, and number of seeds where known."""
    return f"{_with_interval(row)}{_seeds(row)}"


def scores(row: Row, metric: Metrics) -> str:
    """Every objective with its name."""
    told = (f"{m} {_with_interval(r)}" for m, r in zip(each(metric), (row, *row.others), strict=True))
    return f"{', '.join(told)}{_seeds(row)}"


# ------------------------------------------------------------------ pieces
def _with_interval(row: Row) -> str:
    text = interval_text(row.low, row.high)
    return f"{format_number(row.mean)} [{text}]" if text else format_number(row.mean)


def _seeds(row: Row) -> str:
    return f" ({row.seeds} seed{'' if row.seeds == 1 else 's'})" if row.seeds else ""
