"""Importance of each parameter by PED-ANOVA, as a bar chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initlab.report.charts import Figure, bars_panel
from initlab.study.results.figures.labels import short
from initlab.study.search.importance import importances

if TYPE_CHECKING:
    import optuna


def importance(study: optuna.Study, *, noise: frozenset[str] = frozenset()) -> Figure | None:
    """Share of each parameter in reaching the top quantile of the trials, by PED-ANOVA; grey for those in `noise`.

    None where it cannot be computed: fewer than four complete trials, fewer than two parameters, or none that separates
    the top from the rest. Source: Watanabe, Bansal & Hutter, IJCAI 2023.
    """
    found = importances(study)
    if found is None:
        return None
    shares, quantile, count = found
    names = list(shares)
    panel = bars_panel(
        [short(n) for n in names],
        list(shares.values()),
        x_label="share of the importance (all sum to 1)",
        texts=[f"{shares[n]:.0%}{', noise' if n in noise else ''}" for n in names],
        grey=frozenset(i for i, n in enumerate(names) if n in noise),
    )
    return Figure(
        "Importance of the keys",
        (panel,),
        f"Share of each key in reaching the top {quantile:.0%} of {count} trials (PED-ANOVA)."
        " Grey, noise: not more important than in random data.",
    )
