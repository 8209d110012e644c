"""Trains and records one run, from a decided `Experiment` to a `RunResult`, in one straight line."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from initlab import tracking
from initlab.errors import RunOverError
from initlab.probes import ProfileLog
from initlab.run import process
from initlab.run.assemble import training_loop
from initlab.run.attempt import open_attempt
from initlab.run.narrator import Narrator, Silent
from initlab.run.prepare import prepare
from initlab.run.resume import why_over
from initlab.spec import Experiment, Profile, RunResult
from initlab.train import Checkpoints, Outcome, train
from initlab.train.ranks import ALONE, Ranks


def run(
    experiment: Experiment,
    *,
    workdir: Path | None = None,
    narrator: Narrator | None = None,
    stop: Callable[[], bool] = lambda: False,
    reopened: tracking.ResumedRun | None = None,
    tail: tracking.ClosingRuns | None = None,
    ranks: Ranks = ALONE,
) -> RunResult:
    """Train one run and record it.

    Args:
        experiment: everything decided.
        workdir: where the store and the spool live; the current directory by default.
        narrator: is told of the start, of every record and of the end.
        stop: asked before every update; True ends the run as killed, with a checkpoint to resume from.
        reopened: the run to go on with, of `tracking.reopen`; a new run without it. It is begun or left here.
        tail: closes the record without waiting until it arrived; whoever gives one settles it. The result then may
            name the run by its uid.
        ranks: the processes of the run. All but the first train and nothing else; their result has no findings.

    Returns:
        The result. Divergence is a result with status ``diverged``, not an exception.

    Raises:
        InitlabError: for bad input, before anything is written.
        RunOverError: `reopened` has ended, and there is nothing to train; it is left as it was.
    """
    workdir = workdir or Path.cwd()
    if experiment.tracking.enabled:
        tracking.resolve_uri(experiment.tracking, workdir)  # a bad address is told before anything is loaded
    with process.settings(experiment):
        if not ranks.is_first:
            return _train_share(experiment, ranks, stop=stop)
        return _train_recorded(
            experiment,
            workdir,
            narrator=narrator or Silent(),
            stop=stop,
            reopened=reopened,
            tail=tail,
            ranks=ranks,
        )


def _train_share(experiment: Experiment, ranks: Ranks, *, stop: Callable[[], bool]) -> RunResult:
    """A rank other than 0: trains its share of every batch and records nothing."""
    quiet = replace(experiment, probes=replace(experiment.probes, enabled=False))
    begun = time.perf_counter()
    prepared = prepare(quiet)
    if experiment.resume is not None and (why := ranks.broadcast("")):
        raise RunOverError(why)
    with closing(ProfileLog(None)) as profile:
        loop = training_loop(quiet, prepared, profile=profile, checkpoints=Checkpoints(None), stop=stop, ranks=ranks)
        steps = train(loop)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                outcome: Outcome = end.value
                break
    return RunResult(
        run_id="",
        status=outcome.ending,
        metrics={},
        findings=(),
        profile=Profile(),
        steps=outcome.steps,
        seconds=time.perf_counter() - begun,
        diverged_step=outcome.diverged_step,
    )


def _train_recorded(
    experiment: Experiment,
    workdir: Path,
    *,
    narrator: Narrator,
    stop: Callable[[], bool],
    reopened: tracking.ResumedRun | None,
    tail: tracking.ClosingRuns | None,
    ranks: Ranks,
) -> RunResult:
    """Open the record, train, and close the record whatever happens in between."""
    try:
        prepared = prepare(experiment)
        if reopened is not None and (why := ranks.broadcast(why_over(experiment, prepared, reopened))):
            raise RunOverError(why)
    except BaseException:
        if reopened is not None:
            reopened.leave()
        raise
    with open_attempt(
        experiment, prepared, workdir=workdir, narrator=narrator, stop=stop, tail=tail, reopened=reopened, ranks=ranks
    ) as attempt:
        steps = train(attempt.loop)
        while True:
            try:
                record = next(steps)
            except StopIteration as end:
                attempt.finish(end.value)
                break
            attempt.take(record)
    assert attempt.result is not None
    return attempt.result
