"""Watches a run of an arm: reports its epochs to Optuna's pruner, or diagnoses it, and says when to end it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from initlab.core import seeds
from initlab.run.prepare import Prepared
from initlab.spec import Experiment, Outlook, Record, RunResult
from initlab.study.search.pruners import doomed
from initlab.study.space.plan import Plan

if TYPE_CHECKING:
    from optuna.trial import Trial


@dataclass
class Watcher:
    """A narrator that reports the first replica's epochs to Optuna, or diagnoses each, and remembers why to end.

    Attributes:
        pruned: the reason to end, empty where there is none.
        doomed: why the run was called doomed, also where it is spared.
        start: the metric before training, None where it was not recorded.
        seen: the last value of each key, NaN for one that was not finite.
        parameters: of the network.
    """

    trial: Trial
    metric: str
    reports: bool = False
    diagnoses: bool = False
    spared: bool = False
    pruned: str = ""
    doomed: str = ""
    start: float | None = None
    seen: dict[str, float] = field(default_factory=dict)
    parameters: int = 0
    outlook: str | None = None
    _chance: float | None = None
    _adaptive: bool = False

    def started(self, experiment: Experiment, prepared: Prepared, run_id: str, folder: Path | None) -> None:
        del run_id, folder
        self._adaptive = experiment.params.get("optimizer") != "sgd"
        self._chance = prepared.splits.baseline.accuracy
        self.parameters = prepared.parameters

    def record(self, record: Record, total: int) -> None:
        del total
        self.seen.update(record.metrics)
        self.seen.update(dict.fromkeys(record.nonfinite, math.nan))
        if not any(k.startswith("val/") for k in (*record.metrics, *record.nonfinite)):
            return
        if self.diagnoses and not self.doomed:
            epoch = round(record.epoch)
            self.doomed = doomed(self.seen, self.outlook, epoch, self._chance, adaptive=self._adaptive) or ""
            if self.doomed and not self.spared:
                self.pruned = f"diagnosed: {self.doomed}"
        value = record.metrics.get(self.metric)
        if record.step == 0:
            self.start = value
        if value is not None and self.reports and record.step > 0:
            self.trial.report(value, step=max(1, round(record.epoch)))
            if self.trial.should_prune():
                self.pruned = "behind the other arms"

    def finished(self, experiment: Experiment, result: RunResult, uri: str) -> None:
        del experiment, result, uri


class DiagnosingWatcher(Watcher):
    """One that also asks for the outlook, which is then looked for whatever the probes are."""

    def foreseen(self, outlook: Outlook) -> None:
        self.outlook = outlook.verdict


def watcher_of(trial: Trial, metric: str, plan: Plan, arm: Mapping[str, str]) -> Watcher:
    if plan.settings.pruner == "diagnostic":
        return DiagnosingWatcher(trial, metric, diagnoses=True, spared=_is_spared(plan, arm))
    return Watcher(trial, metric)


def _is_spared(plan: Plan, arm: Mapping[str, str]) -> bool:
    """Whether an arm runs on although it is called doomed: a share of all, the same in every study under one seed."""
    draw = seeds.derive(plan.seed, "spared", json.dumps(arm, sort_keys=True)) / 2**63
    return draw < plan.settings.spare
