"""The record of a run: its header, first artifacts, closing metrics, results, and its end in the tracker."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from initlab import report, tracking
from initlab.core.memory import explain_memory
from initlab.core.version import __version__
from initlab.diagnosis import rules
from initlab.errors import StoreError
from initlab.run import process
from initlab.run.assemble import metric_layers
from initlab.run.prepare import Forecast, Prepared, first_line
from initlab.spec import Experiment, Record, RunHeader, RunResult, RunStatus
from initlab.train import Outcome

#: parameters that people filter runs by a range of; they are metrics too, since a tracker compares params as text
_RANGE_KEYS = ("optimizer.lr", "init.gain", "init.std", "init.a", "model.depth", "model.width", "trainer.batch_size")


def header(experiment: Experiment, prepared: Prepared, *, kind: Literal["train", "inspect"]) -> RunHeader:
    """Name, parameters, tags and data set of a run, as the tracker gets them before the first record."""
    settings, splits = experiment.tracking, prepared.splits
    return RunHeader(
        name=settings.run_name or experiment.name,
        experiment=tracking.experiment_name(settings),
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
        layers=metric_layers(experiment, prepared),
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


def open_record(
    experiment: Experiment, prepared: Prepared, workdir: Path, forecast: Forecast | None
) -> tracking.RunSink | tracking.NullSink:
    """Start the record of a training run, with its configuration, sites and prediction as its first artifacts."""
    files = opening_files(experiment, prepared)
    head = header(experiment, prepared, kind="train")
    if forecast is not None:
        said = {"outlook": asdict(forecast.outlook), "prediction": asdict(forecast.prediction)}
        files["prediction.json"] = json.dumps({**said, "measured": asdict(forecast.seen)})
        head = replace(head, tags={**head.tags, "initlab.outlook": forecast.outlook.verdict})
    return tracking.start(head, experiment.tracking, workdir=workdir, files=files)


def write_closing(
    experiment: Experiment,
    sink: tracking.RunSink | tracking.NullSink,
    outcome: Outcome,
    metrics: Mapping[str, float],
) -> None:
    """Write the last record: the closing scores, and as metrics the parameters that people filter by a range of.

    A killed run gets none: it is resumed where it stopped, and its closing record is still to come.
    """
    if outcome.ending == "killed":
        return
    params = {k: v for k in _RANGE_KEYS if (v := _number(experiment.params.get(k))) is not None}
    now = time.time_ns() // 1_000_000
    sink.write(Record(serial=outcome.serial, step=outcome.steps, epoch=0.0, time_ms=now, metrics={**metrics, **params}))


def save_results(
    experiment: Experiment,
    prepared: Prepared,
    sink: tracking.RunSink | tracking.NullSink,
    result: RunResult,
) -> None:
    """Send tags, the note, the profile, figures and the report to the tracker."""
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
    with tempfile.TemporaryDirectory() as scratch:
        full = _draws(experiment, result)
        for path, folder in report.write(experiment, prepared.sites, prepared.splits, result, Path(scratch), full=full):
            sink.artifact(path, folder, move=True)
    if experiment.tracking.log_model and result.status != "killed":
        tracking.log_model(sink, prepared.model, prepared.splits.prepare(prepared.splits.train.x[:2]))


@dataclass
class Ended:
    """How the record of a run ended.

    Attributes:
        status: failed, until the run says something else.
        note: of the tracker; empty where everything arrived, or a tail still waits for it.
        fault: whether a store on this machine took no records, which is to be mended; a server that is away gets them
            later (`initlab sync`).
    """

    status: RunStatus = "failed"
    note: str = ""
    fault: bool = False


@contextmanager
def closing_record(
    experiment: Experiment, sink: tracking.RunSink | tracking.NullSink, tail: tracking.ClosingRuns | None
) -> Generator[Ended]:
    """Close the record at the end, whatever happens inside: as killed after an interrupt, as failed after an error."""
    ended = Ended()
    try:
        yield ended
    except KeyboardInterrupt:
        ended.status = "killed"
        raise
    except Exception as error:
        with suppress(StoreError):
            said = explain_memory(error) or first_line(error)
            sink.tag({"initlab.error": f"{type(error).__name__}: {said}"[:500]})
        raise
    finally:
        ended.note = close(sink, ended.status, tail)
        ended.fault = bool(ended.note) and not sink.uri.startswith("http") and not experiment.tracking.offline


def close(sink: tracking.RunSink | tracking.NullSink, status: RunStatus, tail: tracking.ClosingRuns | None) -> str:
    """End the record of a run. Returns the tracker's note; empty while a tail still waits for the delivery."""
    if tail is None:
        return sink.close(status)
    tail.close(sink, status)
    return ""


def _draws(experiment: Experiment, result: RunResult) -> bool:
    """Whether the page and the figures are drawn now; else somebody who asks for them draws them (`initlab report`)."""
    wanted = experiment.tracking.report
    if wanted != "auto":
        return bool(wanted)
    failed = result.diverged_step is not None or any(f.severity == "failure" for f in result.findings)
    return failed or "initlab.study" not in experiment.tracking.tags


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
