"""Compares the arms of a task: order, intervals, tests against the best arm and the baseline, notes and warnings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from initlab.compare import arms as of_arms
from initlab.compare.arms import Arm, Raw
from initlab.compare.curves import band, last_step, learning
from initlab.compare.effects import Effect, Ranking, ranking, two_way
from initlab.compare.ending import ending_of
from initlab.compare.metric import Metric
from initlab.compare.notes import notes_of, warnings_of
from initlab.compare.result import Comparison, NothingToCompareError, Row
from initlab.errors import ConfigError
from initlab.spec import CompareSettings
from initlab.statistics import significance as tests
from initlab.statistics.intervals import interquartile_mean
from initlab.statistics.judgement import judge, order_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from initlab.tracking import Curve

    Floats = NDArray[np.float64]

#: how far from untrained to the best arm counts as learned
_LEARNED = 0.9
#: arms of which the curves are drawn
_DRAWN = 8


def compare(
    raw: Raw,
    by: Metric,
    choices: Mapping[str, Mapping[str, str]],
    curves: Mapping[str, Curve],
    settings: CompareSettings,
    *,
    keys: Sequence[str],
    label: str = "",
) -> Comparison:
    """Compare the arms of one task.

    Raises:
        NothingToCompareError: where no run came to an end with the metric.
        ConfigError: for a baseline that is no arm, or that has no values.
    """
    found, floor = of_arms.arms(raw, by, choices, curves)
    _something(found, by, label)
    table, seeds = of_arms.matrix(found, by)
    order = order_of(table, [a.name for a in found])
    found, table = [found[i] for i in order], table[order]
    n = np.isfinite(table).sum(axis=1)
    able = int((n > 0).sum())
    values, shown = table[:able], table * by.sign
    known = np.array([[s in a.imputed for s in seeds] for a in found[:able]], bool).reshape(values.shape)
    begin = of_arms.start([r for a in found for r in a.runs.values()], curves)
    level = by.sign * (begin if math.isfinite(begin) else floor)
    judged = judge(values, alpha=settings.alpha, floor=level, known=known)
    said, p = judged.intervals, judged.p
    same = (
        np.full(able, math.nan) if settings.margin is None else tests.equivalent_to_the_first(values, settings.margin)
    )
    exact, t, correction = tests.corrected_p_values(values, 0) if able > 1 else (np.array([math.nan]),) * 2 + ("",)
    baseline = of_arms.named(found, settings.baseline) if settings.baseline else None
    if baseline is not None and baseline >= able:
        raise ConfigError("compare.baseline", " ".join(settings.baseline), "no run of this arm came to an end")
    others = [None if baseline in (None, i) else tests.compare_pair(values, i, baseline) for i in range(able)]
    b_exact, b_t = (tests.holm([math.nan if o is None else getattr(o, w) for o in others]) for w in ("exact", "t"))
    target = _target(found[:able], by, curves, settings)
    shortest, longest = last_step(found, curves)
    rows: list[Row] = []
    for i, arm in enumerate(found):
        if i >= able:
            rows.append(_without(arm))
            continue
        own = values[i][np.isfinite(values[i])] * by.sign
        ends = sorted(float(np.clip(end[i] * by.sign, *by.bounds)) for end in (said.low, said.high))
        rows.append(
            Row(
                arm=arm, rank=i + 1, n=int(n[i]), mean=float(own.mean()),
                sd=float(own.std(ddof=1)) if len(own) > 1 else math.nan, low=ends[0], high=ends[1],
                method=said.method[i], failed=int(said.failed[i].sum()),
                level=float(values[i][np.isfinite(values[i]) & ~said.failed[i]].mean()) * by.sign,
                iqm=interquartile_mean(own), best=float(judged.best[i]), p=float(p[i]),
                winner=judged.in_best_set(i), p_equivalent=float(same[i]),
                to_best=_own_unit(tests.compare_pair(values, 0, i), by) if i else None,
                p_exact=float(exact[i]), p_t=float(t[i]), to_baseline=_own_unit(others[i], by),
                baseline_exact=float(b_exact[i]), baseline_t=float(b_t[i]),
                learning=learning(arm, by, curves, target=target, until=shortest) if curves else None,
            )
        )  # fmt: skip
    block = tests.blocks(values)
    made = Comparison(
        label=label, by=by, keys=tuple(keys), rows=tuple(rows), seeds=tuple(seeds), values=shown,
        alpha=settings.alpha, margin=settings.margin, paired=block.paired, correction=correction,
        baseline=baseline, target=target, until=shortest, needed=judged.needed, start=begin,
        bands={i: b for i in range(min(able, _DRAWN)) if (b := band(found[i], curves)) is not None}, untrained=floor,
    )  # fmt: skip
    factors, effects = _effects(made)
    made = replace(made, factors=factors, effects=tuple(effects))
    return replace(made, notes=tuple(notes_of(made, raw)), warnings=tuple(warnings_of(made, shortest, longest)))


def over_tasks(tasks: Sequence[Comparison]) -> tuple[Ranking | None, list[str]]:
    """Ranks over tasks of the arms that have values in all of them, and what has to be said of it."""
    named = [{r.arm.name: r.mean * c.by.sign for r in c.rows if r.rank is not None} for c in tasks]
    common = [a for a in named[0] if all(a in other for other in named)]
    if len(common) < 2:
        return None, ["no two arms have values in all tasks, so that there are no ranks over tasks"]
    left = len(set[str]().union(*named)) - len(common)
    told = [f"{left} arms are not in all tasks and have no rank over tasks"] if left else []
    means = np.array([[values[a] for a in common] for values in named])
    return ranking(means, common, [c.label for c in tasks]), told


# ------------------------------------------------------------------ pieces
def _something(found: Sequence[Arm], by: Metric, label: str) -> None:
    if any(len(a.values) > len(a.imputed) for a in found):
        return
    of = f" of {label}" if label else ""
    ends = Counter(ending_of(r) for a in found for r in a.runs.values())
    total = sum(ends.values())
    if ends["finished"]:
        raise ConfigError("compare.metric", by.metric, f"no run{of} that came to its end has it")
    words = {"diverged": "diverged", "failed": "failed", "early": "ended early", "running": "still run"}
    if len(ends) == 1:
        raise NothingToCompareError(f"all {total} runs{of} {words[next(iter(ends))]}: there is nothing to compare")
    told = ", ".join(f"{n} {words[e]}" for e, n in ends.items())
    raise NothingToCompareError(f"none of {total} runs{of} came to its end ({told}): there is nothing to compare")


def _without(arm: Arm) -> Row:
    nan = math.nan
    return Row(arm=arm, rank=None, n=0, mean=nan, sd=nan, low=nan, high=nan, method="", iqm=nan)


def _own_unit(pair: tests.Pair | None, by: Metric) -> tests.Pair | None:
    """The difference as it would be read off the metric, where less may be better."""
    if pair is None or by.sign > 0:
        return pair
    return replace(pair, difference=-pair.difference, low=-pair.high, high=-pair.low)


def _target(found: Sequence[Arm], by: Metric, curves: Mapping[str, Curve], settings: CompareSettings) -> float:
    """As configured, else most of the way from an untrained network to the best arm's curves."""
    if settings.target is not None or not curves:
        return math.nan if settings.target is None else settings.target
    best = [
        c[-1][1] for s in found[0].values if s not in found[0].imputed and (c := curves.get(found[0].runs[s].run_id))
    ]
    start = of_arms.start([r for a in found for r in a.runs.values()], curves)
    if not best or math.isnan(start):
        return math.nan
    end = float(np.mean(best))
    return start + _LEARNED * (end - start)


def _effects(made: Comparison) -> tuple[tuple[str, str] | None, list[Effect]]:
    """Of the first two keys, where the arms are all combinations of them."""
    able = [r for r in made.rows if r.rank is not None]
    keys = list(dict.fromkeys(k for r in able for k in r.arm.choices))
    if len(keys) != 2:
        return None, []
    factors = keys[0], keys[1]
    levels = [[r.arm.choices.get(k, "") for r in able] for k in keys]
    if len(set(zip(*levels, strict=True))) < len(able) or min(len(set(column)) for column in levels) < 2:
        return None, []
    return factors, two_way(made.values[: len(able)], levels[0], levels[1], names=factors)
