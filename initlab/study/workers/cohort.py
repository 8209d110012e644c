"""Arms at work in one worker, and the training of their replicas together as cohorts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from initlab import tracking
from initlab.run.cohort import Cohorts, Entry, train_stacked
from initlab.spec import Experiment, RunResult
from initlab.study.search.heartbeat import Hold
from initlab.study.search.trials import ARM, CHOICES, REPLICAS, planned_choices, replicas_of
from initlab.study.space.compose import experiment_of
from initlab.study.space.plan import Plan
from initlab.study.workers.score import replica_of, values_of
from initlab.study.workers.watcher import Watcher, watcher_of

if TYPE_CHECKING:
    from optuna.trial import Trial

#: samplers whose next arm does not depend on the results of the ones before
_INDEPENDENT = ("grid", "random", "qmc")
#: pruners that end a run of its own; those of further replicas begin when the first has passed
_OF_RUNS = ("median", "hyperband", "diagnostic")


class Job:
    """An arm that this worker has taken.

    Attributes:
        hold: its sign of life.
        ready: replicas that were trained in a cohort and are not noted yet: number → experiment, watcher, result.
        error: of such a replica; it ends the arm.
    """

    def __init__(self, trial: Trial, hold: Hold, plan: Plan) -> None:
        self.trial, self.hold = trial, hold
        self.ready: dict[int, tuple[Experiment, Watcher, RunResult]] = {}
        self.error: Exception | None = None
        self._plan = plan
        self._begun = time.perf_counter()
        self._together = 0.0

    @cached_property
    def arm(self) -> dict[str, str]:
        """The choices of the trial. Those of a grid are its own business, and no parameters of Optuna's, which could
        not bear one more value in a study that goes on."""
        if self._plan.settings.sampler == "grid":
            return planned_choices(self.trial.study._storage.get_trial(self.trial._trial_id))  # pyright: ignore[reportPrivateUsage]
        return self._plan.space.suggest(self.trial)

    @cached_property
    def first(self) -> Experiment:
        """The experiment of the first replica; the trial is told what it is."""
        self.trial.set_user_attr(CHOICES, json.dumps(self.arm))
        experiment = experiment_of(self._plan, self.arm, trial=self.trial.number)
        self.trial.set_user_attr(ARM, experiment.arm)
        return experiment

    def compose(self) -> None:
        """Compose the experiment of the first replica, where that was not done yet."""
        assert self.first is not None

    def watcher(self, number: int) -> Watcher:
        """The watcher of a replica."""
        watcher = watcher_of(self.trial, self._plan.metrics[0], self._plan, self.arm)
        watcher.reports = number == 0 and self._plan.settings.pruner in ("median", "hyperband")
        return watcher

    def missing(self) -> Iterable[int]:
        """Numbers of the replicas that nobody has trained yet."""
        done = len(replicas_of(self.trial.user_attrs))
        return (n for n in range(done, self._plan.replicas) if n not in self.ready)

    def note(self) -> None:
        """Note the first replicas that are ready and simply at their end, so that a worker that dies loses none."""
        done = replicas_of(self.trial.user_attrs)
        before = len(done)
        while (made := self.ready.get(len(done))) is not None:
            experiment, watcher, result = made
            if result.status == "killed" or watcher.pruned or watcher.doomed or self.hold.lost():
                break
            del self.ready[len(done)]
            values, status = values_of(result, watcher, self._plan.metrics)
            done.append(replica_of(experiment.seed, values, status, result.run_id, watcher.start))
            self._together += result.seconds
        if len(done) > before:
            self.trial.set_user_attr(REPLICAS, json.dumps([asdict(r) for r in done]))

    def begin(self) -> None:
        """The arm's own time begins: what was trained together before counts by the share of its runs."""
        self._begun = time.perf_counter()
        self._together += sum(result.seconds for _, _, result in self.ready.values())

    def seconds(self) -> float:
        """Seconds that the arm has taken."""
        return self._together + time.perf_counter() - self._begun


def replica(first: Experiment, plan: Plan, number: int) -> Experiment:
    """The same arm under the seed of replica `number`."""
    return with_seed(plan.seed + number, first)


def with_seed(seed: int, first: Experiment) -> Experiment:
    """The same arm under another seed."""
    name = first.name.rpartition("-s")[0] + f"-s{seed}"
    yaml = first.config_yaml.replace(f"\nseed: {first.seed}\n", f"\nseed: {seed}\n")
    return replace(first, seed=seed, name=name, params={**first.params, "seed": seed}, config_yaml=yaml)


def can_share(plan: Plan, cohorts: Cohorts) -> bool:
    """Whether arms of this study may train together. A sweep of learning rates and a comparison over seeds decide after
    each run what the next one is."""
    settings = plan.settings
    return cohorts.most > 1 and not settings.tune_lr and settings.pruner != "wilcoxon"


def arms_at_once(plan: Plan, cohorts: Cohorts) -> int:
    """How many arms a worker takes at once: enough for a cohort, where arms do not depend on each other's results and
    the ones before them could be stacked."""
    if not (cohorts.stacks and can_share(plan, cohorts)) or plan.settings.sampler not in _INDEPENDENT or plan.endless:
        return 1
    return max(1, cohorts.most // plan.replicas)


def train_together(
    jobs: Sequence[Job], plan: Plan, *, cohorts: Cohorts, stop: Callable[[], bool], tail: tracking.ClosingRuns
) -> None:
    """Train the replicas of all arms that can be stacked, and note them in the trials or, if they say more, in `ready`.

    What is left goes through the loop: arms that cannot be stacked, and single replicas.
    """
    waits_for_first = plan.settings.pruner in _OF_RUNS and len(jobs) > 1
    open_jobs = list(jobs)
    while open_jobs and not stop():
        most = 1 if waits_for_first else cohorts.most
        waits_for_first = False
        trained = _train_round(open_jobs, plan, most=most, cohorts=cohorts, stop=stop, tail=tail)
        for job in trained:
            job.note()
        open_jobs = [j for j in trained if j.error is None and not j.ready and any(True for _ in j.missing())]
    for job in jobs:
        job.begin()


def _train_round(
    jobs: Sequence[Job],
    plan: Plan,
    *,
    most: int,
    cohorts: Cohorts,
    stop: Callable[[], bool],
    tail: tracking.ClosingRuns,
) -> list[Job]:
    """Train at most so many replicas of each arm; returns the arms of which some were."""
    entries: list[Entry] = []
    places: list[tuple[Job, int, Watcher]] = []
    for job in jobs:
        try:
            first, numbers = job.first, list(islice(job.missing(), most))
            watchers = {n: job.watcher(n) for n in numbers}
        except Exception as error:  # it ends this arm alone
            job.error = error
            continue
        for number, watcher in watchers.items():
            ends = _Ends(job, list(watchers.values()), stop)
            entries.append(Entry(experiment=replica(first, plan, number), narrator=watcher, stop=ends, group=id(job)))
            places.append((job, number, watcher))
    found = train_stacked(entries, cohorts=cohorts, workdir=plan.workdir, tail=tail, stop=stop)
    for (job, number, watcher), entry, result in zip(places, entries, found, strict=True):
        if isinstance(result, Exception):
            job.error = job.error or result
        elif result is not None:
            job.ready[number] = (entry.experiment, watcher, result)
    for job in jobs:
        reason = next((w.pruned for _, w, _ in job.ready.values() if w.pruned), "")
        for _, watcher, result in job.ready.values():
            if reason and result.status == "killed":  # it ended with the replica that was pruned
                watcher.pruned = watcher.pruned or reason
    return [j for j in jobs if j.ready]


class _Ends:
    """Whether a run is to end: one of its arm was pruned, the worker is to stop, or another worker has the arm."""

    def __init__(self, job: Job, watchers: Sequence[Watcher], stop: Callable[[], bool]) -> None:
        self._job, self._watchers, self._stop = job, watchers, stop

    def __call__(self) -> bool:
        return any(w.pruned for w in self._watchers) or self._stop() or self._job.hold.lost()
