"""Trains and records one run, from a decided `Experiment` to a `RunResult`, in one straight line."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from initlab import tracking
from initlab.diagnosis import rules
from initlab.probes import ProfileLog
from initlab.probes.interpret import interpret
from initlab.run import process
from initlab.run.assemble import probe_once, training_loop
from initlab.run.ending import Ending, closing_scores
from initlab.run.judge import evidence_of
from initlab.run.narrator import Foreseeing, Narrator, Silent
from initlab.run.prepare import Forecast, Prepared, forecast_rows, foresee, prepare, updates_of
from initlab.run.record import closing_record, open_record, save_results, write_closing
from initlab.run.system import SystemMonitor
from initlab.spec import Experiment, Profile, RunResult, RunStatus
from initlab.train import Checkpoints, Outcome, train
from initlab.train.ranks import ALONE, Ranks
from initlab.train.run import Run


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
        reopened: the run to go on with, of `tracking.reopen`; a new run without it.
        tail: closes the record without waiting until it arrived; whoever gives one settles it. The result then may
            name the run by its uid.
        ranks: the processes of the run. All but the first train and nothing else; their result has no findings.

    Returns:
        The result. Divergence is a result with status ``diverged``, not an exception.

    Raises:
        InitlabError: for bad input, before anything is written.
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
    except BaseException:
        if reopened is not None:
            reopened.sink.close(reopened.status)  # nothing was done to that run: it keeps the end it had
        raise
    # probes=none is for those who want the loss and no look at anything
    wanted = experiment.probes.enabled or isinstance(narrator, Foreseeing)
    # also without a tracker: what it measures is evidence for the rules, whose verdict must not depend on the record
    forecast = foresee(prepared) if reopened is None and wanted else None
    if forecast is not None and isinstance(narrator, Foreseeing):
        narrator.foreseen(forecast.outlook)
    sink = open_record(experiment, prepared, workdir, forecast) if reopened is None else reopened.sink
    with closing_record(experiment, sink, tail) as ended:
        result, ended.status = _train_and_judge(
            experiment,
            prepared,
            sink,
            forecast,
            skip=0 if reopened is None else reopened.skip,
            narrator=narrator,
            stop=stop,
            ranks=ranks,
        )
    result = replace(
        result, run_id=sink.run_id, tracking_note=ended.note, tracking_fault=ended.fault, link=sink.location()
    )
    narrator.finished(experiment, result, sink.uri)
    return result


def _train_and_judge(
    experiment: Experiment,
    prepared: Prepared,
    sink: tracking.RunSink | tracking.NullSink,
    forecast: Forecast | None,
    *,
    skip: int,
    narrator: Narrator,
    stop: Callable[[], bool],
    ranks: Ranks,
) -> tuple[RunResult, RunStatus]:
    """Train, score and judge the network; returns the result and the status to record."""
    begun = time.perf_counter()
    checkpoints = Checkpoints(sink.checkpoint_dir if experiment.trainer.checkpoint else None)
    state = checkpoints.peek()
    with closing(ProfileLog(checkpoints.profile_path, offset=state.profile_offset if state else 0)) as profile:
        if state is None:
            if forecast is not None:
                profile.rows(forecast_rows(forecast))
            probe_once(experiment, prepared, profile, moment="init", step=0)
        narrator.started(experiment, prepared, sink.run_id, sink.folder)
        looks = experiment.probes.enabled and experiment.probes.interpret
        start = {k: p.detach().clone() for k, p in prepared.model.named_parameters()} if looks else {}
        loop = training_loop(experiment, prepared, profile=profile, checkpoints=checkpoints, stop=stop, ranks=ranks)
        watched = experiment.tracking.enabled and experiment.tracking.system_metrics
        system = SystemMonitor(prepared.device) if watched else None
        metrics, outcome = _record_all(experiment, prepared, loop, sink, skip=skip, narrator=narrator, system=system)
        if outcome.steps > 0:
            probe_once(experiment, prepared, profile, moment="end", step=outcome.steps)
        complete = outcome.ending in ("finished", "stopped")
        ending = closing_scores(experiment, prepared, checkpoints) if complete else Ending()
        seen_in = (
            interpret(prepared.model, prepared.sites, prepared.splits, experiment.task, start)
            if looks and complete
            else None
        )
        seen = profile.profile()
    metrics.update(ending.metrics)
    write_closing(experiment, sink, outcome, {**ending.metrics, **({} if system is None else system.sample())})
    evidence = evidence_of(experiment, prepared, seen, outcome)
    result = RunResult(
        run_id=sink.run_id,
        status=outcome.ending,
        metrics=metrics,
        findings=rules.judge(evidence),
        profile=seen,
        steps=outcome.steps,
        seconds=time.perf_counter() - begun,
        diverged_step=outcome.diverged_step,
        outlook=None if forecast is None else forecast.outlook,
        confusion=ending.confusion,
        interpretation=seen_in,
        texts=ending.texts,
    )
    if experiment.tracking.enabled:
        sink.text(rules.FILE, rules.findings_to_json(evidence, result.findings))
    save_results(experiment, prepared, sink, result)
    return result, outcome.ending


def _record_all(
    experiment: Experiment,
    prepared: Prepared,
    loop: Run,
    sink: tracking.RunSink | tracking.NullSink,
    *,
    skip: int,
    narrator: Narrator,
    system: SystemMonitor | None,
) -> tuple[dict[str, float], Outcome]:
    """Pass every record to the sink and the narrator; returns the last value of each metric, and how training ended."""
    total = updates_of(experiment, prepared.splits)
    metrics: dict[str, float] = {}
    steps = train(loop)
    while True:
        try:
            record = next(steps)
        except StopIteration as end:
            return metrics, end.value
        metrics.update({k: v for k, v in record.metrics.items() if k.startswith(("train/", "val/", "diag/"))})
        if record.serial >= skip:
            seen = {} if system is None else system.due()
            sink.write(replace(record, metrics={**record.metrics, **seen}) if seen else record)
        narrator.record(record, total)
