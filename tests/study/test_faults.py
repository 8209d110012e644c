"""What befalls a study: a full disk, a locked database, a tracking server that is away, a worker that stands still.

Killed processes are in test_studies, PostgreSQL in test_postgres; benchmarks/study_faults.py repeats all at random.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from initlab import tracking
from initlab.spec import RunHeader, TrackingSettings
from initlab.study.search.trials import ARM, WORKER, replicas_of, superseded_trials
from initlab.tracking import end_duplicates
from initlab.tracking.store.client import connect
from tests.cli.driver import initlab
from tests.study.study_cases import TINY, broken, runs, states, the_study
from tests.study.test_studies import running, until, worker_at_work
from tests.tracking.tracking_cases import Server

pytestmark = [pytest.mark.process, pytest.mark.timeout(280)]


@pytest.fixture
def small_spool(workdir: Path) -> Iterator[Path]:
    """A file system of 4 MB where runs are spooled; everything else of the study is on another."""
    folder = workdir / ".initlab" / "spool"
    folder.mkdir(parents=True)
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], capture_output=True, check=False
    )
    if not done or done.returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take every byte that is left."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return ballast


def test_a_spool_whose_disk_is_full_costs_the_arms_that_need_it(workdir: Path, small_spool: Path) -> None:
    grid = (*TINY, "trainer.epochs=150", "init=he,xavier,lecun,orthogonal", "study.workers=2")
    with running(*grid, cwd=workdir) as study:
        until(lambda: worker_at_work(workdir))
        until(lambda: states(the_study(workdir))["COMPLETE"] >= 1)
        ballast = fill(small_spool)
        out, _ = study.communicate(timeout=200)
    assert study.returncode == 1, out
    counted = states(the_study(workdir))
    assert sum(counted.values()) == 4 and set(counted) == {"COMPLETE", "FAIL"}, (counted, out)
    assert "No space left" in out or "its disk is full" in out or "are left on its disk" in out, out
    assert "Traceback" not in out and "4 arms: " in out  # the leaderboard is printed all the same
    done = {t.number: t.value for t in the_study(workdir).get_trials() if t.state.name == "COMPLETE"}

    # with room again the same command trains what failed, in its place, and nothing else
    ballast.unlink()
    again = initlab("-m", *grid, cwd=workdir, timeout=200)
    assert again.returncode == 0, again.stdout + again.stderr
    trials = the_study(workdir).get_trials()
    assert {t.number: t.value for t in trials if t.number in done} == done
    assert broken(the_study(workdir), runs(workdir), arms=4, seeds=1) == []


def test_a_storage_that_is_locked_for_20_seconds_is_waited_for(workdir: Path) -> None:
    grid = (*TINY, "trainer.epochs=150", "init=he,xavier,lecun", "study.workers=2")
    with running(*grid, cwd=workdir) as study:
        until(lambda: worker_at_work(workdir))
        with closing(sqlite3.connect(workdir / ".initlab" / "studies.db", timeout=60, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(20)
            other.execute("COMMIT")
        out, _ = study.communicate(timeout=200)
    assert study.returncode == 0, out
    found = the_study(workdir)
    assert broken(found, runs(workdir), arms=3, seeds=1) == [], out
    assert len(found.get_trials()) == 3  # nobody who lived was taken for dead


def test_a_tracking_server_that_is_away_for_30_seconds(workdir: Path) -> None:
    home = workdir / "server"
    home.mkdir()
    server = Server(home)
    server.start()
    try:
        grid = (*TINY, "trainer.epochs=150", "init=he,xavier,lecun", "replicas=2", f"tracking.uri={server.uri}")
        with running(*grid, cwd=workdir) as study:
            until(lambda: worker_at_work(workdir))
            server.kill()
            time.sleep(30)
            server.start()
            out, _ = study.communicate(timeout=200)
        assert study.returncode == 0, out
        sent = initlab("sync", f"tracking.uri={server.uri}", cwd=workdir)
        assert sent.returncode == 0, sent.stdout + sent.stderr
        assert broken(the_study(workdir), runs(workdir, server.uri), arms=3, seeds=2) == [], out
        assert not list((workdir / ".initlab" / "spool").iterdir())
    finally:
        server.kill()


def test_a_worker_that_stands_still_loses_its_arm_and_nothing_is_doubled(workdir: Path) -> None:
    grid = (*TINY, "trainer.epochs=150", "init=he,xavier,lecun", "study.workers=2")
    with running(*grid, cwd=workdir) as study:
        worker = until(lambda: worker_at_work(workdir))
        os.kill(worker, signal.SIGSTOP)
        # another worker trains its arm once it has been silent for long enough
        until(lambda: len(the_study(workdir).get_trials()) > 3, 90)
        os.kill(worker, signal.SIGCONT)
        out, _ = study.communicate(timeout=200)
    assert study.returncode == 0, out
    found = the_study(workdir)
    assert broken(found, runs(workdir), arms=3, seeds=1) == [], out
    (lost,) = superseded_trials(found.get_trials())
    assert found.get_trials()[lost].user_attrs[WORKER] == worker
    # it let go before its next update; nothing had to be taken back from it
    assert not [r for r in runs(workdir) if "initlab.stray" in r.data.tags]


def test_of_runs_that_were_trained_twice_the_one_on_record_stays(workdir: Path) -> None:
    store = connect(f"sqlite:///{workdir / 'mlflow.db'}", workdir=workdir)
    experiment = store.experiment("initlab")

    def finished(name: str, trial: int, seed: int, uid: str, study: str = "mine") -> str:
        tags = {
            "initlab.study": study, "initlab.trial": str(trial), "initlab.arm": "a", "seed": str(seed),
            "initlab.uid": uid,
        }  # fmt: skip
        run_id = store.create_run(experiment, name=name, start_ms=1, tags=tags)
        store.end(run_id, status="FINISHED", time_ms=7)
        return run_id

    twice = finished("twice", 0, 0, "u0")
    kept = finished("kept", 3, 0, "u1")
    by_uid = finished("by uid", 3, 1, "u2")
    alone = finished("alone", 0, 2, "u3")  # what counts instead of it is not known
    other = finished("other", 0, 0, "u4", study="yours")
    settings = TrackingSettings(uri=f"sqlite:///{workdir / 'mlflow.db'}")
    assert end_duplicates(settings, workdir=workdir, study="mine", kept=[([0, 3], {kept, "u2"})]) == (1, "")
    found = {r.info.run_id: r for r in runs(workdir)}
    assert {i for i, r in found.items() if r.info.status == "FINISHED"} == {kept, by_uid, alone, other}
    assert found[twice].info.status == "KILLED" and found[twice].info.end_time == 7
    assert "initlab.stray" in found[twice].data.tags
    assert end_duplicates(settings, workdir=workdir, study="mine", kept=[([0, 3], {kept, "u2"})]) == (0, "")


def test_a_run_that_was_trained_twice_and_is_sent_after_the_study_does_not_count(workdir: Path) -> None:
    """The records of a worker that was taken for dead waited in its spool until `sync`."""
    with running(*TINY, "trainer.epochs=150", "init=he,xavier", "study.workers=1", cwd=workdir) as study:
        os.kill(until(lambda: worker_at_work(workdir)), signal.SIGKILL)
        assert study.wait(200) == 0
    trials = the_study(workdir).get_trials()
    (lost,) = superseded_trials(trials)
    (counts,) = [
        r for r in runs(workdir)
        if r.info.status == "FINISHED" and r.data.tags.get("initlab.arm") == trials[lost].user_attrs[ARM]
    ]  # fmt: skip
    kept = ("initlab.study", "initlab.arm", "seed", "initlab.kind")
    tags = {k: counts.data.tags[k] for k in kept} | {"initlab.trial": str(lost)}
    header = RunHeader(name="late", experiment="initlab", params={}, dataset=None, start_ms=1, tags=tags)
    sink = tracking.start(header, TrackingSettings(offline=True), workdir=workdir)
    sink.close("finished")
    done = initlab("sync", cwd=workdir)
    assert done.returncode == 0 and "1 of them were trained again" in done.stdout, done.stdout + done.stderr
    (late,) = [r for r in runs(workdir) if r.data.tags["mlflow.runName"] == "late"]
    assert late.info.status == "KILLED" and "initlab.stray" in late.data.tags
    assert broken(the_study(workdir), runs(workdir), arms=2, seeds=1) == []


def test_an_arm_goes_on_with_the_replicas_that_its_dead_worker_had_finished(workdir: Path) -> None:
    # one after another: the replicas of a cohort end together
    with running(*TINY, "trainer.epochs=200", "init=he,xavier", "replicas=4", "study.cohort=off", cwd=workdir) as study:
        worker = until(lambda: worker_at_work(workdir))
        until(lambda: any(replicas_of(t.user_attrs) for t in the_study(workdir).get_trials()))
        os.kill(worker, signal.SIGKILL)
        out, _ = study.communicate(timeout=200)
    assert study.returncode == 0, out
    found = the_study(workdir)
    assert broken(found, runs(workdir), arms=2, seeds=4) == [], out
    (lost,) = superseded_trials(found.get_trials())
    trials = found.get_trials()
    kept = replicas_of(trials[lost].user_attrs)
    (instead,) = (t for t in trials if lost in t.system_attrs.get("retry_history", ()))
    assert kept and replicas_of(instead.user_attrs)[: len(kept)] == kept


def test_a_leader_that_is_killed_after_the_last_arm(workdir: Path) -> None:
    grid = (*TINY, "trainer.epochs=100", "init=he,xavier")
    with running(*grid, cwd=workdir) as study:
        until(lambda: worker_at_work(workdir))
        until(lambda: states(the_study(workdir)) == {"COMPLETE": 2})
        study.kill()
        study.wait()
    (state,) = (workdir / ".initlab" / "studies").glob("*/parent.json")
    if json.loads(state.read_text())["ended"]:
        pytest.skip("the study came to its end before it could be killed")
    again = initlab("-m", *grid, cwd=workdir, timeout=120)
    assert again.returncode == 0 and "2 done before, 0 new" in again.stdout, again.stdout + again.stderr
    assert broken(the_study(workdir), runs(workdir), arms=2, seeds=1) == []
    # from now on it only reports
    before = state.stat().st_mtime_ns
    third = initlab("-m", *grid, cwd=workdir)
    assert third.returncode == 0 and state.stat().st_mtime_ns == before
