"""A run from the opening of its record to its result: what is done before, with each record of, and after training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from initlab import tracking
from initlab.diagnosis import rules
from initlab.probes import ProfileLog
from initlab.probes.interpret import interpret
from initlab.run.assemble import probe_once, training_loop
from initlab.run.ending import Ending, closing_scores
from initlab.run.judge import evidence_of
from initlab.run.narrator import Foreseeing, Narrator
from initlab.run.prepare import Forecast, Prepared, forecast_rows, foresee, updates_of
from initlab.run.record import closing_record, open_record, save_results, write_closing
from initlab.run.resume import begin_again
from initlab.run.system import SystemMonitor
from initlab.spec import Experiment, Record, RunResult, RunStatus
from initlab.train import Checkpoints, Outcome
from initlab.train.ranks import ALONE, Ranks
from initlab.train.run import Run

Sink = tracking.RunSink | tracking.NullSink


class Attempt:
    """A prepared network with its record open, while it trains.

    Attributes:
        loop: what the training loop works with.
        result: of the run, once training has ended; complete when the record is closed.
    """

    def __init__(
        self,
        experiment: Experiment,
        prepared: Prepared,
        sink: Sink,
        *,
        forecast: Forecast | None,
        profile: ProfileLog,
        checkpoints: Checkpoints,
        skip: int,
        narrator: Narrator,
        stop: Callable[[], bool],
        ranks: Ranks,
        begun: float,
    ) -> None:
        self._experiment, self._prepared, self._sink = experiment, prepared, sink
        self._forecast, self._profile, self._checkpoints = forecast, profile, checkpoints
        self._skip, self._narrator = skip, narrator
        self.result: RunResult | None = None
        self._metrics: dict[str, float] = {}
        if checkpoints.peek() is None:
            if forecast is not None:
                profile.rows(forecast_rows(forecast))
            probe_once(experiment, prepared, profile, moment="init", step=0)
        else:
            self._metrics.update(last_values(profile))
        narrator.started(experiment, prepared, sink.run_id, sink.folder)
        self._looks = experiment.probes.enabled and experiment.probes.interpret
        self._start = {k: p.detach().clone() for k, p in prepared.model.named_parameters()} if self._looks else {}
        self.loop: Run = training_loop(
            experiment, prepared, profile=profile, checkpoints=checkpoints, stop=stop, ranks=ranks
        )
        watched = experiment.tracking.enabled and experiment.tracking.system_metrics
        self._system = SystemMonitor(prepared.device) if watched else None
        self._total = updates_of(experiment, prepared.splits)
        #: seconds that are not those of the training
        self._seconds = time.perf_counter() - begun

    def take(self, record: Record) -> None:
        """Pass a record of the loop to the sink and the narrator."""
        self._metrics.update({k: v for k, v in record.metrics.items() if k.startswith(("train/", "val/", "diag/"))})
        if record.serial >= self._skip:
            seen = {} if self._system is None else self._system.due()
            self._sink.write(replace(record, metrics={**record.metrics, **seen}) if seen else record)
        self._narrator.record(record, self._total)

    def finish(self, outcome: Outcome) -> RunStatus:
        """Score and judge the trained network; sets `result` and returns the status to record."""
        begun = time.perf_counter()
        experiment, prepared, sink = self._experiment, self._prepared, self._sink
        if outcome.steps > 0:
            probe_once(experiment, prepared, self._profile, moment="end", step=outcome.steps)
        complete = outcome.ending in ("finished", "stopped")
        ending = closing_scores(experiment, prepared, self._checkpoints) if complete else Ending()
        seen_in = (
            interpret(prepared.model, prepared.sites, prepared.splits, experiment.task, self._start)
            if self._looks and complete
            else None
        )
        seen = self._profile.profile()
        closing = {**ending.metrics, **outcome.to_target}
        self._metrics.update(closing)
        system = {} if self._system is None else self._system.sample()
        write_closing(experiment, sink, outcome, {**closing, **system})
        evidence = evidence_of(experiment, prepared, seen, outcome)
        self.result = RunResult(
            run_id=sink.run_id,
            status=outcome.ending,
            metrics=self._metrics,
            findings=rules.judge(evidence),
            profile=seen,
            steps=outcome.steps,
            seconds=self._seconds + outcome.seconds + time.perf_counter() - begun,
            diverged_step=outcome.diverged_step,
            outlook=None if self._forecast is None else self._forecast.outlook,
            confusion=ending.confusion,
            interpretation=seen_in,
            texts=ending.texts,
            target=experiment.trainer.until or "",
        )
        if experiment.tracking.enabled:
            sink.text(rules.FILE, rules.findings_to_json(evidence, self.result.findings))
        save_results(experiment, prepared, sink, self.result)
        return outcome.ending


def last_values(profile: ProfileLog) -> dict[str, float]:
    """The latest metrics of a resumed run, which its result has too."""
    seen = profile.profile()
    curves = {k: v for k, points in seen.curves.items() for _, v in points if math.isfinite(v)}
    whole = [r for r in seen.rows if r.site == "" and r.position < 0 and math.isfinite(r.value)]
    return {**curves, **{f"diag/{r.statistic}": r.value for r in whole}}


@contextmanager
def open_attempt(
    experiment: Experiment,
    prepared: Prepared,
    *,
    workdir: Path,
    narrator: Narrator,
    stop: Callable[[], bool],
    tail: tracking.ClosingRuns | None,
    reopened: tracking.ResumedRun | None = None,
    ranks: Ranks = ALONE,
) -> Generator[Attempt]:
    """Open the record of a run, and close it at the end of the block whatever happens inside.

    Whoever opens it trains `attempt.loop`, passes every record to `take` and the outcome to `finish`. Without that the
    run is recorded as failed, or as killed after an interrupt. Behind the block `attempt.result` is complete.
    """
    begun = time.perf_counter()
    # probes=none is for those who want the loss and no look at anything
    wanted = experiment.probes.enabled or isinstance(narrator, Foreseeing)
    # also without a tracker: what it measures is evidence for the rules, whose verdict must not depend on the record
    forecast = foresee(prepared) if wanted else None
    if forecast is not None and reopened is None and isinstance(narrator, Foreseeing):
        narrator.foreseen(forecast.outlook)
    sink = open_record(experiment, prepared, workdir, forecast) if reopened is None else reopened.sink
    with closing_record(experiment, sink, tail) as ended:
        if reopened is not None:
            begin_again(experiment, reopened)
        checkpoints = Checkpoints(
            sink.checkpoint_dir if experiment.trainer.checkpoint else None, sync_records=sink.sync
        )
        state = checkpoints.peek()
        with closing(ProfileLog(checkpoints.profile_path, offset=state.profile_offset if state else 0)) as profile:
            attempt = Attempt(
                experiment,
                prepared,
                sink,
                forecast=forecast,
                profile=profile,
                checkpoints=checkpoints,
                skip=0 if reopened is None else reopened.skip,
                narrator=narrator,
                stop=stop,
                ranks=ranks,
                begun=begun,
            )
            try:
                yield attempt
            finally:
                checkpoints.settle()
        if attempt.result is not None:
            ended.status = attempt.result.status
    if attempt.result is not None:
        attempt.result = replace(
            attempt.result,
            run_id=sink.run_id,
            tracking_note=ended.note,
            tracking_fault=ended.fault,
            link=sink.location(),
        )
        narrator.finished(experiment, attempt.result, sink.uri)
