"""`python -m initlab inspect` as a person types it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.driver import initlab

pytestmark = pytest.mark.process

FAST = ("examples=64", "ntk_examples=8")
MLP = ("data=digits", "model=mlp", "model.depth=4", "model.width=32", *FAST)


def client(folder: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def only_run(folder: Path) -> tuple[Any, Path]:
    (experiment,) = [e for e in client(folder).search_experiments() if e.name != "Default"]
    (run,) = client(folder).search_runs([experiment.experiment_id])
    (place,) = (folder / "mlruns").rglob(f"{run.info.run_id}/artifacts")
    return run, place


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("inspect")
    done = initlab("inspect", *MLP, "activation=tanh", "init=mean_field", "init.sigma_w=2.0", "init.sigma_b=0.2236068",
                   cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.mark.xdist_group("inspect")
def test_what_is_printed(told: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, done = told
    lines = done.stdout.splitlines()
    assert "4 hidden layers" in lines[0] and "without training" in lines[0]
    head = next(line for line in lines if line.startswith("layer"))
    for column in ("q", "c", "log10 grad²", "χ", "saturated"):
        assert column in head
        assert f"{column}: " in " ".join(x.strip() for x in lines), "the legend says what it is"
    table = lines[lines.index(head) :]
    assert max(len(x) for x in table[: 1 + 4 + 3]) <= 80 and "a is predicted, b measured" in done.stdout
    assert [line.split()[0] for line in lines if line.startswith("layers.")] == [f"layers.{i}.weight" for i in range(4)]
    # Schoenholz et al., ICLR 2017: tanh at σ_w² = 4, σ_b² = 0.05
    field = next(line for line in lines if "tanh at σ_w = 2" in line)
    assert "chaotic" in field and "q* = 2.1955" in field and "χ₁ = 1.3424" in field and "ξ_c = 6.98" in field
    assert re.search(r"^[+!x] (trainable|marginal|untrainable) \(probability [01]\.\d\d\): ", done.stdout, re.MULTILINE)
    assert lines[-1].startswith("Next: python -m initlab data=digits model=mlp")
    assert "(kind inspect)" in done.stdout and "\x1b" not in done.stdout, "no colours where there is no terminal"


@pytest.mark.xdist_group("inspect")
def test_what_is_kept(told: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = told
    run, place = only_run(folder)
    assert run.info.run_id in done.stdout
    assert run.data.tags["initlab.kind"] == "inspect" and run.info.status == "FINISHED"
    assert run.data.params["init.sigma_w"] == "2.0"
    for key in ("predicted/q", "measured/q", "predicted/log10_gradient", "measured/log10_gradient"):
        steps = sorted(m.step for m in client(folder).get_metric_history(run.info.run_id, key))
        assert steps == [0, 1, 2, 3], key
    assert not [k for k in run.data.metrics if k.startswith(("train/", "val/", "test/"))]
    kept = json.loads((place / "inspect.json").read_text())
    assert kept["fields"][0]["phase"] == "chaotic"
    assert kept["fields"][0]["chi_1"] == pytest.approx(1.34240241, rel=1e-6)
    assert (place / "figures" / "predicted_and_measured.svg").stat().st_size > 5_000
    assert not list(place.rglob("*.safetensors")), "there is nothing to resume"


@pytest.mark.xdist_group("inspect")
def test_the_command_that_is_proposed_trains(
    told: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    command = told[1].stdout.splitlines()[-1].removeprefix("Next: python -m initlab ").split()
    done = initlab(*command, "trainer.fast_dev_run=true", "tracking=none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_an_untrainable_network_is_an_answer_and_not_an_error(tmp_path: Path) -> None:
    done = initlab(
        "inspect", "data=digits", "model=mlp", "model.depth=50", "model.width=32", "init=normal", "init.std=0.01",
        "tracking=none", "jacobian=false", "ntk_examples=0", "gradient_quotient=false",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "x untrainable (probability 0.0" in done.stdout
    rows = [line for line in done.stdout.splitlines() if line.startswith(("layers.", "…"))]
    assert len(rows) == 15 and rows[7] == "…", "fourteen of the fifty layers"
    assert list(tmp_path.iterdir()) == [] and "kind inspect" not in done.stdout, "no tracker: nothing is written"


def test_a_sweep_is_a_table_with_holes_and_one_run_with_a_heat_map(tmp_path: Path) -> None:
    sweep = "sweep={init: [he, edge_of_chaos], activation: [relu, softplus], model.depth: [3, 40]}"
    done = initlab("inspect", "data=digits", "model=mlp", "model.width=32", sweep, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("8 combinations inspected in")
    rows = {tuple(line.split()[:3]): line for line in lines[2:10]}
    assert len(rows) == 8
    for (init, activation, _), line in rows.items():
        refused = (init, activation) == ("edge_of_chaos", "softplus")
        assert ("refused" in line and "no critical point" in line) is refused
    assert "untrainable" in rows["he", "softplus", "40"]
    run, place = only_run(tmp_path)
    assert run.data.tags["initlab.kind"] == "inspect"
    counts = {k: run.data.metrics[f"inspect/{k}"] for k in ("trainable", "marginal", "untrainable")}
    assert sum(counts.values()) == 6 and counts["untrainable"] >= 1
    cells = json.loads((place / "sweep.json").read_text())
    assert len(cells) == 8 and sum(c["verdict"] == "refused" for c in cells) == 2
    assert {c["score"] for c in cells if c["verdict"] == "refused"} == {"nan"}
    assert any(p.suffix == ".svg" for p in (place / "figures").iterdir())
    assert lines[-1].startswith("Next: python -m initlab data=digits model=mlp") and "inspect.sweep" not in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["inspect.exampels=3"], ["inspect.exampels=3", "did you mean examples?"]),
        (["exampels=3"], ["exampels=3", "did you mean examples?"]),
        (["sweep=3"], ["inspect.sweep=3"]),
        (["sweep={init: []}"], ["inspect.sweep.init=[]", "at least one value"]),
        (["sweep={init: [hee, hoo]}"], ["init=hee", "did you mean he?"]),
        (["init=edge_of_chaos", "activation=softplus"], ["init=edge_of_chaos", "softplus has no critical point"]),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else None,
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    done = initlab("inspect", "data=digits", "model=mlp", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("initlab: ") and all(p in line for p in parts), line
    assert list(tmp_path.iterdir()) == []
