"""The composition root: one run from a decided `Experiment` to a `RunResult`, in one straight line."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from initlab import report, tracking
from initlab.activations import band_of
from initlab.core.version import __version__
from initlab.diagnosis import rules
from initlab.errors import ConfigError, StoreError
from initlab.network import sites
from initlab.network.hooks import undisturbed
from initlab.probes import DeadUnits, Observer, ProfileLog, RecurrentLayers, take_histograms, unit_spread
from initlab.probes.histograms import spread
from initlab.probes.interpret import interpret
from initlab.run import process
from initlab.run.prepare import Forecast, Prepared, first_line, forecast_rows, foresee, prepare
from initlab.spec import (
    Activation,
    Experiment,
    Outlook,
    Profile,
    Record,
    RunHeader,
    RunResult,
    RunStatus,
)
from initlab.train import Checkpoints, Outcome, evaluate, train
from initlab.train.loop import Run
from initlab.train.ranks import ALONE, Ranks

#: parameters that people filter runs by a range of; they are metrics too, since a tracker compares params as text
_RANGE_KEYS = ("optimizer.lr", "init.gain", "init.std", "init.a", "model.depth", "model.width", "trainer.batch_size")
#: above so many classes a table of all pairs says nothing to anybody
CLASSES = 200


class Narrator(Protocol):
    """Who tells a person what happens. The default says nothing."""

    def started(self, experiment: Experiment, prepared: Prepared, run_id: str, folder: Path | None) -> None: ...
    def record(self, record: Record, total: int) -> None: ...
    def finished(self, experiment: Experiment, result: RunResult, uri: str) -> None: ...


@runtime_checkable
class Foreseeing(Protocol):
    """A narrator that also wants to know what was said before the first step."""

    def foreseen(self, outlook: Outlook) -> None: ...


class Silent:
    """A narrator that says nothing."""

    def started(self, experiment: Experiment, prepared: Prepared, run_id: str, folder: Path | None) -> None:
        del experiment, prepared, run_id, folder

    def record(self, record: Record, total: int) -> None:
        del record, total

    def finished(self, experiment: Experiment, result: RunResult, uri: str) -> None:
        del experiment, result, uri


def run(
    experiment: Experiment,
    *,
    workdir: Path | None = None,
    narrator: Narrator | None = None,
    stop: Callable[[], bool] = lambda: False,
    reopened: tracking.Reopened | None = None,
    tail: tracking.Tail | None = None,
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
        if not ranks.first:
            return _along(experiment, ranks, stop=stop)
        return _recorded(
            experiment,
            workdir,
            narrator=narrator or Silent(),
            stop=stop,
            reopened=reopened,
            tail=tail,
            ranks=ranks,
        )


def _along(experiment: Experiment, ranks: Ranks, *, stop: Callable[[], bool]) -> RunResult:
    """The run on a rank that keeps nothing: it trains its share of every batch, and hears from rank 0 how it goes."""
    quiet = replace(experiment, probes=replace(experiment.probes, enabled=False))
    begun = time.perf_counter()
    prepared = prepare(quiet)
    with closing(ProfileLog(None)) as profile:
        loop = _loop(quiet, prepared, profile=profile, checkpoints=Checkpoints(None), stop=stop, ranks=ranks)
        steps = train(loop)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                outcome: Outcome = end.value
                break
    return RunResult(
        run_id="", status=outcome.ending, metrics={}, findings=(), profile=Profile(), steps=outcome.steps,
        seconds=time.perf_counter() - begun, diverged_step=outcome.diverged_step,
    )  # fmt: skip


def _recorded(
    experiment: Experiment,
    workdir: Path,
    *,
    narrator: Narrator,
    stop: Callable[[], bool],
    reopened: tracking.Reopened | None,
    tail: tracking.Tail | None,
    ranks: Ranks,
) -> RunResult:
    """The run between the opening and the closing of its record, whatever happens in between."""
    try:
        prepared = prepare(experiment)
    except BaseException:
        if reopened is not None:
            reopened.sink.close(reopened.status)  # nothing was done to that run: it keeps the end it had
        raise
    # probes=none is for those who want the loss and no look at anything
    wanted = experiment.probes.enabled or isinstance(narrator, Foreseeing)
    forecast = foresee(prepared) if reopened is None and experiment.tracking.enabled and wanted else None
    if forecast is not None and isinstance(narrator, Foreseeing):
        narrator.foreseen(forecast.outlook)
    sink = _open(experiment, prepared, workdir, forecast) if reopened is None else reopened.sink
    status: RunStatus = "failed"
    try:
        result, status = _train_and_judge(
            experiment,
            prepared,
            sink,
            forecast,
            skip=0 if reopened is None else reopened.skip,
            narrator=narrator,
            stop=stop,
            ranks=ranks,
        )
    except KeyboardInterrupt:
        status = "killed"
        raise
    except Exception as error:
        with suppress(StoreError):
            sink.tag({"initlab.error": f"{type(error).__name__}: {first_line(error)}"[:500]})
        raise
    finally:
        note = close(sink, status, tail)
    # a server that is away gets its records later (sync); a store on this machine that takes none is a fault to mend
    fault = bool(note) and not sink.uri.startswith("http") and not experiment.tracking.offline
    result = replace(result, run_id=sink.run_id, tracking_note=note, tracking_fault=fault)
    narrator.finished(experiment, result, sink.uri)
    return result


# ------------------------------------------------------------------ the pieces of the line
def close(sink: tracking.RunSink | tracking.NullSink, status: RunStatus, tail: tracking.Tail | None) -> str:
    """End the record of a run; what its tracker has to say, which is nothing yet where a tail waits for it."""
    if tail is None:
        return sink.close(status)
    tail.close(sink, status)
    return ""


def header(experiment: Experiment, prepared: Prepared, *, kind: Literal["train", "inspect"]) -> RunHeader:
    """What the tracker is told of a run before its first record."""
    settings, splits = experiment.tracking, prepared.splits
    return RunHeader(
        name=settings.run_name or experiment.name,
        experiment=settings.experiment,
        params=experiment.params,
        tags={
            "initlab.kind": kind,
            "initlab.arm": experiment.arm,
            "seed": str(experiment.seed),
            "initlab.version": __version__,
            **dict(settings.tags),
        },
        dataset=splits.provenance,
        start_ms=time.time_ns() // 1_000_000,
        inputs={"train": len(splits.train), "val": len(splits.val), "test": len(splits.test)},
    )


def opening_files(experiment: Experiment, prepared: Prepared) -> dict[str, str]:
    """Artifacts that are known before the first step: name → text."""
    described = [asdict(s) | {"init": prepared.initialised.rules[s.name]} for s in prepared.sites]
    return {
        "config.yaml": experiment.config_yaml,
        "environment.json": json.dumps(process.describe(prepared.device), indent=2),
        "sites.json": json.dumps(
            {"sites": described, "notes": prepared.initialised.notes, "data": prepared.splits.notes}, default=vars
        ),
    }


def _open(
    experiment: Experiment, prepared: Prepared, workdir: Path, forecast: Forecast | None
) -> tracking.RunSink | tracking.NullSink:
    files = opening_files(experiment, prepared)
    head = header(experiment, prepared, kind="train")
    if forecast is not None:
        said = {"outlook": asdict(forecast.outlook), "prediction": asdict(forecast.prediction)}
        files["prediction.json"] = json.dumps({**said, "measured": asdict(forecast.seen)})
        head = replace(head, tags={**head.tags, "initlab.outlook": forecast.outlook.verdict})
    return tracking.start(head, experiment.tracking, workdir=workdir, files=files)


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
    begun = time.perf_counter()
    checkpoints = Checkpoints(sink.checkpoint_dir if experiment.trainer.checkpoint else None)
    state = checkpoints.peek()
    with closing(ProfileLog(checkpoints.profile_path, offset=state.profile_offset if state else 0)) as profile:
        if state is None:
            if forecast is not None:
                profile.rows(forecast_rows(forecast))
            _look_around(experiment, prepared, profile, moment="init", step=0)
        narrator.started(experiment, prepared, sink.run_id, sink.folder)
        looks = experiment.probes.enabled and experiment.probes.interpret
        start = {k: p.detach().clone() for k, p in prepared.model.named_parameters()} if looks else {}
        loop = _loop(experiment, prepared, profile=profile, checkpoints=checkpoints, stop=stop, ranks=ranks)
        metrics, outcome = _follow(experiment, prepared, loop, sink, skip=skip, narrator=narrator)
        if outcome.steps > 0:
            _look_around(experiment, prepared, profile, moment="end", step=outcome.steps)
        ending = _test(experiment, prepared, checkpoints) if outcome.ending in ("finished", "stopped") else Ending()
        seen_in = (
            interpret(prepared.model, prepared.sites, prepared.splits, experiment.task, start)
            if looks and outcome.ending in ("finished", "stopped")
            else None
        )
        final = dict(ending.metrics)
        seen = profile.profile()
    metrics.update(final)
    if outcome.ending != "killed":  # a killed run goes on where it stopped; its closing record is still to come
        final.update({f"param/{k}": v for k in _RANGE_KEYS if (v := _number(experiment.params.get(k))) is not None})
        now = time.time_ns() // 1_000_000
        sink.write(Record(serial=outcome.serial, step=outcome.steps, epoch=0.0, time_ms=now, metrics=final))
    evidence = _evidence(experiment, prepared, seen, outcome)
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
        sink.text(rules.FILE, rules.kept(evidence, result.findings))
    _hand_over(experiment, prepared, sink, result)
    return result, outcome.ending


def _look_around(
    experiment: Experiment, prepared: Prepared, profile: ProfileLog, *, moment: Literal["init", "end"], step: int
) -> None:
    """What is looked at only at the start and at the end: histograms, and whether units differ."""
    probes = experiment.probes
    if not probes.enabled:
        return
    if probes.histograms:
        batch = prepared.splits.prepare(prepared.splits.val.x[:256])
        profile.histograms(take_histograms(prepared.model, prepared.sites, batch, moment=moment))
    profile.rows(unit_spread(prepared.model, prepared.sites, step))


def _loop(
    experiment: Experiment,
    prepared: Prepared,
    *,
    profile: ProfileLog,
    checkpoints: Checkpoints,
    stop: Callable[[], bool],
    ranks: Ranks,
) -> Run:
    if not ranks.alone and prepared.splits.streams:
        raise ConfigError(
            "trainer.ddp", True, "a text whose state is carried from batch to batch trains in one process"
        )
    model, described, probes = ranks.ready(prepared.model), prepared.sites, experiment.probes
    known = prepared.context.activations
    observer = Observer(model, described, settings=probes, activation=experiment.activation, activations=known)
    return Run(
        model=model,
        task=experiment.task,
        splits=prepared.splits,
        sites=described,
        optimizer=experiment.optimizer,
        lr_scale=prepared.initialised.initializer.lr_scale,
        lr_schedule=experiment.lr_schedule,
        settings=experiment.trainer,
        seed=experiment.seed,
        observer=observer if probes.enabled else None,
        dead=DeadUnits(model, described, experiment.activation, known)
        if probes.enabled and probes.dead_share
        else None,
        recurrent=_recurrent(experiment, prepared) if probes.enabled and probes.recurrent else None,
        profile=profile,
        checkpoints=checkpoints,
        metric_sites=frozenset(s.name for s in spread(sites.weights(described), probes.max_metric_sites)),
        ranks=ranks,
        stop=stop,
    )


def _recurrent(experiment: Experiment, prepared: Prepared) -> RecurrentLayers | None:
    if not any(s.role == "recurrent" for s in prepared.sites):
        return None
    inputs = prepared.splits.prepare(prepared.splits.val.x[: RecurrentLayers.EXAMPLES])
    return RecurrentLayers(
        prepared.model, prepared.sites, inputs, activation=experiment.activation, seed=experiment.seed
    )


def _follow(
    experiment: Experiment,
    prepared: Prepared,
    loop: Run,
    sink: tracking.RunSink | tracking.NullSink,
    *,
    skip: int,
    narrator: Narrator,
) -> tuple[dict[str, float], Outcome]:
    """Pass every record on; the last value of each metric, and how training ended."""
    settings = experiment.trainer
    total = settings.max_steps or settings.epochs * -(-len(prepared.splits.train) // settings.batch_size)
    metrics: dict[str, float] = {}
    steps = train(loop)
    while True:
        try:
            record = next(steps)
        except StopIteration as end:
            return metrics, end.value
        metrics.update({k: v for k, v in record.metrics.items() if k.startswith(("train/", "val/", "diag/"))})
        if record.serial >= skip:
            sink.write(record)
        narrator.record(record, total)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What is known only at the end: scores of the test part, who was taken for whom, the task's own texts."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)


def _test(experiment: Experiment, prepared: Prepared, checkpoints: Checkpoints) -> Ending:
    """The test part with the best weights (or the last, as the trainer says); the model gets its last back."""
    settings, task, splits = experiment.trainer, experiment.task, prepared.splits
    last = {k: v.detach().clone() for k, v in prepared.model.state_dict().items()}
    if settings.test_with == "best":
        checkpoints.load_best(prepared.model)
    by_class = splits.baseline.accuracy is not None and splits.test.y.dim() == 1 and splits.io.classes <= CLASSES
    score = evaluate(
        prepared.model, task, splits, splits.test,
        batch_size=settings.eval_batch_size, precision=settings.precision,
        limit=settings.batch_size if settings.fast_dev_run else None, confusion=by_class,
    )  # fmt: skip
    with undisturbed(prepared.model.eval()):
        texts = task.closing(prepared.model, splits, seed=experiment.seed)
    prepared.model.load_state_dict(last)
    metrics = {f"test/{k}": v for k, v in score.scores(task).items()}
    if score.finite:
        metrics["test/loss"] = score.loss
    if score.confusion:
        metrics.update({f"test/recall/{k}": v for k, v in report.recall(score.confusion, splits.class_names).items()})
    return Ending(metrics=metrics, confusion=score.confusion, texts=texts)


def _evidence(experiment: Experiment, prepared: Prepared, profile: Profile, outcome: Outcome) -> rules.Evidence:
    splits = prepared.splits
    return rules.Evidence(
        profile=profile,
        hidden=tuple(s.name for s in sites.weights(prepared.sites) if s.activation is not None),
        baseline=splits.baseline,
        answers=splits.val.y.numel(),
        steps=outcome.steps,
        diverged_step=outcome.diverged_step,
        answer_per_step=splits.io.per_step,
        flat_both_sides=_flat_both_sides(experiment.activation),
        params=experiment.params,
        branches=len({s.branch.index for s in prepared.sites if s.branch is not None}),
        norms=sum(s.kind == "norm" and s.role == "norm" for s in prepared.sites),
        running_statistics=any(name.endswith("running_var") for name, _ in prepared.model.named_buffers()),
    )


def _flat_both_sides(activation: Activation) -> bool:
    """Whether the network's activations saturate towards both ends."""
    bands = [band_of(a) for a in activation.layers or (activation,)]
    return all(band is not None and band.two_sided for band in bands)


def _hand_over(
    experiment: Experiment,
    prepared: Prepared,
    sink: tracking.RunSink | tracking.NullSink,
    result: RunResult,
) -> None:
    """Tags, the note, the profile, figures and report into the tracker."""
    tags = {
        "initlab.verdict": rules.headline(result.findings),
        "mlflow.note.content": report.note(experiment, result, prepared.splits.notes),
    }
    if result.diverged_step is not None:
        tags["diverged_step"] = str(result.diverged_step)
    sink.tag(tags)
    if not experiment.tracking.enabled:
        return
    sink.made("profile.parquet", lambda target: report.write_parquet(result.profile, target))
    full = experiment.tracking.report
    if full or result.texts or result.interpretation is not None:
        with tempfile.TemporaryDirectory() as scratch:
            written = report.write(experiment, prepared.sites, prepared.splits, result, Path(scratch), full=full)
            for path, folder in written:
                sink.artifact(path, folder, move=True)
    if experiment.tracking.log_model and result.status != "killed":
        tracking.log_model(sink, prepared.model, prepared.splits.prepare(prepared.splits.train.x[:2]))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
