"""The sweep of an arm's learning rate: how one is chosen, and whole studies of arms that each have their own."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections import Counter
from pathlib import Path

import optuna
import pytest

from initlab.errors import ConfigError
from initlab.spec import StudySettings
from initlab.study.results.leaderboard import leaderboard, table
from initlab.study.search import tune
from initlab.study.search.arms import ArmResult
from initlab.study.search.tune import Point, Sweep, best, next_rate, sweep
from initlab.study.space.space import parse
from tests.cli.driver import initlab
from tests.study.test_studies import TINY, children, running, runs, until, worker_at_work

THREE = (0.1, 1.0, 10.0)


def swept(values: dict[float, float | None], *, maximises: bool = True, base: float = 0.01) -> Sweep:
    """The sweep where each rate has a value; a rate that is not in `values` must not be asked for."""

    def measure(lr: float) -> Point:
        value = values[lr]
        return Point(lr=lr, value=value, status="diverged" if value is None else "finished")

    return sweep(base, THREE, measure, maximises=maximises)


# ------------------------------------------------------------------ the choice
def test_the_best_between_others_ends_the_sweep() -> None:
    found = swept({0.001: 0.5, 0.01: 0.9, 0.1: 0.6})
    assert (found.chosen, found.at_edge, found.note) == (0.01, False, "")
    assert [p.lr for p in found.points] == [0.001, 0.01, 0.1]
    assert swept({0.001: 0.5, 0.01: 0.2, 0.1: 0.6}, maximises=False).chosen == 0.01


def test_the_sweep_goes_on_beyond_its_edge() -> None:
    assert swept({0.001: 0.5, 0.01: 0.6, 0.1: 0.9, 1.0: 0.8}).chosen == 0.1
    below = swept({0.001: 0.9, 0.01: 0.6, 0.1: 0.5, 0.0001: 0.95, 0.00001: 0.2})
    assert (below.chosen, below.at_edge, len(below.points)) == (0.0001, False, 5)
    # one that diverges beyond the edge ends it as well
    assert swept({0.001: 0.5, 0.01: 0.6, 0.1: 0.9, 1.0: None}).at_edge is False


def test_two_steps_beyond_the_edge_and_no_more() -> None:
    found = swept({0.001: 0.5, 0.01: 0.6, 0.1: 0.7, 1.0: 0.8, 10.0: 0.9})
    assert (found.chosen, found.at_edge) == (10.0, True)
    assert found.note == "the best learning rate is at the edge of its sweep"


def test_of_equal_rates_the_lower_is_chosen() -> None:
    assert swept({0.001: 0.1, 0.01: 0.7, 0.1: 0.7}).chosen == 0.01
    points = [Point(lr=lr, value=0.5, status="finished") for lr in (0.1, 0.001, 0.01)]
    for maximises in (True, False):
        found = best(points, maximises=maximises)
        assert found is not None and found.lr == 0.001


def test_what_diverged_loses_and_where_all_did_lower_rates_are_tried() -> None:
    assert swept({0.001: 0.3, 0.01: None, 0.1: None, 0.0001: 0.2}).chosen == 0.001
    assert swept({0.001: 9.0, 0.01: None, 0.1: None, 0.0001: 9.9}, maximises=False).chosen == 0.001
    rescued = swept({0.001: None, 0.01: None, 0.1: None, 0.0001: None, 0.00001: 0.2})
    assert (rescued.chosen, rescued.at_edge) == (0.00001, True)
    lost = swept({0.001: None, 0.01: None, 0.1: None, 0.0001: None, 0.00001: None})
    assert lost.chosen is None and lost.note == "diverged at every learning rate from 1e-05 to 0.1"


def test_the_step_beyond_is_that_of_the_edge() -> None:
    points = [Point(lr=lr, value=v, status="finished") for lr, v in ((1.0, 0.1), (2.0, 0.2), (8.0, 0.9))]
    assert next_rate(points, maximises=True) == 32.0
    assert next_rate(points, maximises=False) == 0.5


def test_a_sweep_survives_json_and_is_on_the_board() -> None:
    found = swept({0.001: 0.5, 0.01: 0.6, 0.1: 0.7, 1.0: 0.8, 10.0: 0.9})
    assert Sweep.from_json(json.loads(json.dumps(found.as_json()))) == found
    arms = [
        ArmResult(trial=0, arm="a", choices={"init": "he"}, state="complete", value=0.9, sweep=found),
        ArmResult(trial=1, arm="b", choices={"init": "x"}, state="waiting", value=None),
    ]
    heading, first, _ = table(leaderboard(arms, direction="maximize"), metric="m", width=120).split("\n")
    assert heading.split()[2] == "lr" and first.split()[2] == "10" and first.endswith("at the edge of its sweep")


def test_the_seed_of_a_sweep_is_none_of_the_replicas() -> None:
    for first in (0, 1, 999_983):
        for replicas in (1, 5, 500):
            assert tune.seed(first, replicas) not in range(first, first + replicas)
    assert tune.seed(3, 5) == tune.seed(3, 5) and tune.seed(3, 5) != tune.seed(4, 5)


def test_a_rate_is_not_chosen_by_the_test_part() -> None:
    assert tune.metric("test/accuracy") == "val/accuracy" and tune.metric("train/loss") == "train/loss"


def test_what_cannot_be_tuned_is_refused() -> None:
    tune.check(StudySettings(), [tune.LR])
    with pytest.raises(ConfigError, match=r"study\.tune_lr=True: .*optimizer\.lr.*searched"):
        tune.check(StudySettings(tune_lr=True), ["init", tune.LR])
    with pytest.raises(ConfigError, match=r"study\.lr_factors"):
        tune.check(StudySettings(tune_lr=True, lr_factors=(1.0, 1.0)), [])
    for params in ({}, {"optimizer.lr": "auto"}, {"optimizer.lr": 0.0}, {"optimizer.lr": True}):
        with pytest.raises(ConfigError, match=r"study\.tune_lr"):
            tune.configured_lr(params)


def test_an_arms_own_rate_takes_the_place_of_the_fixed_one() -> None:
    space = parse(["init=he,xavier", "optimizer.lr=0.1", "model=mlp"])
    assert space.overrides({"init": "he", "optimizer.lr": "0.5"}) == ["model=mlp", "init=he", "optimizer.lr=0.5"]


# ------------------------------------------------------------------ whole studies
def trials(workdir: Path) -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{workdir / '.initlab' / 'studies.db'}"
    (name,) = optuna.get_all_study_names(storage)
    return [t for t in optuna.load_study(study_name=name, storage=storage).trials if t.state.name == "COMPLETE"]


@pytest.mark.process
@pytest.mark.timeout(240)
def test_each_arm_is_compared_at_its_own_rate(workdir: Path) -> None:
    grid = (
        *TINY, "optimizer=sgd", "init=he,normal", "replicas=2", "study.name=n", "study.tune_lr=true",
        "study.lr_factors=[0.1,1,1e9]", "study.tune_epochs=1",
    )  # fmt: skip
    done = initlab("-m", *grid, cwd=workdir, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 to 5 runs more" in done.stdout
    found = children(workdir)
    tuning = [r for r in found if r.data.tags.get("initlab.tuning") == "true"]
    replicas = [r for r in found if "initlab.tuning" not in r.data.tags]
    assert len(replicas) == 4 and {r.data.tags["seed"] for r in replicas} == {"0", "1"}
    assert {r.data.tags["seed"] for r in tuning} == {str(tune.seed(0, 2))}
    assert {r.data.params["trainer.epochs"] for r in tuning} == {"1"}
    assert {r.data.params["trainer.epochs"] for r in replicas} == {"2"}
    (parent,) = [r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "study"]
    assert {r.data.tags["mlflow.parentRunId"] for r in found} == {parent.info.run_id}
    for trial in trials(workdir):
        chosen = Sweep.from_json(json.loads(trial.user_attrs["sweep"]))
        points = {p.lr: p.value for p in chosen.points}
        # the default rate of sgd is 0.01; 1e9 times as much diverges
        assert points[1e7] is None
        assert chosen.chosen == min(points, key=lambda lr: (-(points[lr] or 0.0), lr))
        # a run whose records are still on their way goes by its id in the spool
        runs_of = {name: r for r in tuning for name in (r.info.run_id, r.data.tags["initlab.uid"])}
        runs_of = {k: r for k, r in runs_of.items() if r.data.tags["initlab.trial"] == str(trial.number)}
        assert len(runs_of) == 2 * len(points)
        for p in chosen.points:
            run = runs_of[p.run_id]
            assert float(run.data.params["optimizer.lr"]) == p.lr
            assert p.value is None or run.data.metrics["val/accuracy"] == p.value
        mine = [r for r in replicas if r.data.tags["initlab.trial"] == str(trial.number)]
        assert {float(r.data.params["optimizer.lr"]) for r in mine} == {chosen.chosen}
        # what a run really trained is its arm; the study's own is that of the configuration as it was asked for
        (ran,) = {r.data.tags["initlab.arm"] for r in mine}
        assert (ran == trial.user_attrs["arm"]) == (chosen.chosen == 0.01)
        assert len({r.data.tags["initlab.arm"] for r in runs_of.values()}) == len(points)
    (board,) = (workdir / "mlruns").rglob(f"{parent.info.run_id}/artifacts/leaderboard.csv")
    rows = list(csv.DictReader(board.read_text().splitlines()))
    assert {float(r["lr"]) for r in rows} <= {0.001, 0.01, 0.0001, 0.00001}
    assert all(json.loads(r["sweep"])["chosen"] == float(r["lr"]) for r in rows)

    again = initlab("-m", *grid, cwd=workdir)
    assert again.returncode == 0 and "2 done before, 0 new" in again.stdout and len(children(workdir)) == len(found)
    for changed, said in (
        ("study.tune_lr=false", "study.tune_lr: True became False"),
        ("study.tune_epochs=2", "study.tune_epochs: 1 became 2"),
        ("study.lr_factors=[0.1,1]", "study.lr_factors: 0.1, 1.0, 1000000000.0 became 0.1, 1.0"),
    ):
        other = initlab("-m", *grid, changed, cwd=workdir)
        assert other.returncode == 2 and said in other.stderr, other.stderr
    assert len(children(workdir)) == len(found)


@pytest.mark.process
@pytest.mark.timeout(240)
def test_a_worker_killed_in_a_sweep_or_after_it_doubles_nothing(workdir: Path) -> None:
    grid = (
        *TINY, "trainer.epochs=150", "init=he,xavier", "replicas=2", "probes=none", "study.tune_lr=true",
        "study.lr_factors=[0.3,1,3]",
    )  # fmt: skip
    with running(*grid, cwd=workdir) as study:
        os.kill(until(lambda: worker_at_work(workdir)), signal.SIGKILL)  # in the first sweep
        out, _ = study.communicate(timeout=200)
    assert study.returncode == 0, out
    assert "a worker died (signal 9)" in out
    ended = [r for r in children(workdir) if r.info.status == "FINISHED" and "initlab.tuning" not in r.data.tags]
    assert Counter((r.data.params["init"], r.data.tags["seed"]) for r in ended) == {
        (init, seed): 1 for init in ("he", "xavier") for seed in ("0", "1")
    }
    assert len(trials(workdir)) == 2 and all("sweep" in t.user_attrs for t in trials(workdir))
    assert all(r.info.status != "RUNNING" for r in runs(workdir))


@pytest.mark.process
@pytest.mark.timeout(240)
def test_an_arm_that_diverges_at_every_rate_is_pruned_and_few_shots_are_tuned(workdir: Path) -> None:
    few = ("data=digits", "model=mlp", "model.width=16", "data.shots=3", "data.episodes=2", "trainer.epochs=2")
    search = (*few, "tracking.report=false", "probes=none", "optimizer=sgd", "study.tune_lr=true")
    fine = initlab("-m", *search, "init=he,xavier", "study.lr_factors=[0.5,1]", cwd=workdir, timeout=200)
    assert fine.returncode == 0, fine.stdout + fine.stderr
    assert all(r.data.metrics["episodes"] == 2 for r in children(workdir) if r.info.status == "FINISHED")
    assert len(trials(workdir)) == 2

    lost = workdir / "lost"
    lost.mkdir()
    grid = (
        *TINY,
        "optimizer=sgd",
        "init=he,xavier",
        "activation=softplus",
        "study.tune_lr=true",
        "study.lr_factors=[1e35,1e36]",
    )
    done = initlab("-m", *grid, cwd=lost, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "diverged at every learning rate from 1e+31 to 1e+34" in done.stdout
    assert all(r.data.tags.get("initlab.tuning") == "true" for r in children(lost))
    assert trials(lost) == []
    searched = initlab("-m", *TINY, "init=he,xavier", "optimizer.lr=0.1,0.2", "study.tune_lr=true", cwd=lost)
    assert searched.returncode == 2 and "study.tune_lr" in searched.stderr
