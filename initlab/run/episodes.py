"""Few-shot runs: training repeated on several draws of a few examples, with an interval over the draws.

An episode is an ordinary run under a seed of its own, which decides the examples, the validation part and the first
weights. The test part is the same for all. Two arms under one seed see the same draws, so that they can be compared in
pairs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from initlab import report, tracking
from initlab.core import seeds
from initlab.errors import ConfigError
from initlab.run import process
from initlab.run.narrator import Narrator, Silent
from initlab.run.prepare import prepare
from initlab.run.record import closing_record, header, opening_files
from initlab.run.train import run
from initlab.spec import Experiment, Finding, Profile, Record, RunResult, RunStatus
from initlab.statistics.student import interval


def run_episodes(
    experiment: Experiment,
    *,
    workdir: Path | None = None,
    narrator: Narrator | None = None,
    stop: Callable[[], bool] = lambda: False,
    tail: tracking.ClosingRuns | None = None,
) -> RunResult:
    """Run ``task.episodes`` episodes and record them as one run.

    Metrics: ``episode/<score>`` of the test part at step = number of the episode, and at the end the mean over episodes
    as ``test/<score>`` with ``test/<score>_low`` and ``_high``; likewise ``episode/val_<score>`` and ``val/<score>``.
    An episode that diverged counts with what a constant answer reaches, and is told in the findings. A run that is
    stopped keeps the episodes that were done. The other arguments are those of `run`.

    Raises:
        InitlabError: for bad input, before anything is written.
    """
    workdir, narrator = workdir or Path.cwd(), narrator or Silent()
    if experiment.resume is not None:
        raise ConfigError(
            "resume", experiment.resume, "a few-shot run cannot go on; start it anew, its draws are seeded"
        )
    if experiment.tracking.enabled:
        tracking.resolve_uri(experiment.tracking, workdir)
    begun = time.perf_counter()
    with process.settings(experiment):
        prepared = prepare(_episode(experiment, 0))
        sink = tracking.start(
            header(experiment, prepared, kind="train"),
            experiment.tracking,
            workdir=workdir,
            files=opening_files(experiment, prepared),
        )
        with closing_record(experiment, sink, tail) as ended:
            narrator.started(experiment, prepared, sink.run_id, sink.folder)
            guessed = prepared.splits.baseline.accuracy
            done = _episodes(
                experiment,
                sink,
                narrator,
                stop,
                constant={} if guessed is None else {"test/accuracy": guessed, "val/accuracy": guessed},
            )
            ended.status = "killed" if len(done.scores) < (experiment.task.episodes or 0) else "finished"
            result = _closed(experiment, done, ended.status, seconds=time.perf_counter() - begun)
            if done.scores:
                now = time.time_ns() // 1_000_000
                serial = len(done.scores)
                sink.write(Record(serial=serial, step=serial, epoch=0.0, time_ms=now, metrics=dict(result.metrics)))
            sink.tag({"initlab.verdict": _headline(result), "mlflow.note.content": report.note(experiment, result)})
    result = replace(
        result, run_id=sink.run_id, tracking_note=ended.note, tracking_fault=ended.fault, link=sink.location()
    )
    narrator.finished(experiment, result, sink.uri)
    return result


# ------------------------------------------------------------------ pieces
@dataclass(frozen=True, kw_only=True)
class _Done:
    scores: tuple[Mapping[str, float], ...]
    diverged: int
    steps: int


def _episode(experiment: Experiment, i: int) -> Experiment:
    return replace(
        experiment,
        seed=seeds.derive(experiment.seed, "episode", str(i)),
        tracking=replace(experiment.tracking, enabled=False),
        trainer=replace(experiment.trainer, checkpoint=False, checkpoint_every=None),
    )


def _episodes(
    experiment: Experiment,
    sink: tracking.RunSink | tracking.NullSink,
    narrator: Narrator,
    stop: Callable[[], bool],
    *,
    constant: Mapping[str, float],
) -> _Done:
    """`constant` are the scores of an episode that diverged: those of an answer that is the same for every input."""
    scores: list[Mapping[str, float]] = []
    diverged = steps = 0
    total = experiment.task.episodes or 0
    for i in range(total):
        if stop():
            break
        result = run(_episode(experiment, i), stop=stop)
        if result.status == "killed":
            break
        steps += result.steps
        diverged += result.status == "diverged"
        ended = result.status in ("finished", "stopped")
        told = {k: v for k, v in result.metrics.items() if k.startswith(("test/", "val/")) and k.count("/") == 1}
        reached = told if ended else {}
        scores.append(reached or constant)
        metrics = {f"episode/{k.removeprefix('test/').replace('val/', 'val_')}": v for k, v in scores[-1].items()}
        now = time.time_ns() // 1_000_000
        record = Record(serial=i, step=i + 1, epoch=float(i + 1), time_ms=now, metrics=metrics)
        sink.write(record)
        narrator.record(record, total)
    return _Done(scores=tuple(scores), diverged=diverged, steps=steps)


def _closed(experiment: Experiment, done: _Done, status: RunStatus, *, seconds: float) -> RunResult:
    metrics: dict[str, float] = {}
    keys = dict.fromkeys(k for s in done.scores for k in s)
    told: list[str] = []
    for key in keys:
        found = interval([s[key] for s in done.scores if key in s])
        metrics[key] = found.mean
        if found.draws > 1:
            metrics |= {f"{key}_low": found.low, f"{key}_high": found.high}
        name = key.removeprefix("test/")
        if name != key:
            told.append(f"{name} {found.mean:.4f} (95 % {found.low:.4f} to {found.high:.4f})")
    metrics["episodes"] = float(len(done.scores))
    few = [f"{k}={v}" for k in ("shots", "limit") if (v := experiment.params.get(f"data.{k}")) is not None]
    text = (
        f"over {len(done.scores)} draws with {', '.join(few)}, on the test part: {'; '.join(told) or 'none was done'}"
    )
    source = "mean ± t·s/√n over draws of examples and weights (Student, 1908)"
    findings = [Finding(name="few_shot", severity="ok", evidence=text, source=source)]
    if done.diverged:
        findings.insert(
            0,
            Finding(
                name="diverged",
                severity="failure" if done.diverged == len(done.scores) else "warning",
                evidence=f"{done.diverged} of {len(done.scores)} draws diverged and count as a constant answer",
                source="a learning rate above 2/λ_max of the Hessian diverges (LeCun et al., 1998)",
            ),
        )
    return RunResult(
        run_id="",
        status=status,
        metrics=metrics,
        findings=tuple(findings),
        profile=Profile(),
        steps=done.steps,
        seconds=seconds,
    )


def _headline(result: RunResult) -> str:
    return ",".join(f.name for f in result.findings if f.severity in ("failure", "warning")) or "healthy"
