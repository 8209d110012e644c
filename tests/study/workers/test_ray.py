"""Studies on a real Ray of this machine: a grid, a killed actor, an interrupt, and what is refused."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from initlab.study.search.trials import WORKER, superseded_trials
from tests.cli.driver import initlab
from tests.study.study_cases import TINY, broken, runs, states, the_study
from tests.study.test_studies import running, until, worker_at_work

# one Ray at a time
pytestmark = [pytest.mark.process, pytest.mark.timeout(280), pytest.mark.xdist_group("ray")]
RAY = ("study.engine=ray", "study.workers=2", "study.cpus=0.5")


def test_a_grid_on_two_actors_of_which_one_is_killed(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(workdir))
    before = set(Path("/tmp").glob("initlab-ray-*"))
    grid = (*TINY, "trainer.epochs=150", "init=he,xavier", "activation=relu,tanh", "replicas=2", *RAY)
    with running(*grid, cwd=workdir) as study:
        killed = until(lambda: worker_at_work(workdir), 120)
        command = Path(f"/proc/{killed}/cmdline").read_bytes()
        os.kill(killed, signal.SIGKILL)
        out, _ = study.communicate(timeout=240)
    assert study.returncode == 0, out
    assert b"ray::Actor" in command
    assert out.count("its actor died") == 1 and "4 complete" in out
    assert "(raylet)" not in out and "(Actor" not in out and "Traceback" not in out
    found = the_study(workdir)
    assert broken(found, runs(workdir), arms=4, seeds=2) == [], out
    trials = found.get_trials()
    (lost,) = superseded_trials(trials)
    assert trials[lost].user_attrs[WORKER] == killed
    workers = {t.user_attrs[WORKER] for t in trials if t.state.name == "COMPLETE"}
    # the one that was left may have done the rest before a new one was there
    assert workers and killed not in workers and study.pid not in workers
    # nothing stays, neither of its sockets and logs nor in the home directory
    assert set(Path("/tmp").glob("initlab-ray-*")) <= before and not (workdir / ".ray").exists()


def test_sigterm_ends_the_actors_and_says_how_to_go_on(workdir: Path) -> None:
    grid = (*TINY, "trainer.epochs=400", "init=he,xavier", *RAY)
    with running(*grid, cwd=workdir) as study:
        worker = until(lambda: worker_at_work(workdir), 120)
        study.send_signal(signal.SIGTERM)
        out, _ = study.communicate(timeout=120)
    assert study.returncode == 1, out
    assert "Next: python -m initlab -m" in out
    assert states(the_study(workdir)) == {"WAITING": 2}
    assert all(r.info.status != "RUNNING" for r in runs(workdir))
    until(lambda: not Path(f"/proc/{worker}").exists(), 30)


def test_what_ray_cannot_do_is_refused_before_anything_is_written(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # where one ran and died: this machine may have a living one
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    for settings, parts in (
        (["study.engine=rya"], ["study.engine=rya", "local", "ray"]),
        (["study.engine=ray", "study.ray_address=ray://127.0.0.1:1"], ["study.storage", "SQLite", "PostgreSQL"]),
        (["study.engine=ray", "study.ray_address=nonsense"], ["study.ray_address=nonsense", "ray://HOST:PORT"]),
        (["study.engine=ray", "study.ray_address=auto"], ["study.ray_address=auto", "nothing answers at", ":1"]),
        (
            ["study.engine=ray", "study.ray_address=ray://127.0.0.1:1", "study.storage=postgresql://u@127.0.0.1/d"],
            ["study.ray_address=ray://127.0.0.1:1", "cannot be reached"],
        ),
    ):
        done = initlab("-m", *TINY, "init=he,xavier", *settings, cwd=workdir)
        assert done.returncode == 2, (settings, done.stdout, done.stderr)
        assert all(p in done.stderr for p in parts), (settings, done.stderr)
        # a Ray that is just about to end says more, before it can be asked not to
        told = [line for line in done.stderr.splitlines() if "gcs_client.cc" not in line]
        assert len(told) == 1, done.stderr
    assert not list(workdir.rglob("plan.json")) and not (workdir / "mlflow.db").exists()


def test_without_ray_the_extra_is_named(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from initlab.errors import ConfigError
    from initlab.spec import StudySettings
    from initlab.study.space.plan import Plan
    from initlab.study.space.space import parse
    from initlab.study.workers import ray_engine

    plan = Plan(
        name="s", folder=workdir, workdir=workdir, settings=StudySettings(engine="ray"),
        space=parse(["init=he,xavier"], space={}, conditions={}), seed=0, replicas=1, storage="sqlite:///s.db",
    )  # fmt: skip
    monkeypatch.setattr(ray_engine, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"study.engine=ray: .*pip install 'initlab\[ray\]'"):
        ray_engine.check(plan)
