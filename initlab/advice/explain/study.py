"""Explains the ranking of a study: the best set, early diagnostics, and arms that never trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, mean
from typing import Any

from initlab import tracking
from initlab.advice.explain.mechanisms import MECHANISMS, UNKNOWN
from initlab.compare import arms as of_arms
from initlab.compare.comparison import compare
from initlab.compare.ending import ending_of
from initlab.compare.metric import choose_metric, study_metric
from initlab.compare.result import Comparison
from initlab.compare.table import answer_lines
from initlab.diagnosis.rules import OUTCOMES
from initlab.errors import ConfigError, one_of
from initlab.spec import CompareSettings, TrackingSettings
from initlab.tracking import Curve, Found, RunRecord

#: last update whose readings count as early
EARLY = 50
#: minimum number of arms for a rank correlation
MIN_ARMS = 5


def _factor(value: float) -> float:
    """Distance of a ratio from 1, in either direction."""
    return abs(math.log(value)) if value > 0 else math.inf


def _identity(value: float) -> float:
    return value


#: early readings: metric key, label, and ranked value; a reading that is harmful in both directions is a distance
_READINGS: tuple[tuple[str, str, Callable[[float], float]], ...] = (
    ("diag/grad_ratio", "gradient first/last layer, factor from 1", _factor),
    ("diag/act_std_min", "smallest activation std, factor from 1", _factor),
    ("diag/act_std_max", "largest activation std, factor from 1", _factor),
    ("diag/saturated_max", "largest saturated share", _identity),
    ("diag/dead_max", "largest dead share", _identity),
    ("diag/update_ratio_median", "median update, factor from 1e-3", lambda v: _factor(v / 1e-3)),
    ("diag/grad_norm", "gradient norm of all parameters", _identity),
    ("train/loss", "training loss", _identity),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Rank correlation over arms of an early reading with the final result, with its 95 % interval.

    `step` is the update of the reading; `p` is corrected (Holm) for all tested readings.
    """

    words: str
    step: int
    rho: float
    low: float
    high: float
    n: int
    p: float


def explain_study(name: str, settings: TrackingSettings, *, workdir: Path) -> list[str]:
    """The explanation, as lines.

    Raises:
        ConfigError: a study that does not exist, or without an ended run.
    """
    found = tracking.read_runs(settings, workdir=workdir, studies=(name,))
    if name not in found.studies:
        there = one_of(found.studies, name) if found.studies else "the store has no study yet"
        raise ConfigError("study", name, f"no such study; {there}")
    runs = [r for r in found.runs if r.tags.get("initlab.study") == name]
    if not runs:
        raise ConfigError("study", name, "has no run yet: there is nothing to explain")
    said: list[str] = []
    parents = [found.parents[name]] if name in found.parents else []
    raws = of_arms.by_task(runs, of_arms.searched(parents))
    keys = of_arms.compared(raws, CompareSettings(), parents)
    choices = of_arms.names(raws, keys)
    for raw in raws:
        own = [r for seeds in raw.arms.values() for r in seeds.values()]
        ended = [r for r in own if ending_of(r) in ("finished", "diverged")]
        said.append(f"study {name}{f', {raw.label}' if len(raws) > 1 else ''}: {len(raw.arms)} arms, {len(own)} runs,"
                    f" {len(ended)} of which ended")  # fmt: skip
        if not any(ending_of(r) == "finished" for r in own):
            why = "all diverged" if ended else "none ended"
            said += [f"Nothing can be ranked: {why}.", *_format_untrained(raw, choices)]
            continue
        metric, direction = study_metric(found, parents, workdir=workdir)
        by = choose_metric(own, CompareSettings(), metric=metric, direction=direction)
        curves = tracking.read_curves(found, own, by.curve, workdir=workdir)[0] if by.curve else {}
        made = compare(raw, by, choices, curves, CompareSettings(), keys=keys)
        said += _format_ranking(made)
        said += ["", *_format_predictors(made, read_early_curves(found, own, workdir=workdir))]
        said += ["", *_format_untrained(raw, choices)]
    return said


# ------------------------------------------------------------------ what predicts the result
def read_early_curves(found: Found, runs: Sequence[RunRecord], *, workdir: Path) -> dict[str, Mapping[str, Curve]]:
    """Metric → run → its values up to update 50, for readings that any run has."""
    there = {k for r in runs for k in r.metrics}
    read: dict[str, Mapping[str, Curve]] = {}
    for key, _, _ in _READINGS:
        if key in there:
            curves, _why = tracking.read_curves(found, runs, key, workdir=workdir)
            read[key] = {i: tuple(p for p in c if p[0] <= EARLY) for i, c in curves.items()}
    return read


def correlations(made: Comparison, readings: Mapping[str, Mapping[str, Curve]]) -> list[Correlation]:
    """Rank correlation of each early reading with the final result over the arms that have both, strongest first.

    The reading of an arm is the mean over its seeds of the latest value up to update 50. The interval is Fisher's with
    the variance of Bonett and Wright (2000) for ranks, (1 + ρ²/2)/(n - 3).
    """
    from initlab.statistics.significance import holm

    raw: list[tuple[str, int, float, int, float]] = []
    for key, words, ranked in _READINGS:
        points: list[tuple[float, float]] = []
        steps: list[int] = []
        for row in made.rows:
            last = [c[-1] for r in row.arm.runs.values() if (c := readings.get(key, {}).get(r.run_id))]
            if last and math.isfinite(row.mean):
                points.append((mean(ranked(v) for _, v in last), made.by.sign * row.mean))
                steps += [s for s, _ in last]
        if len(points) < MIN_ARMS or len({x for x, _ in points}) < 2 or len({y for _, y in points}) < 2:
            continue
        rho, p = _spearman(points)
        raw.append((words, max(steps), rho, len(points), p))
    corrected = holm([p for *_, p in raw])
    found = [
        Correlation(
            words=w,
            step=s,
            rho=rho,
            low=_confidence_limit(rho, n, -1),
            high=_confidence_limit(rho, n, 1),
            n=n,
            p=float(q),
        )
        for (w, s, rho, n, _), q in zip(raw, corrected, strict=True)
    ]
    return sorted(found, key=lambda c: -abs(c.rho))


def _spearman(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    from scipy.stats import spearmanr

    found: Any = spearmanr([x for x, _ in points], [y for _, y in points])  # its stubs type the result as a tuple
    return float(found.statistic), float(found.pvalue)


def _confidence_limit(rho: float, n: int, side: int) -> float:
    if abs(rho) >= 1:
        return rho
    width = NormalDist().inv_cdf(0.975) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return math.tanh(math.atanh(rho) + side * width)


# ------------------------------------------------------------------ in words
def _format_predictors(made: Comparison, readings: Mapping[str, Mapping[str, Curve]]) -> list[str]:
    arms = sum(math.isfinite(r.mean) for r in made.rows)
    if arms < MIN_ARMS:
        return [
            f"What predicts the result early: {arms} arms are too few for a rank correlation (at least {MIN_ARMS})."
        ]
    found = correlations(made, readings)
    if not found:
        return ["What predicts the result early: the runs have no readings up to update 50 that differ between arms."]
    best = found[0]
    lead = (
        f"What predicts the result early: {best.words} at update {best.step}, Spearman {best.rho:+.2f}"
        f" ({best.low:+.2f} to {best.high:+.2f}, {best.n} arms)"
    )
    if best.low <= 0 <= best.high or not best.p < 0.05:
        lead = (
            f"No early reading predicts the result beyond chance; the strongest is {best.words} at update {best.step}"
        )
        lead += f", Spearman {best.rho:+.2f} ({best.low:+.2f} to {best.high:+.2f}, {best.n} arms)"
    said = [f"{lead}; p corrected for {len(found)} readings: {best.p:.2g}."]
    said += [
        f"  {c.rho:+.2f} ({c.low:+.2f} to {c.high:+.2f})  {c.words}, update {c.step}, p {c.p:.2g}" for c in found[1:5]
    ]
    if best.n < 10:
        said.append(f"  {best.n} arms are few: read the intervals and not the numbers.")
    return said


def _format_ranking(made: Comparison) -> list[str]:
    """The result of the comparison, in its own words."""
    said = [f"{line[:1].upper()}{line[1:]}" for line in answer_lines(made)[:1]]
    if all(r.winner is None for r in made.rows):
        said.append("Too few seeds for a test: no arm is called worse (replicas=5).")
    return said


def _format_untrained(raw: of_arms.Raw, choices: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Arms without any run that learned, grouped by cause."""
    groups: dict[str, list[str]] = {}
    for arm, seeds in raw.arms.items():
        ended = [r for r in seeds.values() if ending_of(r) in ("finished", "diverged", "failed", "pruned")]
        if ended and all(_cause(r) for r in ended):
            name = " ".join(f"{k}={v}" for k, v in choices[arm].items())
            groups.setdefault(_cause(ended[0]), []).append(name)
    if not groups:
        return ["Every arm trained with at least one seed."]
    said = [f"Never trained: {sum(map(len, groups.values()))} of {len(raw.arms)} arms"]
    for cause, names in sorted(groups.items(), key=lambda g: -len(g[1])):
        because = MECHANISMS.get(cause, UNKNOWN).because
        said.append(f"  {cause} ({because}): {'; '.join(sorted(names))}")
    return said


def _cause(run: RunRecord) -> str:
    """The cause of a run that learned nothing; empty for one that did."""
    verdict = [v for v in run.tags.get("initlab.verdict", "").split(",") if v]
    if ending_of(run) != "diverged" and not set(verdict) & set(OUTCOMES):
        return ""
    return next((v for v in verdict if v not in OUTCOMES), verdict[0] if verdict else "diverged")
