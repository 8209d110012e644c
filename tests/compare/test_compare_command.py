"""`compare` as it is typed: what it says, what it writes, and a sentence with exit code 2 where it can show nothing."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.driver import initlab
from tests.compare.stores import Made, grid, write

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]

SIX = {
    ("he", "relu"): [0.95, 0.96, 0.955, 0.94, 0.95], ("he", "tanh"): [0.95, 0.955, 0.96, 0.945, 0.94],
    ("xavier", "relu"): [0.90, 0.91, 0.905, 0.89, 0.90], ("xavier", "tanh"): [0.85, 0.86, 0.855, 0.84, 0.86],
    ("zeros", "relu"): [0.1] * 5, ("zeros", "tanh"): [0.1] * 5,
}  # fmt: skip


def test_a_study_is_compared_and_kept_in_all_forms(workdir: Path, store: Path) -> None:
    write(store, grid(SIX), study="six", space="init activation")
    done = initlab("compare", "study=six", "baseline=init=xavier,activation=relu", "out=out", cwd=workdir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "six: 6 arms, 30 runs (30 finished), val/accuracy" in done.stdout
    assert "best: init=he activation=relu" in done.stdout and "1 more not distinguishable from it" in done.stdout
    assert "the exact sign-flip test cannot reach 0.05 here: with 5 seeds its smallest p is 0.0625" in done.stdout
    assert "init × activation" in done.stdout and "would take about" in done.stdout
    table = pd.read_csv(workdir / "out" / "comparison.csv")
    assert table["winner"].tolist() == [True, True, False, False, False, False]
    assert table["mean"].tolist() == pytest.approx([sum(v) / 5 for v in SIX.values()])
    assert (table["interval"] == "pooled t").sum() == 4 and (table["interval"] == "no spread").sum() == 2
    frame = pd.read_parquet(workdir / "out" / "comparison.parquet")
    pd.testing.assert_frame_equal(frame, table, check_dtype=False)
    assert (workdir / "out" / "comparison.md").read_text().count("\n| ") == 8
    tex = (workdir / "out" / "comparison.tex").read_text()
    assert tex.count(r" \\\\"[:3]) >= 7 and "95 \\%" in tex
    stems = {"intervals", "heat_map", "learning_curves", "performance_profile"}
    assert {p.stem for p in (workdir / "out").glob("*.svg")} == stems
    page = (workdir / "out" / "comparison.html").read_text()
    assert len(page) < 3_000_000 and page.count("<svg") == 4 and "http" not in re.sub(r"http://www.w3.org\S*", "", page)
    HTMLParser().feed(page)
    # kept with the study's own run
    with sqlite3.connect(store) as database:
        (where,) = database.execute(
            "SELECT run_uuid FROM tags WHERE key = 'initlab.kind' AND value = 'study'"
        ).fetchone()
    database.close()
    assert f"kept under compare/ of run {where}" in done.stdout


def test_a_real_study_has_the_values_of_its_leaderboard(workdir: Path) -> None:
    tiny = ("data=digits", "data.limit=200", "model=mlp", "model.width=16", "trainer.epochs=2", "tracking.report=false")
    grid_of = ("init=he,zeros", "activation=relu,tanh", "replicas=2", "study.name=real", "probes=none")
    trained = initlab("-m", *tiny, *grid_of, cwd=workdir, timeout=200)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    done = initlab("compare", "study=real", "out=out", cwd=workdir)
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(workdir / "out" / "comparison.csv").set_index(["init", "activation"])
    (leaderboard,) = (workdir / "mlruns").rglob("leaderboard.csv")
    with leaderboard.open() as file:
        for row in csv.DictReader(file):
            assert table.loc[(row["init"], row["activation"]), "mean"] == pytest.approx(float(row["value"]))
            assert table.loc[(row["init"], row["activation"]), "values"].split() == pytest.approx(
                [f"{v:.9g}" for v in json.loads(row["values"])]
            )
    kept = {p.name for p in (workdir / "mlruns").rglob("compare/*")}
    assert {"comparison.html", "comparison.csv", "intervals.svg"} <= kept
    # one study in the store: it need not be named
    assert "real: 4 arms" in initlab("compare", "log=false", cwd=workdir).stdout


def test_several_tasks_are_judged_one_by_one_and_ranked(workdir: Path, store: Path) -> None:
    arms = {("he", "relu"): [0.95, 0.94], ("xavier", "relu"): [0.9, 0.89], ("zeros", "relu"): [0.1, 0.1]}
    for data in ("digits", "mnist_mini"):
        runs = [Made(seed=m.seed, params={**m.params, "data": data}, curve=m.curve) for m in grid(arms)]
        write(store, runs, study=f"on-{data}")
    done = initlab("compare", "study=on-digits,on-mnist_mini", "out=out", cwd=workdir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 tasks: each is judged by itself" in done.stdout and "critical difference of ranks" in done.stdout
    assert (workdir / "out" / "critical_difference.svg").exists() and (workdir / "out" / "intervals_2.svg").exists()
    assert set(pd.read_csv(workdir / "out" / "comparison.csv")["task"]) == {
        "task=image, data=digits", "task=image, data=mnist_mini",
    }  # fmt: skip
    picked = initlab("compare", "filter=params.data = 'digits' and params.init != 'zeros'", cwd=workdir)
    assert picked.returncode == 0 and "2 arms, 4 runs" in picked.stdout


def test_what_can_be_said_of_little_is_said(workdir: Path, store: Path) -> None:
    write(store, grid({("he", "relu"): [0.9], ("zeros", "relu"): [0.1]}), study="one-seed")
    write(store, grid({("he", "relu"): [0.9, 0.91, 0.89]}), study="one-arm")
    few = "one seed per arm: with fewer than 3 no arm is called worse"
    for name, part in (("one-seed", few), ("one-arm", "there is one arm")):
        done = initlab("compare", f"study={name}", "log=false", cwd=workdir)
        assert done.returncode == 0 and part in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["study=empty"], ["study empty has no run yet"]),
        (["study=sixx"], ["no such study", "choose from empty, gone, six", "did you mean six?"]),
        (["study=gone"], ["all 4 runs diverged", "nothing to compare"]),
        ([], ["say which", "study=NAME of empty, gone, six"]),
        (
            ["study=six", "metric=val/acc"],
            ["compare.metric=val/acc", "no run has it", "val/accuracy, val/loss"],
        ),
        (["study=six", "baseline=init=xavier"], ["compare.baseline", "2 arms fit"]),
        (["study=six", "keys=[model.depth]"], ["compare.keys=model.depth", "does not differ"]),
        (["study=six", "filter=params.init = 'nix'"], ["no run that fits the filter"]),
        (["filter=this is none"], ["filter=this is none"]),
        (["experiment=nowhere"], ["no such experiment", "initlab"]),
        (["tracking.uri=sqlite:///absent.db"], ["there is no store here yet"]),
        (["tracking.uri=http://127.0.0.1:9", "study=six"], ["tracking.uri=http://127.0.0.1:9", "did not answer"]),
        (["study=six", "alpha=2"], ["compare.alpha=2", "less than 1"]),
        (["study=six", "out=mlflow.db"], ["out=mlflow.db", "is a file"]),
    ],
)
def test_where_nothing_can_be_shown_a_sentence_says_why(
    workdir: Path, store: Path, arguments: list[str], parts: list[str]
) -> None:
    write(store, [], study="empty")
    write(store, grid(SIX), study="six", space="init activation")
    lost = {("he", "relu"): [0.5, 0.4], ("zeros", "relu"): [0.5, 0.4]}
    write(store, grid(lost, status="diverged"), study="gone")
    before = store.read_bytes()
    done = initlab("compare", *arguments, cwd=workdir)
    assert done.returncode == 2, done.stdout + done.stderr
    assert all(p in done.stderr for p in parts), done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert store.read_bytes() == before and sorted(p.name for p in workdir.iterdir()) == ["mlflow.db"]
