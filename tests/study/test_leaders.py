"""Several processes that lead one study, from its first second on, and locks whose holder stands still."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from initlab.study import setup
from initlab.study.search import ledger
from initlab.study.search.enqueue import enqueue_missing
from initlab.study.search.lead import Lead
from initlab.study.search.lock import file_lock
from initlab.study.search.storage import exclusive, open_storage
from initlab.study.search.trials import SLOT, current_trials
from initlab.study.space.plan import folder_of, load
from tests.cli.driver import environment, initlab
from tests.cli.forkserver import Forked
from tests.study.postgres_server import Postgres
from tests.study.study_cases import TINY, broken, runs, states, the_study
from tests.study.test_studies import until

pytestmark = [pytest.mark.process, pytest.mark.timeout(290)]

GRID = (*TINY, "init=he,xavier,lecun", "replicas=2", "study.name=shared")


def leaders(count: int, workdir: Path, *more: str) -> list[str]:
    """What `count` leaders that are started at once print; each ends with 0."""
    started = [
        Forked([sys.executable, "-m", "initlab", "-m", *GRID, *more], cwd=workdir, env=environment(), text=True,
               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(count)
    ]  # fmt: skip
    said: list[str] = []
    for process in started:
        out, _ = process.communicate(timeout=280)
        assert process.returncode == 0, out
        assert "Traceback" not in out, out
        said.append(out)
    return said


def whole(workdir: Path) -> bool:
    """Whether the frozen configuration is the one of the installation, and nothing half made lies beside it."""
    folder = folder_of(workdir, "shared")
    names = {p.name for p in folder.iterdir()}
    conf = Path(__file__).parents[2] / "conf"
    copied = {p.relative_to(folder / "conf") for p in (folder / "conf").rglob("*.yaml")}
    return not [n for n in names if n.endswith(".tmp")] and copied == {
        p.relative_to(conf) for p in conf.rglob("*.yaml")
    }


@pytest.mark.parametrize("count", [2, 4])
def test_leaders_of_a_new_study_share_it(count: int, workdir: Path) -> None:
    said = leaders(count, workdir)
    assert broken(the_study(workdir), runs(workdir), arms=3, seeds=2) == []
    assert len(the_study(workdir).get_trials()) == 3 and whole(workdir)
    assert sum("another process leads this study" in out for out in said) == count - 1
    (parent,) = [r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "study"]
    assert parent.info.status == "FINISHED" and "best" in parent.data.tags["mlflow.note.content"]
    children = [r.data.tags["mlflow.parentRunId"] for r in runs(workdir) if r.info.run_id != parent.info.run_id]
    assert set(children) <= {parent.info.run_id, parent.data.tags["initlab.uid"]}


def test_a_plan_read_before_the_run_was_named_does_not_take_the_name_away(workdir: Path) -> None:
    leaders(1, workdir)
    named = load(folder_of(workdir, "shared"))
    assert named is not None and named.parent
    setup._save_again(replace(named, parent=""), the_study(workdir))  # pyright: ignore[reportPrivateUsage]
    assert load(folder_of(workdir, "shared")) == named


def test_leaders_share_a_sampled_study(workdir: Path) -> None:
    leaders(3, workdir, "study=random", "study.trials=4", "replicas=1", "init=choice(he,xavier,lecun)")
    assert states(the_study(workdir)) == {"COMPLETE": 4}
    assert len([r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "study"]) == 1


@pytest.mark.xdist_group("postgres")
def test_leaders_share_a_study_on_postgresql(workdir: Path, postgres: Postgres) -> None:
    url = postgres.create("leaders")
    leaders(3, workdir, f"study.storage={url}")
    storage = open_storage(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        assert broken(the_study(workdir, storage), runs(workdir), arms=3, seeds=2) == []
        assert len(the_study(workdir, storage).get_trials()) == 3 and whole(workdir)
    finally:
        storage.engine.dispose()


def test_whoever_is_left_closes_the_run_of_the_study(workdir: Path) -> None:
    """The leader is killed: a second one, which only trained, ends the run that the first one had begun."""
    grid = [sys.executable, "-m", "initlab", "-m", *GRID, "trainer.epochs=60"]
    started = [
        Forked(grid, cwd=workdir, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    attrs = until(lambda: _attrs(workdir).get("initlab:leader"))
    until(lambda: "initlab:parent" in _attrs(workdir))
    first, second = sorted(started, key=lambda p: p.pid != attrs["pid"])
    first.kill()
    out, _ = second.communicate(timeout=250)
    first.communicate(timeout=30)
    assert second.returncode == 0, out
    assert broken(the_study(workdir), runs(workdir), arms=3, seeds=2) == []


def _attrs(workdir: Path) -> dict[str, dict[str, int]]:
    if not (workdir / ".initlab" / "studies.db").exists():
        return {}
    try:
        return dict(the_study(workdir).user_attrs)
    except (ValueError, KeyError, FileNotFoundError, optuna.exceptions.OptunaError):
        return {}


# ------------------------------------------------------------------ locks
HOLD = """
import sys, time
from pathlib import Path
from initlab.study.search.lock import file_lock
with file_lock(Path(sys.argv[1]), "claim"):
    print("held", flush=True)
    time.sleep(600)
"""
WAIT = HOLD.replace("time.sleep(600)", "").replace('"held"', '"mine"')


def test_a_stopped_holder_of_a_lock_stops_nobody(workdir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(workdir)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        waiters = [
            subprocess.Popen(
                [sys.executable, "-c", WAIT, str(workdir)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                cwd=Path(__file__).parents[2],
            )
            for _ in range(3)
        ]  # fmt: skip
        for waiter in waiters:
            out, err = waiter.communicate(timeout=90)
            assert out == "mine\n" and f"waiting for process {holder.pid} on " in err
        # whoever comes later does not wait at all: the lock has a successor
        with file_lock(workdir, "claim"):
            assert json.loads((workdir / "claim.generation").read_text()) == {"generation": 1}
        holder.kill()


HOLD_SERVER = """
import sys, time
import optuna
from pathlib import Path
from initlab.study.search.storage import exclusive, open_storage
study = optuna.load_study(study_name="held", storage=open_storage(sys.argv[1]))
with exclusive(study, Path(".")):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.xdist_group("postgres")
def test_a_stopped_holder_of_the_servers_lock_stops_nobody(
    workdir: Path, postgres: Postgres, capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.create("held").replace("postgresql://", "postgresql+psycopg://")
    storage = open_storage(url)
    study = optuna.create_study(study_name="held", storage=storage)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_SERVER, url], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)
        try:
            with exclusive(study, workdir):
                said = capfd.readouterr().err
        finally:
            holder.kill()
        assert f"process {holder.pid}, which holds a lock of the study" in said, said
    storage.engine.dispose()


# ------------------------------------------------------------------ what a former holder does is harmless
def test_an_arm_that_was_enqueued_twice_counts_once(workdir: Path) -> None:
    """As by a process that stood still inside its lock, and went on after another one had done the same."""
    done = initlab("-m", *TINY, "init=he,xavier", "study.name=shared", cwd=workdir)
    assert done.returncode == 0, done.stderr
    study, folder = the_study(workdir), folder_of(workdir, "shared")
    plan = load(folder)
    assert plan is not None
    first = study.get_trials()[0]
    study.enqueue_trial({"init": "he"}, user_attrs={SLOT: first.user_attrs[SLOT]})
    study.enqueue_trial({"init": "lecun"}, user_attrs={SLOT: "new"})
    study.enqueue_trial({"init": "lecun"}, user_attrs={SLOT: "new"})
    assert [t.number for t in current_trials(study)] == [0, 1, 3]
    assert [t.number for t in ledger.claim(study)] == [3]
    assert ledger.claim(study) == [] and not ledger.is_idle(study, folder)
    study.tell(3, 1.0)
    assert ledger.is_idle(study, folder) and enqueue_missing(study, plan) == 0


def test_a_trial_is_given_to_one_of_many(workdir: Path) -> None:
    study = optuna.create_study(study_name="many", storage=open_storage(f"sqlite:///{workdir / 'many.db'}"))
    for number in range(6):
        study.enqueue_trial({"x": number})
    code = (
        "import sys, optuna; from initlab.study.search import ledger;"
        "from initlab.study.search.storage import open_storage;"
        "s = optuna.load_study(study_name='many', storage=open_storage(sys.argv[1])); n = []\n"
        "while t := ledger.claim(s, most=2, workers=4): n += [x.number for x in t]\n"
        "print(n)"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", code, f"sqlite:///{workdir / 'many.db'}"], stdout=subprocess.PIPE,
                         text=True, cwd=Path(__file__).parents[2])
        for _ in range(4)
    ]  # fmt: skip
    taken = [n for w in workers for n in json.loads(w.communicate(timeout=120)[0])]
    assert sorted(taken) == list(range(6))


def test_the_lead_is_one_processs_and_is_taken_over(workdir: Path) -> None:
    study = optuna.create_study(study_name="led", storage=open_storage(f"sqlite:///{workdir / 'led.db'}"))
    one, two = Lead(study, workdir), Lead(study, workdir)
    assert one.take() and not two.take() and one.holds() and not two.holds()
    # a sign of life that is too old, as of a process that was stopped
    found = study.user_attrs["initlab:leader"]
    study.set_user_attr("initlab:leader", {**found, "time": found["time"] - 60})
    assert two.take() and two.holds()
    one._look()  # as its next heartbeat does
    assert not one.holds() and study.user_attrs["initlab:leader"]["pid"] == os.getpid()
    one.end("finished")  # says nothing any more
    assert two.how_it_ended() == ""
    two.end("killed")
    assert one.how_it_ended() == "killed" and one.take()
    one.end("finished")
    # a process of this machine that is gone needs no waiting
    study.set_user_attr("initlab:leader", {**found, "pid": 2**22 + 1, "time": found["time"] + 5, "ended": ""})
    assert two.take()
    two.end("finished")
