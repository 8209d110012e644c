"""Aggregates the statistics of all layers to a few numbers of the network (site "", `diag/` in metrics)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import median

from initlab.spec import ProfileRow

#: statistic of the layers → (name of the aggregate, how it is made)
_AGGREGATES: dict[str, tuple[tuple[str, Callable[[list[float]], float]], ...]] = {
    "act_std": (("act_std_min", min), ("act_std_max", max)),
    "saturated": (("saturated_max", max),),
    "dead": (("dead_max", max),),
    "update_ratio": (("update_ratio_median", median),),
}


def aggregates(rows: Iterable[ProfileRow], step: int) -> list[ProfileRow]:
    """Minimum and maximum of act_std, maximum of saturated and dead, median update_ratio over the layers at `step`."""
    by_statistic: dict[str, list[float]] = {}
    for row in rows:
        if row.site and math.isfinite(row.value):
            by_statistic.setdefault(row.statistic, []).append(row.value)
    return [
        ProfileRow(step=step, site="", order=-1, statistic=name, value=float(make(by_statistic[statistic])))
        for statistic, makers in _AGGREGATES.items()
        if statistic in by_statistic
        for name, make in makers
    ]
