"""Compares the study of a firing with the one before: finds arms that became worse beyond seed variance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initlab import tracking
from initlab.compare import arms as of_arms
from initlab.compare.ending import ending_of
from initlab.compare.metric import choose_metric
from initlab.errors import ConfigError
from initlab.spec import CompareSettings, TrackingSettings
from initlab.statistics.significance import compare_pair, holm
from initlab.study.space.plan import folder_of, load
from initlab.tracking.record.amend import annotate_run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from initlab.compare.arms import Raw
    from initlab.compare.metric import Metric
    from initlab.tracking import RunRecord

    Floats = NDArray[np.float64]

#: familywise significance level for calling an arm worse
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Result of the comparison with the firing before.

    Attributes:
        uri: of the store, and `run_id`, the study's own run there ("" where it has none).
        said: one sentence about what was compared.
        regressions: arms that became worse, a sentence each.
    """

    uri: str = ""
    run_id: str = ""
    said: str = ""
    regressions: tuple[str, ...] = ()


def compare_with(study: str, before: str | None, settings: TrackingSettings, workdir: Path) -> Verdict:
    """Compare the arms that two studies share, seed by seed where they share seeds.

    An arm is worse where the 95 % interval of the difference lies wholly on the worse side and its p-value, Holm's over
    all arms that are compared, is no more than 0.05; and where more of its seeds diverged or failed than before.

    Raises:
        InitlabError: the runs cannot be read.
    """
    found = tracking.read_runs(settings, workdir=workdir, studies=[study, *([before] if before else [])])
    parent = found.parents.get(study)
    own = Verdict(uri=found.uri, run_id="" if parent is None else parent.run_id)
    if before is None:
        return _extend_verdict(own, "the first of its schedule: nothing to compare it with")
    new, old = ([r for r in found.runs if r.tags.get("initlab.study") == name] for name in (study, before))
    if not new or not old:
        return _extend_verdict(own, f"{study if not new else before} has no runs in the store")
    try:
        by = _choose_study_metric(study, [*new, *old], workdir)
    except ConfigError as error:
        return _extend_verdict(own, f"not compared with {before}: {error}")
    pairs = _match_arms(of_arms.by_task(new, _ALL), of_arms.by_task(old, _ALL))
    if not pairs:
        return _extend_verdict(own, f"no arm is in {before} too: nothing to compare")
    worse, able = _find_regressions(pairs, by)
    thin = f", {len(pairs) - able} of them with too few seeds for a test" if able < len(pairs) else ""
    count = f"{len(worse)} worse" if worse else "none worse"
    return _extend_verdict(own, f"{len(pairs)} arms compared with {before} by {by.metric}{thin}: {count}", worse)


def record_verdict(verdict: Verdict, tags: Mapping[str, str], workdir: Path) -> str:
    """Tag the study's parent run and append the result to its note; returns the reason of a failure, else ""."""
    if not verdict.run_id:
        return "the study has no run of its own in the store"
    said = [verdict.said, *verdict.regressions]
    marks = dict(tags)
    if verdict.regressions:
        marks["initlab.regression"] = "; ".join(verdict.regressions)
    return annotate_run(verdict.uri, verdict.run_id, marks, said, workdir=workdir)


# ------------------------------------------------------------------ pieces
#: the task of an arm is part of its hash
_ALL = ("task", "data")
_Pair = tuple[str, Mapping[str, "RunRecord"], Mapping[str, "RunRecord"]]


def _extend_verdict(verdict: Verdict, said: str, regressions: Sequence[str] = ()) -> Verdict:
    return Verdict(uri=verdict.uri, run_id=verdict.run_id, said=said, regressions=tuple(regressions))


def _choose_study_metric(study: str, runs: Sequence[RunRecord], workdir: Path) -> Metric:
    """The metric of the study, from its plan."""
    plan = load(folder_of(workdir, study))
    metric, direction = ("", "") if plan is None else (plan.metrics[0], plan.directions[0])
    return choose_metric(runs, CompareSettings(), metric=metric, direction=direction)


def _match_arms(new: Sequence[Raw], old: Sequence[Raw]) -> list[_Pair]:
    now = {key: seeds for raw in new for key, seeds in raw.arms.items()}
    then = {key: seeds for raw in old for key, seeds in raw.arms.items()}
    names = {**of_arms.names(new, of_arms.compared(new, CompareSettings(), []))} if new else {}
    return [(_name(names, key), now[key], then[key]) for key in now if key in then]


def _name(names: Mapping[str, Mapping[str, str]], key: str) -> str:
    return " ".join(f"{k}={v}" for k, v in names.get(key, {}).items()) or key


def _find_regressions(pairs: Sequence[_Pair], by: Metric) -> tuple[list[str], int]:
    """Sentences about the arms that became worse, and the number of arms with enough seeds for a test."""
    found = [compare_pair(_values(new, old, by), 0, 1) for _, new, old in pairs]
    p = holm([math.nan if f is None else f.t for f in found])
    worse: list[str] = []
    for (name, new, old), pair, corrected in zip(pairs, found, p, strict=True):
        lost = _count_lost(new) - _count_lost(old)
        if lost > 0:
            worse.append(
                f"{name}: {_count_lost(new)} of {len(new)} seeds diverged or failed, {_count_lost(old)} before"
            )
        elif pair is not None and pair.high < 0 and corrected <= ALPHA:
            ends = sorted(by.sign * end for end in (pair.low, pair.high))
            worse.append(
                f"{name}: {by.metric} {by.sign * pair.difference:+.4g} [{ends[0]:+.4g}, {ends[1]:+.4g}]"
                f" over {pair.seeds} seeds (p = {corrected:.2g})"
            )
    return worse, sum(f is not None for f in found)


def _values(new: Mapping[str, RunRecord], old: Mapping[str, RunRecord], by: Metric) -> Floats:
    """Two rows, more always better, NaN where a seed has no value."""
    seeds = sorted({*new, *old})
    table = np.full((2, len(seeds)), math.nan)
    for i, runs in enumerate((new, old)):
        for k, seed in enumerate(seeds):
            run = runs.get(seed)
            if run is not None and ending_of(run) == "finished" and by.metric in run.metrics:
                table[i, k] = by.sign * run.metrics[by.metric]
    return table


def _count_lost(runs: Mapping[str, RunRecord]) -> int:
    return sum(ending_of(r) in ("diverged", "failed") for r in runs.values())
