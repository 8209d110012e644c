"""One arm of a study: the same configuration under several seeds, and the number it is judged by."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from initlab import tracking
from initlab.core import seeds
from initlab.errors import InitlabError
from initlab.run.episodes import run_episodes
from initlab.run.prepare import Prepared
from initlab.run.train import run
from initlab.spec import Experiment, Outlook, Record, RunResult, RunStatus
from initlab.statistics.student import interval
from initlab.study.search import ledger, tune
from initlab.study.search.arms import Replica
from initlab.study.search.heartbeat import Hold
from initlab.study.search.pruners import doomed
from initlab.study.search.trials import ARM, CHOICES, DOOMED, REPLICAS, SWEEP, planned_choices, replicas_of
from initlab.study.space.compose import experiment_of
from initlab.study.space.objectives import Metrics, numbers, picked
from initlab.study.space.plan import Plan

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial, TrialState


#: seconds of training that a worker which is killed may lose beside the run at hand
_UNNOTED = 0.5
#: characters of a reason that are kept; the whole is in the arm's log
_REASON = 600


class Interrupted(Exception):  # noqa: N818  not an error: somebody asked for it
    """The worker was asked to stop; the arm is to be begun anew."""


def replica(first: Experiment, plan: Plan, number: int) -> Experiment:
    """The same arm under the seed of replica `number`."""
    return _under(plan.seed + number, first)


def _under(seed: int, first: Experiment) -> Experiment:
    name = first.name.rpartition("-s")[0] + f"-s{seed}"
    yaml = first.config_yaml.replace(f"\nseed: {first.seed}\n", f"\nseed: {seed}\n")
    return replace(first, seed=seed, name=name, params={**first.params, "seed": seed}, config_yaml=yaml)


def work_on(study: Study, trial: Trial, plan: Plan, *, stop: Callable[[], bool], tail: tracking.ClosingRuns) -> None:
    """Train the arm that `trial` stands for and tell Optuna. Whatever goes wrong costs this arm alone.

    The records of its runs arrive while the next ones train: the caller settles `tail`.
    """
    from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
    from optuna.trial import TrialState

    begun = time.perf_counter()
    try:
        with Hold(study, trial) as hold:
            arm = _arm(study, trial, plan)
            values, state, reason = _trained(trial, arm, plan, stop=stop, lost=hold.lost, tail=tail)
    except Interrupted:
        mine = study._storage.get_trial(trial._trial_id)  # pyright: ignore[reportPrivateUsage]
        ledger.begin_anew(study, mine, plan.folder, died=False)
        return
    except (ledger.Lost, UpdateFinishedTrialError):
        return  # whoever has the arm now tells
    except StorageInternalError:
        raise  # not the arm's fault
    except Exception as error:
        text = str(error) if isinstance(error, InitlabError) else f"{type(error).__name__}: {error}"
        (plan.folder / f"trial-{trial.number}.log").write_text(traceback.format_exc(), encoding="utf-8")
        values, state, reason = None, TrialState.FAIL, " ".join(text.split())[:_REASON]
    seconds = time.perf_counter() - begun
    with suppress(ledger.Lost):
        ledger.finish(study, trial, plan.folder, values=values, state=state, reason=reason, seconds=seconds)


@dataclass
class _Watcher:
    """A narrator that reports the first replica's epochs to Optuna, or diagnoses each, and remembers why to end.

    Attributes:
        pruned: the reason to end, empty where there is none.
        doomed: why the run was called doomed, also where it is spared.
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
        if value is not None and self.reports and record.step > 0:
            self.trial.report(value, step=max(1, round(record.epoch)))
            if self.trial.should_prune():
                self.pruned = "behind the other arms"

    def finished(self, experiment: Experiment, result: RunResult, uri: str) -> None:
        del experiment, result, uri


class _Diagnosing(_Watcher):
    """One that also asks for the outlook, which is then looked for whatever the probes are."""

    def foreseen(self, outlook: Outlook) -> None:
        self.outlook = outlook.verdict


def _watcher(trial: Trial, metric: str, plan: Plan, arm: Mapping[str, str]) -> _Watcher:
    if plan.settings.pruner == "diagnostic":
        return _Diagnosing(trial, metric, diagnoses=True, spared=_is_spared(plan, arm))
    return _Watcher(trial, metric)


def _arm(study: Study, trial: Trial, plan: Plan) -> dict[str, str]:
    """The choices of a trial. Those of a grid are its own business, and no parameters of Optuna's, which could not bear
    one more value in a study that goes on."""
    if plan.settings.sampler == "grid":
        return planned_choices(study._storage.get_trial(trial._trial_id))  # pyright: ignore[reportPrivateUsage]
    return plan.space.suggest(trial)


def _trained(
    trial: Trial,
    arm: Mapping[str, str],
    plan: Plan,
    *,
    stop: Callable[[], bool],
    lost: Callable[[], bool],
    tail: tracking.ClosingRuns,
) -> tuple[tuple[float, ...] | None, TrialState, str]:
    from optuna.trial import TrialState

    trial.set_user_attr(CHOICES, json.dumps(arm))
    first = experiment_of(plan, arm, trial=trial.number)
    trial.set_user_attr(ARM, first.arm)
    train = partial(_ended, workdir=plan.workdir, stop=stop, lost=lost, tail=tail)
    if plan.settings.tune_lr:
        sweep = _swept(trial, arm, plan, tune.own_lr(first.params), train)
        if sweep.chosen is None:
            return None, TrialState.PRUNED, sweep.note
        # the arm goes by the configuration that it was asked with, its runs by what they really trained
        first = experiment_of(plan, {**arm, tune.LR: repr(sweep.chosen)}, trial=trial.number)
    metric, over_seeds = plan.metrics[0], plan.settings.pruner == "wilcoxon"
    # an arm that is begun anew goes on with the replicas that its former worker had the end of
    done = replicas_of(trial.user_attrs)
    notes = _Notes(trial, done)
    for number in range(len(done), plan.replicas):
        watcher = _watcher(trial, metric, plan, arm)
        watcher.reports = number == 0 and plan.settings.pruner in ("median", "hyperband")
        experiment = replica(first, plan, number)
        with notes.kept():
            result = train(experiment, watcher)
        values, status = _values(result, watcher, plan.metrics)
        done.append(_replica_of(experiment.seed, values, status, result.run_id))
        notes.add(last=number + 1 == plan.replicas or bool(watcher.pruned))
        if watcher.pruned and result.status == "killed":
            return None, TrialState.PRUNED, f"{watcher.pruned} after {result.steps} updates"
        if watcher.doomed:
            trial.set_user_attr(DOOMED, watcher.doomed)
        if over_seeds and values is not None:
            trial.report(values[0], step=number)
            if trial.should_prune():
                notes.write()
                return None, TrialState.PRUNED, f"pruned by wilcoxon after {number + 1} of {plan.replicas} seeds"
    return _judged(done, plan)


class _Notes:
    """Notes in the study which replicas have ended: those of tiny runs a few at a time, since a note takes as long as
    several updates. Whoever takes the arm over trains what is not noted once more."""

    def __init__(self, trial: Trial, done: Sequence[Replica]) -> None:
        self._trial, self._done = trial, done
        self._written, self._when = len(done), time.monotonic()

    def add(self, *, last: bool) -> None:
        """One more has ended; nobody adds to them after the `last`."""
        if last or time.monotonic() - self._when > _UNNOTED:
            self.write()

    def write(self) -> None:
        """Note all of them."""
        if self._written < len(self._done):
            self._trial.set_user_attr(REPLICAS, json.dumps([asdict(r) for r in self._done]))
            self._written, self._when = len(self._done), time.monotonic()

    @contextmanager
    def kept(self) -> Generator[None]:
        """Note them also where what is done inside ends the arm."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, ledger.Lost):  # then it is somebody else's
                self.write()
            raise


def _ended(
    experiment: Experiment,
    watcher: _Watcher,
    *,
    workdir: Path,
    stop: Callable[[], bool],
    lost: Callable[[], bool],
    tail: tracking.ClosingRuns,
) -> RunResult:
    """A run, to its end or to where the watcher ends it."""

    def ends() -> bool:
        return bool(watcher.pruned) or stop() or lost()

    start = run if experiment.task.episodes is None else run_episodes
    result = start(experiment, workdir=workdir, narrator=watcher, stop=ends, tail=tail)
    if lost():
        raise ledger.Lost
    if result.status == "killed" and not watcher.pruned:
        raise Interrupted
    return result


def _values(result: RunResult, watcher: _Watcher, metrics: Metrics) -> tuple[tuple[float, ...] | None, RunStatus]:
    """What a run is judged by, and how it ended; without its numbers it has failed."""
    ended = result.status in ("finished", "stopped")
    values = picked(numbers(result, watcher.seen, watcher.parameters), metrics) if ended else None
    return values, result.status if values is not None or result.status != "finished" else "failed"


def _swept(
    trial: Trial,
    arm: Mapping[str, str],
    plan: Plan,
    lr: float,
    train: Callable[[Experiment, _Watcher], RunResult],
) -> tune.Sweep:
    """The sweep of an arm's learning rate about `lr`; that of an earlier attempt at the arm, where it was whole."""
    if SWEEP in trial.user_attrs:
        return tune.Sweep.from_json(json.loads(trial.user_attrs[SWEEP]))
    settings, metric = plan.settings, tune.metric(plan.metrics[0])
    shorter = {} if settings.tune_epochs is None else {"trainer.epochs": str(settings.tune_epochs)}

    def measure(lr: float) -> tune.Point:
        tried = experiment_of(plan, {**arm, **shorter, tune.LR: repr(lr)}, trial=trial.number)
        tried = _under(tune.seed(plan.seed, plan.replicas), tried)
        tags = {**tried.tracking.tags, "initlab.tuning": "true"}
        tried = replace(tried, name=f"{tried.name}-lr{lr:g}", tracking=replace(tried.tracking, tags=tags, report=False))
        watcher = _watcher(trial, metric, plan, arm)
        result = train(tried, watcher)
        values, status = _values(result, watcher, metric)
        return tune.Point(lr=lr, value=values[0] if values else None, status=status, run_id=result.run_id)

    found = tune.sweep(lr, settings.lr_factors, measure, maximises=plan.maximises)
    trial.set_user_attr(SWEEP, json.dumps(found.as_json()))
    return found


def _is_spared(plan: Plan, arm: Mapping[str, str]) -> bool:
    """Whether an arm runs on although it is called doomed: a share of all, the same in every study under one seed."""
    draw = seeds.derive(plan.seed, "spared", json.dumps(arm, sort_keys=True)) / 2**63
    return draw < plan.settings.spare


def _replica_of(seed: int, values: tuple[float, ...] | None, status: RunStatus, run_id: str) -> Replica:
    found = values or ()
    several = found if len(found) > 1 else ()
    return Replica(seed=seed, value=found[0] if found else None, status=status, run_id=run_id, values=several)


def _judged(done: list[Replica], plan: Plan) -> tuple[tuple[float, ...] | None, TrialState, str]:
    """Of each metric the mean over the replicas, or the bound of its interval; an arm of which a replica diverged has
    no value."""
    from optuna.trial import TrialState

    lost = [r for r in done if r.value is None]
    if lost:
        words = ", ".join(sorted({r.status for r in lost}))
        return None, TrialState.PRUNED, f"{words}: {len(lost)} of {len(done)} seeds"
    by_seed = [r.values or (r.value,) for r in done if r.value is not None]
    judged = tuple(
        _objective(values, plan, maximises=way == "maximize")
        for values, way in zip(zip(*by_seed, strict=True), plan.directions, strict=True)
    )
    return judged, TrialState.COMPLETE, ""


def _objective(values: Sequence[float], plan: Plan, *, maximises: bool) -> float:
    if plan.settings.objective == "mean" or len(values) < 2:
        return mean(values)
    found = interval(values)
    bound = found.low if maximises else found.high
    return bound if math.isfinite(bound) else found.mean
