"""Whole studies with real processes: grids, searches, going on, and what survives when a process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from initlab.study.search.storage import open_storage
from initlab.study.search.trials import WORKER, current_trials
from tests.cli.driver import environment, initlab
from tests.cli.forkserver import Forked

TINY = ("data=digits", "data.limit=200", "model=mlp", "model.width=16", "trainer.epochs=2", "tracking.report=false")
pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]


def runs(workdir: Path) -> list[Any]:
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=1000))


def children(workdir: Path) -> list[Any]:
    return [r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "train"]


def the_study(workdir: Path) -> optuna.Study:
    storage = open_storage(f"sqlite:///{workdir / '.initlab' / 'studies.db'}")
    (name,) = (p.name for p in (workdir / ".initlab" / "studies").iterdir() if p.is_dir())
    return optuna.load_study(study_name=name, storage=storage)


def states(workdir: Path) -> Counter[str]:
    return Counter(t.state.name for t in current_trials(the_study(workdir)))


@contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = Forked(
        [sys.executable, "-m", "initlab", "-m", *arguments], cwd=cwd, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def until(what: Callable[[], Any], seconds: float = 90.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def worker_at_work(workdir: Path) -> int | None:
    """Process id of a worker that is in the middle of an arm."""
    if not (workdir / ".initlab" / "studies.db").exists():
        return None
    try:
        trials = the_study(workdir).get_trials(states=(TrialState.RUNNING,))
    except (ValueError, KeyError):
        return None
    pids = [t.user_attrs[WORKER] for t in trials if WORKER in t.user_attrs and t.user_attrs.get("arm")]
    return int(pids[0]) if pids else None


def test_a_grid_goes_on_and_is_extended(workdir: Path) -> None:
    grid = (*TINY, "init=he,zeros", "activation=relu,tanh", "replicas=2")
    first = initlab("-m", *grid, cwd=workdir, timeout=200)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "4 arms x 2 seeds" in first.stdout and "best init=he" in first.stdout
    assert states(workdir) == {"COMPLETE": 4}
    parents = [r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "study"]
    (parent,) = parents
    assert parent.info.status == "FINISHED" and parent.data.metrics["study/complete"] == 4
    found = children(workdir)
    assert len(found) == 8 and {r.info.status for r in found} == {"FINISHED"}
    assert {r.data.tags["mlflow.parentRunId"] for r in found} == {parent.info.run_id}
    arms: dict[str, set[str]] = {}
    for r in found:
        arms.setdefault(r.data.tags["initlab.arm"], set()).add(r.data.tags["seed"])
    assert list(arms.values()) == [{"0", "1"}] * 4
    names = {p.name for p in (workdir / "mlruns").rglob(f"{parent.info.run_id}/artifacts/**/*") if p.is_file()}
    assert {"leaderboard.csv", "heat_map.svg", "history.svg", "space.json"} <= names

    again = initlab("-m", *grid, cwd=workdir)
    assert again.returncode == 0 and "4 done before, 0 new" in again.stdout
    assert len(children(workdir)) == 8

    more = initlab("-m", *TINY, "init=he,zeros", "activation=relu,tanh,selu", "replicas=2", cwd=workdir, timeout=200)
    assert more.returncode == 0 and "4 done before, 2 new" in more.stdout
    assert len(children(workdir)) == 12 and states(workdir) == {"COMPLETE": 6}
    assert len([r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "study"]) == 1

    other = initlab("-m", *TINY, "init=he", "activation=relu,tanh,selu", "replicas=2", cwd=workdir)
    assert other.returncode == 0  # one key less is another study, with a name of its own
    changed = initlab("-m", *grid, "replicas=3", cwd=workdir)
    assert changed.returncode == 2 and "replicas" in changed.stderr


def test_a_search_is_extended_to_the_requested_total(workdir: Path) -> None:
    search = (
        *TINY, "study=tpe", "init=choice(he,uniform)", "init.a=tag(log,interval(0.01,0.3))",
        "optimizer.lr=tag(log,interval(1e-4,1e-1))", "study.pruner=hyperband", "study.workers=2", "trainer.epochs=3",
    )  # fmt: skip
    first = initlab("-m", *search, "study.trials=4", cwd=workdir, timeout=200)
    assert first.returncode == 0, first.stdout + first.stderr
    assert sum(states(workdir).values()) == 4
    second = initlab("-m", *search, "study.trials=6", cwd=workdir, timeout=200)
    assert second.returncode == 0 and "4 done before, 2 new" in second.stdout
    counted = states(workdir)
    assert sum(counted.values()) == 6 and set(counted) <= {"COMPLETE", "PRUNED"}
    for trial in the_study(workdir).trials:
        # a key that exists only for some choices is a parameter of those trials alone
        assert ("init.a" in trial.params) == (trial.params["init"] == "uniform")


def test_a_killed_worker_costs_nothing(workdir: Path) -> None:
    grid = (*TINY, "trainer.epochs=150", "init=he,xavier", "replicas=2", "probes=none")
    with running(*grid, cwd=workdir) as study:
        os.kill(until(lambda: worker_at_work(workdir)), signal.SIGKILL)
        out, _ = study.communicate(timeout=180)
    assert study.returncode == 0, out
    assert "a worker died (signal 9)" in out
    assert states(workdir) == {"COMPLETE": 2}
    assert Counter(r.info.status for r in children(workdir) if r.info.status != "KILLED") == {"FINISHED": 4}
    assert all(r.info.status != "RUNNING" for r in runs(workdir))


def test_a_killed_study_goes_on(workdir: Path) -> None:
    grid = (*TINY, "trainer.epochs=150", "init=he,xavier", "replicas=2", "probes=none")
    with running(*grid, cwd=workdir) as study:
        worker = until(lambda: worker_at_work(workdir))
        study.kill()
        study.wait()
    # a worker without its leader ends by itself
    until(lambda: not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text(), 60)
    again = initlab("-m", *grid, cwd=workdir, timeout=200)
    assert again.returncode == 0, again.stdout + again.stderr
    assert states(workdir) == {"COMPLETE": 2}
    finished = [r for r in children(workdir) if r.info.status == "FINISHED"]
    assert sorted((r.data.params["init"], r.data.tags["seed"]) for r in finished) == [
        ("he", "0"), ("he", "1"), ("xavier", "0"), ("xavier", "1"),
    ]  # fmt: skip
    assert all(r.info.status != "RUNNING" for r in runs(workdir))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_ends_the_workers_and_says_how_to_go_on(workdir: Path, how: signal.Signals) -> None:
    with running(*TINY, "trainer.epochs=400", "init=he,xavier", "probes=none", cwd=workdir) as study:
        until(lambda: worker_at_work(workdir))
        study.send_signal(how)
        out, _ = study.communicate(timeout=90)
    assert study.returncode == 1
    assert "Next: python -m initlab -m" in out
    assert states(workdir) == {"WAITING": 2}
    assert all(r.info.status != "RUNNING" for r in runs(workdir))


def test_an_arm_that_raises_or_diverges_costs_one_arm(workdir: Path) -> None:
    grid = (*TINY, "optimizer=sgd", "optimizer.lr=0.01,1e12", "init=he,irnn")
    done = initlab("-m", *grid, cwd=workdir, timeout=200)
    assert done.returncode == 1, done.stdout + done.stderr
    assert states(workdir) == {"COMPLETE": 1, "PRUNED": 1, "FAIL": 2}
    assert "diverged: 1 of 1 seeds" in done.stdout and "needs a recurrent layer" in done.stdout
    assert all(r.info.status != "RUNNING" for r in runs(workdir))


def test_arms_are_ranked_by_the_time_to_a_target(workdir: Path) -> None:
    """Where not every seed of an arm reaches the target, the arm has no value, and is not called failed."""
    grid = (*TINY, "trainer.epochs=30", "trainer.log_every=2", "optimizer.lr=1e-7,0.01,0.03", "replicas=2")
    asked = ("study.metric=until/step", "trainer.until=train/loss<=1.5")
    done = initlab("-m", *grid, *asked, cwd=workdir, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "until/step, minimize" in done.stdout and "target not reached: 2 of 2 seeds" in done.stdout
    found = {t.user_attrs["choices"]: t for t in current_trials(the_study(workdir))}
    states_ = [t.state.name for t in found.values()]
    assert sorted(states_) == ["COMPLETE", "COMPLETE", "PRUNED"]
    steps = [r.data.metrics.get("until/step") for r in children(workdir)]
    assert steps.count(None) == 2 and all(r.info.status == "FINISHED" for r in children(workdir))
    assert {t.value for t in found.values() if t.value is not None} <= {
        (a + b) / 2 for a in steps for b in steps if a is not None and b is not None
    }


def test_bad_combinations_are_refused_before_anything_runs(workdir: Path) -> None:
    for arguments, parts in (
        (["init=he,hee"], ["init=hee", "did you mean"]),
        (["init=he,xavier", "init.a=0.1"], ["init.a"]),
        (["seed=0,1"], ["seed", "replicas"]),
        (["init=he"], ["nothing is swept"]),
        (["study=tpe", "study.trials=null", "init=he,xavier"], ["study.trials"]),
        (["init=he,xavier", "study.name=a/b"], ["study.name"]),
        (["init=he,xavier", "replicas=0"], ["replicas=0"]),
        (["init=he,xavier", "study.metric=until/step"], ["study.metric=until/step", "trainer.until"]),
    ):
        done = initlab("-m", *TINY, *arguments, cwd=workdir)
        assert done.returncode == 2, (arguments, done.stdout, done.stderr)
        assert all(p in done.stderr for p in parts), (arguments, done.stderr)
    assert not (workdir / "mlflow.db").exists()
    assert not (workdir / ".initlab" / "studies").exists()


def test_few_shot_arms_are_judged_by_the_mean_over_their_draws(workdir: Path) -> None:
    few = ("data=digits", "model=mlp", "model.width=16", "data.shots=3", "data.episodes=2", "trainer.epochs=3")
    done = initlab("-m", *few, "init=he,xavier", "tracking.report=false", "probes=none", cwd=workdir, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert states(workdir) == {"COMPLETE": 2}
    found = children(workdir)
    assert len(found) == 2 and all(r.data.metrics["episodes"] == 2 for r in found)
    values = {t.value for t in current_trials(the_study(workdir))}
    assert values == {r.data.metrics["val/accuracy"] for r in found}
