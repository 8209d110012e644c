"""Few-shot runs: draws that differ, a test part that does not, an interval, and one run in the tracker."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest
from mlflow import MlflowClient
from scipy import stats

from initlab.errors import ConfigError
from initlab.run.episodes import run_episodes
from initlab.spec import RunResult
from initlab.statistics.student import interval
from tests.cases import Recorder, experiment

FEW = (
    "data=digits",
    "model=mlp",
    "model.width=32",
    "trainer.epochs=15",
    "trainer.test_with=last",
    "probes=none",
    "optimizer.lr=0.01",
)


def episodes(workdir: Path, *overrides: str) -> tuple[RunResult, Recorder]:
    recorder = Recorder()
    return run_episodes(experiment(*FEW, *overrides), workdir=workdir, narrator=recorder), recorder


@pytest.mark.process
def test_one_run_holds_every_draw_and_the_interval(workdir: Path) -> None:
    result, told = episodes(workdir, "data.shots=5", "data.episodes=4")
    scores = [r.metrics["episode/accuracy"] for r in told.records]
    assert len(scores) == 4 and len(set(scores)) > 1
    low, high = stats.t.interval(0.95, 3, loc=mean(scores), scale=stats.sem(scores))
    assert result.metrics["test/accuracy"] == pytest.approx(mean(scores))
    assert (result.metrics["test/accuracy_low"], result.metrics["test/accuracy_high"]) == pytest.approx((low, high))
    assert 0.3 < mean(scores) < 0.95  # five examples a class say much, and not all
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    (run,) = client.search_runs(["1"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/accuracy"] == pytest.approx(mean(scores))
    assert [m.value for m in client.get_metric_history(run.info.run_id, "episode/accuracy")] == pytest.approx(scores)


def test_arms_see_the_same_draws_and_more_shots_help(workdir: Path) -> None:
    again = [episodes(workdir, "data.shots=3", "data.episodes=3", "tracking=none")[0].metrics for _ in range(2)]
    assert again[0] == again[1]
    more = episodes(workdir, "data.shots=30", "data.episodes=3", "tracking=none")[0].metrics
    assert more["test/accuracy_low"] > again[0]["test/accuracy"]


def test_a_draw_that_diverges_counts_as_guessing(workdir: Path) -> None:
    wild = ("optimizer=sgd", "optimizer.lr=1e9", "data.shots=5", "data.episodes=2", "tracking=none")
    result, _ = episodes(workdir, *wild)
    assert result.findings[0].name == "diverged"
    assert result.metrics["test/accuracy"] < 0.15


@pytest.mark.process
def test_a_stop_keeps_what_was_done(workdir: Path) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    e = experiment(*FEW, "data.shots=5", "data.episodes=50")
    result = run_episodes(e, workdir=workdir, stop=stop)
    assert result.status == "killed" and 0 < result.metrics["episodes"] < 50


def test_bad_combinations_name_the_key() -> None:
    with pytest.raises(ConfigError, match=r"data\.episodes=3"):
        experiment(*FEW, "data.episodes=3")
    with pytest.raises(ConfigError, match="resume=abc"):
        run_episodes(experiment(*FEW, "data.shots=5", "data.episodes=2", "resume=abc"))


def test_the_interval_is_students() -> None:
    found = interval([0.5, 0.6, 0.7])
    assert (found.mean, found.draws) == (pytest.approx(0.6), 3)
    assert found.high - found.mean == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)
