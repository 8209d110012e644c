"""Trains the studies of claims in processes of their own, a few at a time, and measures what needs no training."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from initlab import config as configuration
from initlab.core.version import __version__
from initlab.errors import InitlabError
from initlab.papers.catalog import GROUP, Entry
from initlab.papers.claim import Part
from initlab.papers.measures import MEASURES
from initlab.papers.results import FOLDER, Row, load_rows, rows_of_study, save_rows
from initlab.run import process
from initlab.run.prepare import prepare
from initlab.spec import TrackingSettings

#: seconds between two looks at the processes
_LOOK = 0.2
#: seconds that studies have to end when they are stopped
_PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """A part of a claim under given settings.

    Attributes:
        entry: the claim.
        part: its study or measurement.
        quick: with the overrides for a quick look.
        typed: further overrides of the command line, such as tracking.uri=…
    """

    entry: Entry
    part: Part
    quick: bool
    typed: tuple[str, ...] = ()

    @property
    def overrides(self) -> tuple[str, ...]:
        """What the study is typed with, beside its name."""
        small = self.entry.claim.quick or () if self.quick else ()
        keys = {o.partition("=")[0] for o in small}
        own = [o for o in self.part.overrides if o.partition("=")[0] not in keys]
        if not any(
            "," in o for o in own
        ):  # a study searches a key at least: one that changes no result, with one value
            own.append(f"trainer.log_every=choice({self.entry.log_every})")
        return (*own, *small)

    @property
    def fingerprint(self) -> str:
        """Changes with anything that changes a value."""
        said = [
            __version__, self.entry.computation, self.entry.seeds, self.overrides, self.part.measure, self.part.arms,
            sorted(self.part.settings.items()), sorted(self.entry.claim.metrics), sorted(self.entry.claim.keys),
        ]  # fmt: skip
        return hashlib.blake2b(json.dumps(said, default=list).encode(), digest_size=5).hexdigest()

    @property
    def study(self) -> str:
        """Name of its study."""
        return f"papers-{self.entry.claim.name}-{self.part.name}-{self.fingerprint}"

    def file(self, workdir: Path) -> Path:
        """Where its values are kept."""
        return workdir / FOLDER / self.entry.claim.name / f"{self.part.name}-{self.fingerprint}.json"

    def command(self) -> list[str]:
        """The command line of its study, for this Python."""
        flags = [t for t in self.typed if t.startswith("-")]
        values = [t for t in self.typed if not t.startswith("-")]
        return [
            sys.executable, "-m", "initlab", "-m", f"experiment={GROUP}/{self.entry.claim.name}", *self.overrides,
            f"replicas={self.entry.seeds}", f"study.name={self.study}", "study.workers=1", *flags, *values,
        ]  # fmt: skip


@dataclass(kw_only=True)
class _Running:
    job: Job
    child: subprocess.Popen[bytes]
    log: IO[bytes]
    begun: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, kw_only=True)
class Done:
    """Values of a job, or why there are none.

    Attributes:
        job: that ended.
        rows: empty where it failed.
        seconds: it took on one core.
        why: it failed; empty where it did not.
        before: whether the values were there already.
    """

    job: Job
    rows: tuple[Row, ...] = ()
    seconds: float = 0.0
    why: str = ""
    before: bool = False


def work_off(
    jobs: Sequence[Job], *, at_a_time: int, settings: TrackingSettings, workdir: Path, said: Callable[[Done], None]
) -> None:
    """Train and measure all jobs, `at_a_time` studies at once; `said` is told of each as it ends.

    A signal that stops this process stops the studies too, which a later call goes on with.
    """
    waiting: list[Job] = []
    for job in jobs:
        known = load_rows(job.file(workdir), job.fingerprint)
        if known is not None:
            said(Done(job=job, rows=known[0], seconds=known[1], before=True))
        else:
            waiting.append(job)
    studies = sorted((j for j in waiting if not j.part.measure), key=lambda j: -j.entry.claim.seconds)
    measured = [j for j in waiting if j.part.measure]
    running: list[_Running] = []
    try:
        while studies or measured or running:
            while studies and len(running) < at_a_time:
                running.append(_start(studies.pop(0), workdir))
            ended = [r for r in running if r.child.poll() is not None]
            for each in ended:
                running.remove(each)
                said(_end(each, settings, workdir))
            if not ended and measured and len(running) < at_a_time:
                said(measure(measured.pop(0), workdir))
            elif not ended:
                time.sleep(_LOOK)
    finally:
        _stop(running)


def measure(job: Job, workdir: Path) -> Done:
    """Measure every arm of a part under every seed, in this process."""
    begun, rows = time.process_time(), list[Row]()
    claim = job.entry.claim
    try:
        for arm in job.part.arms:
            overrides = [f"experiment={GROUP}/{claim.name}", *arm, "tracking=none"]
            made = configuration.experiment(configuration.compose(overrides), overrides=overrides)
            for seed in range(made.seed, made.seed + job.entry.seeds):
                experiment = replace(made, seed=seed, threads=made.threads or 1)
                with process.settings(experiment):
                    values = MEASURES[job.part.measure](prepare(experiment), experiment, job.part.settings)
                params = {k: str(experiment.params[k]) for k in claim.keys if k in experiment.params}
                rows.append(Row(part=job.part.name, params=params, seed=seed, values=dict(values)))
    except InitlabError as error:
        return Done(job=job, why=str(error))
    seconds = time.process_time() - begun
    save_rows(job.file(workdir), rows, job.fingerprint, seconds)
    return Done(job=job, rows=tuple(rows), seconds=seconds)


# ------------------------------------------------------------------ pieces
def _start(job: Job, workdir: Path) -> _Running:
    place = workdir / FOLDER / job.entry.claim.name
    place.mkdir(parents=True, exist_ok=True)
    log = (place / f"{job.part.name}.log").open("wb")
    # a session of its own: Ctrl-C reaches this process alone, which stops its studies once
    child = subprocess.Popen(
        job.command(), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=workdir,
        env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}, start_new_session=True,
    )  # fmt: skip
    return _Running(job=job, child=child, log=log)


def _end(ended: _Running, settings: TrackingSettings, workdir: Path) -> Done:
    ended.log.close()
    job, claim, seconds = ended.job, ended.job.entry.claim, time.monotonic() - ended.begun
    if ended.child.returncode != 0:
        return Done(job=job, why=f"{_last_line(Path(ended.log.name))} (see {ended.log.name})", seconds=seconds)
    drawn = claim.figure.metric if claim.figure is not None and claim.figure.kind == "curves" else ""
    try:
        rows = rows_of_study(
            job.study, job.part.name, metrics=claim.metrics, keys=claim.keys, drawn=drawn, settings=settings,
            workdir=workdir,
        )  # fmt: skip
    except InitlabError as error:
        return Done(job=job, why=str(error), seconds=seconds)
    save_rows(job.file(workdir), rows, job.fingerprint, seconds)
    return Done(job=job, rows=rows, seconds=seconds)


def _stop(running: Sequence[_Running]) -> None:
    for each in running:
        if each.child.poll() is None:
            each.child.send_signal(signal.SIGTERM)
    end = time.monotonic() + _PATIENCE
    for each in running:
        try:
            each.child.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            each.child.kill()
        each.log.close()


def _last_line(log: Path) -> str:
    lines = [s for s in log.read_text(encoding="utf-8", errors="replace").splitlines() if s.strip()]
    told = [s for s in lines if s.startswith("initlab: ") or ": failed: " in s]
    return (told or lines or ["it ended without a word"])[-1].removeprefix("initlab: ")
