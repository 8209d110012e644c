"""What explains a study's ranking, on a study that was run and on records that were made up."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from initlab.advice.explain.study import correlations, explain_study
from initlab.compare import arms as of_arms
from initlab.compare.comparison import compare
from initlab.compare.metric import choose_metric
from initlab.compare.result import Comparison
from initlab.errors import ConfigError
from initlab.spec import CompareSettings, TrackingSettings
from initlab.tracking import Curve, RunRecord
from tests.cli.driver import initlab

GRID = (
    "-m", "data=digits", "model=mlp", "model.depth=6", "model.width=32", "optimizer=sgd", "trainer.epochs=4",
    "tracking.report=false", "trainer.checkpoint=false", "study.name=grid", "init=he,xavier,zeros",
    "activation=relu,sigmoid",
)  # fmt: skip


@pytest.mark.process
def test_a_study_s_arms_are_grouped_by_why_they_never_trained(tmp_path: Path) -> None:
    done = initlab(*GRID, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    told = initlab("explain", "study=grid", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[0].startswith("study grid: 6 arms, 6 runs")
    zeros = next(line for line in lines if line.startswith("  symmetric_units"))
    assert "init=zeros activation=relu; init=zeros activation=sigmoid" in zeros
    vanished = next(line for line in lines if line.startswith("  vanishing"))
    assert "activation=sigmoid" in vanished and "init=he activation=relu" not in vanished
    assert any(line.startswith("Too few seeds for a test") for line in lines)
    assert any(" arms are few" in line for line in lines)
    unknown = initlab("explain", "study=gird", cwd=tmp_path)
    assert unknown.returncode == 2 and "did you mean grid" in unknown.stderr
    with pytest.raises(ConfigError, match="no such study"):
        explain_study("other", TrackingSettings(), workdir=tmp_path)


# ------------------------------------------------------------------ made up, so that the answer is known
def made(results: list[float]) -> Comparison:
    """A comparison of as many arms as there are results, with one seed each."""
    runs = [
        RunRecord(
            run_id=f"run{i}", name="", experiment="", status="finished", start_ms=i, end_ms=i + 1,
            params={"task": "image", "init": f"i{i:02}", "activation": "relu", "seed": "0"},
            tags={"initlab.arm": f"arm{i}", "seed": "0"}, metrics={"test/accuracy": value},
        )
        for i, value in enumerate(results)
    ]  # fmt: skip
    (raw,) = of_arms.by_task(runs, ["init"])
    by = choose_metric(runs, CompareSettings())
    names = of_arms.names([raw], ["init"])
    return compare(raw, by, names, {}, CompareSettings(), keys=["init"])


def readings(key: str, values: list[float]) -> dict[str, dict[str, Curve]]:
    return {key: {f"run{i}": ((0, 1.0), (50, v)) for i, v in enumerate(values)}}


def test_a_reading_that_ranks_the_arms_has_a_correlation_of_minus_one() -> None:
    results = [0.1, 0.3, 0.5, 0.6, 0.8, 0.9]
    comparison = made(results)
    (found,) = correlations(comparison, readings("train/loss", [-v for v in results]))
    assert (found.words, found.step, found.n) == ("training loss", 50, 6)
    assert (found.rho, found.low, found.high, found.p) == pytest.approx((-1.0, -1.0, -1.0, 0.0), abs=1e-9)


def test_a_ratio_counts_by_its_distance_from_one_either_way() -> None:
    comparison = made([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    (found,) = correlations(comparison, readings("diag/grad_ratio", [1.0, 0.5, 4.0, 0.1, 100.0, 1e-4]))
    assert found.rho == pytest.approx(-1.0)


def test_the_interval_is_bonett_s_and_wright_s() -> None:
    results = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    comparison = made(results)
    (found,) = correlations(comparison, readings("train/loss", [2.0, 1.0, 4.0, 3.0, 6.0, 5.0, 8.0, 7.0]))
    rho = 1 - 6 * 8 / (8 * 63)
    assert found.rho == pytest.approx(rho)
    width = 1.959964 * math.sqrt((1 + rho**2 / 2) / 5)
    assert (found.low, found.high) == pytest.approx(
        (math.tanh(math.atanh(rho) - width), math.tanh(math.atanh(rho) + width)), abs=1e-6
    )


def test_four_arms_are_too_few() -> None:
    comparison = made([0.1, 0.2, 0.3, 0.4])
    assert correlations(comparison, readings("train/loss", [4.0, 3.0, 2.0, 1.0])) == []
