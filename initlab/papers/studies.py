"""Trains the studies of claims in processes of their own, a few at a time, and measures what needs no training."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from initlab import config as configuration
from initlab.core.hidden import HIDDEN
from initlab.core.parent import PARENT
from initlab.core.redact import has_password
from initlab.core.version import __version__
from initlab.errors import InitlabError
from initlab.papers.arms import choices_of, overrides_of
from initlab.papers.catalog import GROUP, Entry
from initlab.papers.claim import FIRST_SEED, Part
from initlab.papers.measures import MEASURES
from initlab.papers.results import FOLDER, Row, load_rows, rows_of_study, save_rows
from initlab.run import process
from initlab.run.prepare import prepare
from initlab.spec import TrackingSettings

#: seconds between two looks at the processes
_LOOK = 0.2
#: seconds that studies have to end when they are stopped
_PATIENCE = 60.0
#: a run in a cohort is equal to a single one up to rounding, and its cohort depends on what was trained before
_ALONE = "study.cohort=off"
#: begins an error in a log
_ERROR = "initlab: "


@dataclass(frozen=True, kw_only=True)
class Job:
    """A part of a claim under given settings.

    Attributes:
        entry: the claim.
        part: its study or measurement.
        quick: with the overrides for a quick look.
        seed: the first one of each arm.
        typed: further overrides of the command line, such as tracking.uri=…, in the order that Hydra wants: flags last.
        store: of the runs, in words.
    """

    entry: Entry
    part: Part
    quick: bool
    seed: int = FIRST_SEED
    typed: tuple[str, ...] = ()
    store: str = ""

    @property
    def overrides(self) -> tuple[str, ...]:
        """What the study is typed with, beside its name."""
        typed = overrides_of(self.entry.claim, self.part, quick=self.quick)
        if self.part.measure or any(len(choices_of(o) or (o, o)) > 1 for o in typed):
            return typed
        # a study searches a key at least: one that changes no result, with one value
        return (*typed, f"trainer.log_every=choice({self.entry.log_every})")

    @property
    def trained(self) -> str:
        """Changes with anything that changes what is trained or measured."""
        where = sorted(t for t in self.typed if t.startswith("device="))
        return _digest(
            __version__, _ALONE, self.entry.computation, self.seed, self.entry.seeds, self.overrides, self.part.measure,
            self.part.arms, sorted(self.part.settings.items()), *where,
        )  # fmt: skip

    @property
    def fingerprint(self) -> str:
        """Changes with anything that changes a value that is kept."""
        return _digest(self.trained, sorted(self.entry.claim.metrics), sorted(self.entry.claim.keys))

    @property
    def study(self) -> str:
        """Name of its study; another one in each store, since a study that goes on has its runs in one."""
        return f"papers-{self.entry.claim.name}-{self.part.name}-{_digest(self.trained, self.store)}"

    def file(self, workdir: Path) -> Path:
        """Where its values are kept."""
        return self.folder(workdir) / f"{self.part.name}-{self.fingerprint}.json"

    def folder(self, workdir: Path) -> Path:
        """Of the claim's values, logs and locks."""
        return workdir / FOLDER / self.entry.claim.name

    def command(self) -> list[str]:
        """The command line of its study, for this Python. `environment` has what nobody else may read."""
        return [
            sys.executable, "-m", "initlab", "-m", f"experiment={GROUP}/{self.entry.claim.name}", *self.overrides,
            f"seed={self.seed}", f"replicas={self.entry.seeds}", f"study.name={self.study}", "study.workers=1",
            _ALONE,
            *(t for t in self.typed if not has_password(t)),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Variables of its process."""
        secret = [t for t in self.typed if has_password(t)]
        own = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), PARENT: str(os.getpid())}
        return {**os.environ, **own, **({HIDDEN: json.dumps(secret)} if secret else {})}


@dataclass(kw_only=True)
class _Running:
    job: Job
    child: subprocess.Popen[bytes]
    log: Path
    lock: FileLock


@dataclass(frozen=True, kw_only=True)
class Done:
    """Values of a job, or why there are none.

    Attributes:
        job: that ended.
        rows: empty where it failed.
        seconds: it took on one core; of a study, without the start of its processes.
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

    A signal that stops this process stops the studies too, which a later call goes on with; so does its death. What
    another process of this folder is at work on is waited for.
    """
    waiting = [j for j in jobs if not _known(j, workdir, said)]
    studies = sorted((j for j in waiting if not j.part.measure), key=lambda j: -j.entry.claim.seconds)
    measured = [j for j in waiting if j.part.measure]
    running: list[_Running] = []
    try:
        while studies or measured or running:
            for job in studies[: None if len(running) < at_a_time else 0]:
                lock = _lock(job, workdir) if len(running) < at_a_time else None
                if lock is not None:
                    studies.remove(job)
                    _begin(job, lock, running, workdir, said)
            ended = [r for r in running if r.child.poll() is not None]
            for each in ended:
                running.remove(each)
                with _released(each.lock):
                    said(_end(each, settings, workdir))
            if not ended and not (len(running) < at_a_time and _measure_one(measured, workdir, said)):
                time.sleep(_LOOK)
    finally:
        _stop(running)


def measure(job: Job, workdir: Path) -> Done:
    """Measure every arm of a part under every seed, in this process."""
    begun, rows, words = time.process_time(), list[Row](), ""
    claim = job.entry.claim
    typed = [t for t in job.typed if t.startswith(("device=", "threads="))]
    try:
        for arm in job.part.arms:
            words = " ".join(arm) or "the network"
            overrides = [f"experiment={GROUP}/{claim.name}", *arm, *typed, "tracking=none"]
            made = configuration.experiment(configuration.compose(overrides), overrides=overrides)
            for seed in range(job.seed, job.seed + job.entry.seeds):
                experiment = replace(made, seed=seed, threads=made.threads or 1)
                with process.settings(experiment):
                    values = MEASURES[job.part.measure](prepare(experiment), experiment, job.part.settings)
                params = {k: str(experiment.params[k]) for k in claim.keys if k in experiment.params}
                finite = {k: v for k, v in values.items() if math.isfinite(v)}
                rows.append(Row(part=job.part.name, params=params, seed=seed, values=finite))
    except InitlabError as error:
        return Done(job=job, why=str(error))
    except Exception as error:
        # the claim's file chooses the network: whatever that raises, the other claims are judged
        return Done(job=job, why=f"{job.part.measure} of {words}: {type(error).__name__}: {error}")
    seconds = time.process_time() - begun
    save_rows(job.file(workdir), rows, job.fingerprint, seconds)
    return Done(job=job, rows=tuple(rows), seconds=seconds)


# ------------------------------------------------------------------ pieces
def _digest(*said: object) -> str:
    return hashlib.blake2b(json.dumps(said, default=list).encode(), digest_size=5).hexdigest()


def _known(job: Job, workdir: Path, said: Callable[[Done], None]) -> bool:
    """Whether the values of the job are there already, which is told."""
    kept = load_rows(job.file(workdir), job.fingerprint)
    if kept is not None:
        said(Done(job=job, rows=kept[0], seconds=kept[1], before=True))
    return kept is not None


def _lock(job: Job, workdir: Path) -> FileLock | None:
    """The right to work on the job, until it is released or this process ends; None while another process has it."""
    job.folder(workdir).mkdir(parents=True, exist_ok=True)
    lock = FileLock(job.folder(workdir) / f"{job.part.name}-{job.trained}.lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


@contextmanager
def _released(lock: FileLock) -> Generator[None]:
    try:
        yield
    finally:
        lock.release()


def _begin(job: Job, lock: FileLock, running: list[_Running], workdir: Path, said: Callable[[Done], None]) -> None:
    """Start the study of a job, unless another process has ended it in the meantime."""
    if _known(job, workdir, said):
        lock.release()
        return
    log = job.folder(workdir) / f"{job.part.name}.log"
    # emptied and appended to: a process of before that is about to end may still write its last lines
    with log.open("ab") as file:
        file.truncate(0)
        # a session of its own: Ctrl-C reaches this process alone, which stops its studies once
        child = subprocess.Popen(
            job.command(), stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=workdir,
            env=job.environment(), start_new_session=True,
        )  # fmt: skip
    running.append(_Running(job=job, child=child, log=log, lock=lock))


def _measure_one(measured: list[Job], workdir: Path, said: Callable[[Done], None]) -> bool:
    """Measure the first job that no other process measures; whether there was one."""
    for job in measured:
        lock = _lock(job, workdir)
        if lock is not None:
            with _released(lock):
                if not _known(job, workdir, said):
                    said(measure(job, workdir))
            measured.remove(job)
            return True
    return False


def _end(ended: _Running, settings: TrackingSettings, workdir: Path) -> Done:
    job, claim = ended.job, ended.job.entry.claim
    if ended.child.returncode != 0:
        return Done(job=job, why=f"{_reason(ended.log)} (see {ended.log})")
    drawn = claim.figure.metric if claim.figure is not None and claim.figure.kind == "curves" else ""
    try:
        rows, seconds = rows_of_study(
            job.study, job.part.name, metrics=claim.metrics, keys=claim.keys, drawn=drawn, settings=settings,
            workdir=workdir,
        )  # fmt: skip
    except InitlabError as error:
        return Done(job=job, why=str(error))
    save_rows(job.file(workdir), rows, job.fingerprint, seconds)
    return Done(job=job, rows=rows, seconds=seconds)


def _stop(running: Sequence[_Running]) -> None:
    """Ask the studies to end after their update, and kill what has not ended after a minute; its workers then end."""
    for each in running:
        if each.child.poll() is None:
            each.child.send_signal(signal.SIGTERM)
    end = time.monotonic() + _PATIENCE
    for each in running:
        try:
            each.child.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            each.child.kill()
            each.child.wait()
        each.lock.release()


def _reason(log: Path) -> str:
    """Why a study failed, of its log: the first arm that failed, or the last error, or the last line."""
    lines: list[str] = [s for s in log.read_text(encoding="utf-8", errors="replace").splitlines() if s.strip()]
    told = [s.removeprefix(_ERROR) for s in lines if s.startswith(_ERROR)][-1:]
    arms = [s.partition(" ")[2] for s in lines if ": failed: " in s][:1]
    return (arms or told or lines[-1:] or ["it ended without a message"])[0]
