"""Trains one arm of a study: its configuration under several seeds, scored by the objective."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import tracking
from initlab.core.memory import explain_memory
from initlab.errors import InitlabError
from initlab.run.cohort import Cohorts
from initlab.run.episodes import run_episodes
from initlab.run.train import run
from initlab.spec import Experiment, RunResult
from initlab.study.search import ledger, tune
from initlab.study.search.arms import Replica
from initlab.study.search.heartbeat import Hold
from initlab.study.search.trials import DOOMED, REPLICAS, SWEEP, replicas_of
from initlab.study.space.compose import experiment_of
from initlab.study.space.plan import Plan
from initlab.study.workers.cohort import Job, can_share, replica, train_together, with_seed
from initlab.study.workers.score import replica_of, score_of, values_of
from initlab.study.workers.watcher import Watcher, watcher_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial, TrialState


#: seconds of training that a worker which is killed may lose beside the run at hand
_UNNOTED = 0.5
#: characters of a reason that are kept; the whole is in the arm's log
_REASON = 600


class Interrupted(Exception):  # noqa: N818  not an error: somebody asked for it
    """The worker was asked to stop; the arm is to be begun anew."""


def work_on(
    study: Study,
    trials: Sequence[Trial],
    plan: Plan,
    *,
    stop: Callable[[], bool],
    tail: tracking.ClosingRuns,
    cohorts: Cohorts,
) -> None:
    """Train the arms that `trials` stand for and tell Optuna. Whatever goes wrong in an arm costs this arm alone.

    The records of the runs arrive while the next ones train: the caller settles `tail`.
    """
    with ExitStack() as holds:
        jobs = [Job(trial, hold, plan) for trial in trials for hold in (holds.enter_context(Hold(study, trial)),)]
        if can_share(plan, cohorts):
            train_together(jobs, plan, cohorts=cohorts, stop=stop, tail=tail)
        for job in jobs:
            _conclude(study, job, plan, stop=stop, tail=tail)


def _conclude(study: Study, job: Job, plan: Plan, *, stop: Callable[[], bool], tail: tracking.ClosingRuns) -> None:
    """Train what is left of an arm, and note what came of it."""
    from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
    from optuna.trial import TrialState

    trial = job.trial
    try:
        if stop() and not job.ready and job.error is None and any(True for _ in job.missing()):
            raise Interrupted
        values, state, reason = _trained(job, plan, stop=stop, tail=tail)
    except Interrupted:
        mine = study._storage.get_trial(trial._trial_id)  # pyright: ignore[reportPrivateUsage]
        ledger.begin_anew(study, mine, plan.folder, died=False)
        return
    except (ledger.Lost, UpdateFinishedTrialError):
        return  # whoever has the arm now tells
    except StorageInternalError:
        raise  # not the arm's fault
    except Exception as error:
        plain = str(error) if isinstance(error, InitlabError) else f"{type(error).__name__}: {error}"
        text = explain_memory(error) or plain
        lines = "".join(traceback.format_exception(error))
        (plan.folder / f"trial-{trial.number}.log").write_text(lines, encoding="utf-8", errors="backslashreplace")
        values, state, reason = None, TrialState.FAIL, " ".join(text.split())[:_REASON]
    with suppress(ledger.Lost):
        ledger.finish(study, trial, plan.folder, values=values, state=state, reason=reason, seconds=job.seconds())


def _trained(
    job: Job, plan: Plan, *, stop: Callable[[], bool], tail: tracking.ClosingRuns
) -> tuple[tuple[float, ...] | None, TrialState, str]:
    from optuna.trial import TrialState

    trial, lost = job.trial, job.hold.lost
    if job.error is not None:
        raise job.error
    job.compose()
    first, arm = job.first, job.arm
    train = partial(_ended, workdir=plan.workdir, stop=stop, lost=lost, tail=tail)
    if plan.settings.tune_lr:
        sweep = _swept(trial, arm, plan, tune.configured_lr(first.params), train)
        if sweep.chosen is None:
            return None, TrialState.PRUNED, sweep.note
        # the arm goes by the configuration that it was asked with, its runs by what they really trained
        first = experiment_of(plan, {**arm, tune.LR: repr(sweep.chosen)}, trial=trial.number)
    over_seeds = plan.settings.pruner == "wilcoxon"
    # an arm that is begun anew goes on with the replicas that its former worker had the end of
    done = replicas_of(trial.user_attrs)
    notes = _Notes(trial, done)
    for number in range(len(done), plan.replicas):
        with notes.kept():
            if number in job.ready:
                experiment, watcher, result = job.ready.pop(number)
                _check_ending(result, watcher, lost)
            else:
                experiment, watcher = replica(first, plan, number), job.watcher(number)
                result = train(experiment, watcher)
        values, status = values_of(result, watcher, plan.metrics)
        done.append(replica_of(experiment.seed, values, status, result.run_id, watcher.start))
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
    return score_of(done, plan)


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
    watcher: Watcher,
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
    _check_ending(result, watcher, lost)
    return result


def _check_ending(result: RunResult, watcher: Watcher, lost: Callable[[], bool]) -> None:
    """Raises Lost where another worker has the arm, and Interrupted where the run was stopped but not pruned."""
    if lost():
        raise ledger.Lost
    if result.status == "killed" and not watcher.pruned:
        raise Interrupted


def _swept(
    trial: Trial,
    arm: Mapping[str, str],
    plan: Plan,
    lr: float,
    train: Callable[[Experiment, Watcher], RunResult],
) -> tune.Sweep:
    """The sweep of an arm's learning rate about `lr`; that of an earlier attempt at the arm, where it was whole."""
    if SWEEP in trial.user_attrs:
        return tune.Sweep.from_json(json.loads(trial.user_attrs[SWEEP]))
    settings, metric = plan.settings, tune.metric(plan.metrics[0])
    shorter = {} if settings.tune_epochs is None else {"trainer.epochs": str(settings.tune_epochs)}

    def measure(lr: float) -> tune.Point:
        tried = experiment_of(plan, {**arm, **shorter, tune.LR: repr(lr)}, trial=trial.number)
        tried = with_seed(tune.seed(plan.seed, plan.replicas), tried)
        tags = {**tried.tracking.tags, "initlab.tuning": "true"}
        tried = replace(tried, name=f"{tried.name}-lr{lr:g}", tracking=replace(tried.tracking, tags=tags, report=False))
        watcher = watcher_of(trial, metric, plan, arm)
        result = train(tried, watcher)
        values, status = values_of(result, watcher, metric)
        return tune.Point(lr=lr, value=values[0] if values else None, status=status, run_id=result.run_id)

    found = tune.sweep(lr, settings.lr_factors, measure, maximises=plan.maximises)
    trial.set_user_attr(SWEEP, json.dumps(found.as_json()))
    return found
