"""The run of a study itself, when its leader is killed while it begins or while its records are being sent."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from initlab.tracking.spool import spool
from tests.cli.driver import environment, initlab
from tests.study.study_cases import TINY, broken, runs, the_study

pytestmark = [pytest.mark.process, pytest.mark.timeout(280)]

GRID = ("-m", *TINY, "init=he,xavier", "study.name=s", "study.workers=1")
#: the command, killed at the given moment of its beginning
KILLED = """
import os, signal, sys
from initlab import tracking
from initlab.study.space.plan import Plan
moment, begin, save = sys.argv[1], tracking.start, Plan.save
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def start(header, *arguments, **more):
    if header.tags.get("initlab.kind") == "study" and moment == "before it is begun":
        die()
    sink = begin(header, *arguments, **more)
    if header.tags.get("initlab.kind") == "study" and moment == "when it is begun":
        die()
    return sink
def saved(plan):
    if plan.parent and moment == "before the plan names it":
        die()
    save(plan)
    if plan.parent and moment == "when the plan names it":
        die()
tracking.start, Plan.save = start, saved
from initlab.cli.main import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize(
    "moment", ["before it is begun", "when it is begun", "before the plan names it", "when the plan names it"]
)
def test_a_leader_that_is_killed_as_it_begins_leaves_one_run(moment: str, workdir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, moment, *GRID], cwd=workdir, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = initlab(*GRID, cwd=workdir)
    assert again.returncode == 0, again.stdout + again.stderr
    assert initlab("sync", cwd=workdir).returncode == 0
    assert broken(the_study(workdir), runs(workdir), arms=2, seeds=1) == []


@pytest.mark.parametrize("lock", ["delivery", "run"])
def test_who_still_sends_its_records_is_waited_for(lock: str, workdir: Path) -> None:
    """As the delivering process of a leader that was killed does, or a `sync` that somebody began."""
    subprocess.run([sys.executable, "-c", KILLED, "when it is begun", *GRID], cwd=workdir, env=environment(),
                   capture_output=True, check=False)  # fmt: skip
    (folder,) = spool.spool_root(workdir).iterdir()
    taken = "take_delivery_lock" if lock == "delivery" else "take_lock"
    code = (
        f"import sys, time; from pathlib import Path; from initlab.tracking.spool import spool;"
        f"lock = spool.{taken}(Path(sys.argv[1])); assert lock is not None; print('has it', flush=True); time.sleep(9)"
    )
    sender = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert sender.stdout is not None and sender.stdout.readline() == "has it\n"
        again = initlab(*GRID, cwd=workdir)
    finally:
        sender.kill()
        sender.communicate()
    assert again.returncode == 0, again.stdout + again.stderr
    assert initlab("sync", cwd=workdir).returncode == 0
    assert broken(the_study(workdir), runs(workdir), arms=2, seeds=1) == []
