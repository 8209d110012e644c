"""Studies whose runs train in cohorts: the same numbers as one by one, each run once, also after signals and deaths."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from initlab.study.search.trials import WORKER, current_trials, replicas_of
from tests.cli.driver import initlab
from tests.study.study_cases import broken, runs, states, the_study
from tests.study.test_studies import running

SMALL = (
    "data=digits", "data.limit=200", "model=mlp", "model.width=16", "trainer.epochs=2", "trainer.batch_size=32",
    "probes=none", "device=cpu", "init=he,xavier", "activation=relu,tanh", "replicas=3",
)  # fmt: skip
pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]


def scores(workdir: Path) -> dict[tuple[str, int], float | None]:
    """(choices, seed) → value."""
    return {
        (t.user_attrs["choices"], r.seed): r.value
        for t in current_trials(the_study(workdir))
        for r in replicas_of(t.user_attrs)
    }


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_same_numbers_as_one_by_one(tmp_path: Path) -> None:
    found: list[dict[tuple[str, int], float | None]] = []
    for setting in ("6", "off"):
        place = tmp_path / setting
        place.mkdir()
        done = initlab("-m", *SMALL, f"study.cohort={setting}", cwd=place)
        assert done.returncode == 0, done.stderr
        assert broken(the_study(place), runs(place), arms=4, seeds=3) == []
        found.append(scores(place))
    assert found[0].keys() == found[1].keys()
    assert [found[0][k] for k in found[0]] == pytest.approx([found[1][k] for k in found[0]], abs=0.03)


def test_arms_of_one_seed_share_a_cohort(tmp_path: Path) -> None:
    small = [o for o in SMALL if not o.startswith("replicas")]
    done = initlab("-m", *small, "optimizer.lr=0.001,0.003,0.01", "study.cohort=16", "study.workers=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert broken(the_study(tmp_path), runs(tmp_path), arms=12, seeds=1) == []


@pytest.mark.parametrize("pruner", ["median", "diagnostic", "wilcoxon"])
def test_pruned_arms_leave_their_cohort(pruner: str, tmp_path: Path) -> None:
    """Arms that cannot learn are pruned as one by one; the others get all their seeds."""
    small = [o for o in SMALL if not o.startswith(("init=", "probes", "trainer.epochs", "replicas"))]
    more = ("init=he,zeros", "trainer.epochs=6", "study.spare=0", "optimizer=sgd", "optimizer.lr=0.05", "replicas=4")
    done = initlab("-m", *small, *more, f"study.pruner={pruner}", "study.cohort=12", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    study = the_study(tmp_path)
    assert sum(states(study).values()) == 4 and states(study)["FAIL"] == 0
    complete = [t for t in current_trials(study) if t.state.name == "COMPLETE"]
    assert {len(replicas_of(t.user_attrs)) for t in complete} == {4}
    assert any('"init": "he"' in t.user_attrs["choices"] for t in complete)
    if pruner == "diagnostic":
        assert all('"init": "he"' in t.user_attrs["choices"] for t in complete)
    assert not [r for r in runs(tmp_path) if r.info.status == "RUNNING"]


def test_an_arm_that_diverges_and_one_that_cannot_be_built_cost_themselves_alone(tmp_path: Path) -> None:
    small = [o for o in SMALL if not o.startswith("init=")]
    done = initlab(
        "-m", *small, "optimizer=sgd", "init=he,random_walk", "optimizer.lr=0.01,1e30", "study.cohort=12", cwd=tmp_path
    )
    # with tanh nothing becomes infinite; random_walk is for homogeneous activations
    assert states(the_study(tmp_path)) == {"COMPLETE": 4, "PRUNED": 2, "FAIL": 2}, done.stdout + done.stderr
    assert not [r for r in runs(tmp_path) if r.info.status == "RUNNING"]


def _worker(place: Path) -> int | None:
    if not list(place.glob(".initlab/studies/*/plan.json")):
        return None
    open_trials = [t for t in the_study(place).get_trials(deepcopy=False) if t.state.name == "RUNNING"]
    return next((t.user_attrs[WORKER] for t in open_trials if WORKER in t.user_attrs), None)


LONG = [o if not o.startswith("trainer.epochs") else "trainer.epochs=150" for o in SMALL]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_arm_once_after_a_signal(how: signal.Signals, tmp_path: Path) -> None:
    """A worker that is killed is replaced; a study that is ended goes on when it is started again."""
    command: list[Any] = [*LONG, "study.cohort=12"]

    def begun() -> bool:
        return _worker(tmp_path) is not None and len(list(tmp_path.glob(".initlab/spool/*/records.jsonl"))) >= 3

    with running(*command, cwd=tmp_path) as process:
        wait_for(begun)
        if how == signal.SIGKILL:
            worker = _worker(tmp_path)
            assert worker is not None
            os.kill(worker, signal.SIGKILL)
        else:
            process.send_signal(how)
        output, _ = process.communicate(timeout=200)
    if how != signal.SIGKILL:
        assert process.returncode != 0
        assert not [t for t in the_study(tmp_path).get_trials(deepcopy=False) if t.state.name == "RUNNING"], output
        done = initlab("-m", *command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert broken(the_study(tmp_path), runs(tmp_path), arms=4, seeds=3) == []


@pytest.mark.parametrize("value", ["sometimes", "0", "-3", "1.5"])
def test_another_setting_is_refused(value: str, tmp_path: Path) -> None:
    done = initlab("-m", *SMALL, f"study.cohort={value}", cwd=tmp_path)
    assert done.returncode == 2
    assert "study.cohort" in done.stderr and value in done.stderr and "auto" in done.stderr
    assert "Traceback" not in done.stderr
