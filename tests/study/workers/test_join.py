"""Workers that join a study from elsewhere, under a leader that has none of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from initlab.study.search.trials import WORKER
from tests.cli.driver import environment, initlab
from tests.cli.forkserver import Forked
from tests.study.study_cases import TINY, broken, runs, states, the_study
from tests.study.test_studies import running, until, worker_at_work

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]


def joined(workdir: Path, name: str) -> subprocess.Popen[str]:
    return Forked(
        [sys.executable, "-m", "initlab", "worker", f"study={name}"], cwd=workdir, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def waiting(workdir: Path) -> int:
    try:
        return states(the_study(workdir))["WAITING"]
    except (KeyError, FileNotFoundError):  # it is only beginning
        return 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_leader_without_workers_waits_for_those_that_join(workdir: Path, how: signal.Signals) -> None:
    grid = (*TINY, "trainer.epochs=150", "init=he,xavier,lecun", "study.workers=0", "study.name=mine")
    with running(*grid, cwd=workdir) as study:
        until(lambda: waiting(workdir) == 3)
        first = joined(workdir, "mine")
        assert until(lambda: worker_at_work(workdir)) == first.pid
        # as a batch system announces the end of its time: the arm at hand goes back
        first.send_signal(how)
        said, _ = first.communicate(timeout=60)
        assert first.returncode == 1, said
        assert states(the_study(workdir))["WAITING"] >= 1 and states(the_study(workdir))["RUNNING"] == 0
        second = joined(workdir, "mine")
        said, _ = second.communicate(timeout=120)
        out, _ = study.communicate(timeout=120)
    assert second.returncode == 0, said
    assert study.returncode == 0, out
    assert "0 worker(s)" in out and "3 complete" in out
    found = the_study(workdir)
    assert broken(found, runs(workdir), arms=3, seeds=1) == [], out
    done = {t.user_attrs[WORKER] for t in found.get_trials() if t.state.name == "COMPLETE"}
    assert done <= {first.pid, second.pid}


def test_a_study_that_is_not_here_is_named(workdir: Path) -> None:
    absent = initlab("worker", "study=mine", cwd=workdir)
    assert absent.returncode == 2 and "study=mine: no study was started here" in absent.stderr
    (workdir / ".initlab" / "studies" / "yours").mkdir(parents=True)
    (workdir / ".initlab" / "studies" / "yours" / "plan.json").write_text("{}")
    unnamed = initlab("worker", cwd=workdir)
    assert unnamed.returncode == 2 and "yours" in unnamed.stderr
