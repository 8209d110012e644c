"""One arm of a study: the same configuration under several seeds, and the number it is judged by."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import seeds
from initlab.episodes import run_episodes
from initlab.errors import InitlabError
from initlab.interval import interval
from initlab.prepare import Prepared
from initlab.run import run
from initlab.spec import Experiment, Outlook, Record, RunResult
from initlab.study import ledger
from initlab.study.board import Replica
from initlab.study.plan import Plan
from initlab.study.pruners import doomed

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial, TrialState


class Interrupted(Exception):  # noqa: N818  not an error: somebody asked for it
    """The worker was asked to stop; the arm is to be begun anew."""


def experiment_of(plan: Plan, arm: Mapping[str, str], *, trial: int | None = None) -> Experiment:
    """The first replica of an arm, composed from the study's own copy of the configuration files.

    Raises:
        InitlabError: a combination that does not compose.
    """
    overrides = plan.space.overrides(dict(arm))
    decided = configuration.experiment(configuration.compose(overrides, folder=plan.conf), overrides=overrides)
    tags = {"initlab.study": plan.name}
    if trial is not None:
        tags["initlab.trial"] = str(trial)
    if plan.parent:
        tags["mlflow.parentRunId"] = plan.parent
    return replace(decided, tracking=replace(decided.tracking, tags={**decided.tracking.tags, **tags}))


def replica(first: Experiment, plan: Plan, number: int) -> Experiment:
    """The same arm under the seed of replica `number`."""
    seed = plan.seed + number
    name = first.name.rpartition("-s")[0] + f"-s{seed}"
    yaml = first.config_yaml.replace(f"\nseed: {first.seed}\n", f"\nseed: {seed}\n")
    return replace(first, seed=seed, name=name, params={**first.params, "seed": seed}, config_yaml=yaml)


def work_on(study: Study, trial: Trial, plan: Plan, *, stop: Callable[[], bool]) -> None:
    """Train the arm that `trial` stands for and tell Optuna. Whatever goes wrong costs this arm alone."""
    from optuna.trial import TrialState

    begun = time.perf_counter()
    try:
        with ledger.heartbeat(study, trial):
            value, state, reason = _trained(trial, _arm(study, trial, plan), plan, stop)
    except Interrupted:
        ledger.begin_anew(study, study._storage.get_trial(trial._trial_id))  # pyright: ignore[reportPrivateUsage]
        return
    except Exception as error:
        text = str(error) if isinstance(error, InitlabError) else f"{type(error).__name__}: {error}"
        (plan.folder / f"trial-{trial.number}.log").write_text(traceback.format_exc(), encoding="utf-8")
        value, state, reason = None, TrialState.FAIL, " ".join(text.split())[:300]
    trial.set_user_attr(ledger.REASON, reason)
    trial.set_user_attr(ledger.SECONDS, time.perf_counter() - begun)
    study.tell(trial, value, state=state)


@dataclass
class _Watcher:
    """A narrator that reports the first replica's epochs to Optuna, or diagnoses each, and remembers why to end.

    Attributes:
        pruned: the reason to end, empty where there is none.
        doomed: why the run was called doomed, also where it is spared.
    """

    trial: Trial
    metric: str
    reports: bool = False
    diagnoses: bool = False
    spared: bool = False
    pruned: str = ""
    doomed: str = ""
    _seen: dict[str, float] = field(default_factory=dict)
    _outlook: str | None = None
    _chance: float | None = None

    def foreseen(self, outlook: Outlook) -> None:
        self._outlook = outlook.verdict

    def started(self, experiment: Experiment, prepared: Prepared, run_id: str, folder: Path | None) -> None:
        del experiment, run_id, folder
        self._chance = prepared.splits.baseline.accuracy

    def record(self, record: Record, total: int) -> None:
        del total
        self._seen.update(record.metrics)
        self._seen.update(dict.fromkeys(record.nonfinite, math.nan))
        if not any(k.startswith("val/") for k in (*record.metrics, *record.nonfinite)):
            return
        if self.diagnoses and not self.doomed:
            self.doomed = doomed(self._seen, self._outlook, round(record.epoch), self._chance) or ""
            if self.doomed and not self.spared:
                self.pruned = f"diagnosed: {self.doomed}"
        value = record.metrics.get(self.metric)
        if value is not None and self.reports and record.step > 0:
            self.trial.report(value, step=max(1, round(record.epoch)))
            if self.trial.should_prune():
                self.pruned = "behind the other arms"

    def finished(self, experiment: Experiment, result: RunResult, uri: str) -> None:
        del experiment, result, uri


def _arm(study: Study, trial: Trial, plan: Plan) -> dict[str, str]:
    """The choices of a trial. Those of a grid are its own business, and no parameters of Optuna's, which could not bear
    one more value in a study that goes on."""
    if plan.settings.sampler == "grid":
        return ledger.planned(study._storage.get_trial(trial._trial_id))  # pyright: ignore[reportPrivateUsage]
    return plan.space.suggest(trial)


def _trained(
    trial: Trial, arm: Mapping[str, str], plan: Plan, stop: Callable[[], bool]
) -> tuple[float | None, TrialState, str]:
    from optuna.trial import TrialState

    trial.set_user_attr(ledger.CHOICES, json.dumps(arm))
    first = experiment_of(plan, arm, trial=trial.number)
    trial.set_user_attr(ledger.ARM, first.arm)
    metric, over_seeds = plan.settings.metric, plan.settings.pruner == "wilcoxon"
    done: list[Replica] = []
    for number in range(plan.replicas):
        watcher = _Watcher(
            trial, metric, reports=number == 0 and plan.settings.pruner in ("median", "hyperband"),
            diagnoses=plan.settings.pruner == "diagnostic", spared=_is_spared(plan, arm),
        )  # fmt: skip

        def ends(watcher: _Watcher = watcher) -> bool:
            return bool(watcher.pruned) or stop()

        experiment = replica(first, plan, number)
        start = run if experiment.task.episodes is None else run_episodes
        result = start(experiment, workdir=plan.workdir, narrator=watcher, stop=ends)
        if result.status == "killed" and not watcher.pruned:
            raise Interrupted
        value = result.metrics.get(metric) if result.status in ("finished", "stopped") else None
        status = result.status if value is not None or result.status != "finished" else "failed"
        done.append(Replica(seed=experiment.seed, value=value, status=status, run_id=result.run_id))
        trial.set_user_attr(ledger.REPLICAS, json.dumps([asdict(r) for r in done]))
        if watcher.pruned and result.status == "killed":
            return None, TrialState.PRUNED, f"{watcher.pruned} after {result.steps} updates"
        if watcher.doomed:
            trial.set_user_attr(ledger.DOOMED, watcher.doomed)
        if over_seeds and value is not None:
            trial.report(value, step=number)
            if trial.should_prune():
                return None, TrialState.PRUNED, f"pruned by wilcoxon after {number + 1} of {plan.replicas} seeds"
    return _judged(done, plan)


def _is_spared(plan: Plan, arm: Mapping[str, str]) -> bool:
    """Whether an arm runs on although it is called doomed: a share of all, the same in every study under one seed."""
    draw = seeds.derive(plan.seed, "spared", json.dumps(arm, sort_keys=True)) / 2**63
    return draw < plan.settings.spare


def _judged(done: list[Replica], plan: Plan) -> tuple[float | None, TrialState, str]:
    """Mean over the replicas, or the bound of its interval; an arm of which a replica diverged has no value."""
    from optuna.trial import TrialState

    lost = [r for r in done if r.value is None]
    if lost:
        words = ", ".join(sorted({r.status for r in lost}))
        return None, TrialState.PRUNED, f"{words}: {len(lost)} of {len(done)} seeds"
    values = [r.value for r in done if r.value is not None]
    if plan.settings.objective == "mean" or len(values) < 2:
        return mean(values), TrialState.COMPLETE, ""
    found = interval(values)
    bound = found.low if plan.maximises else found.high
    return (bound if math.isfinite(bound) else found.mean), TrialState.COMPLETE, ""
