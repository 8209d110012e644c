"""Several objectives: who dominates whom against the definition, tables, lines and figures, and a whole study."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest

from initlab.errors import ConfigError
from initlab.spec import Profile, RunResult, StudySettings
from initlab.study.results.figures import make_figures, pareto
from initlab.study.results.figures.pareto_plot import front_lines
from initlab.study.results.leaderboard import leaderboard, standings, summary, table
from initlab.study.results.live import LiveTable, format_arm
from initlab.study.search import importance
from initlab.study.search.arms import ArmResult, Replica
from initlab.study.search.samplers import NAMES, sampler
from initlab.study.space.objectives import (
    Direction,
    Directions,
    collect_values,
    fronts,
    resolve_objectives,
    select_values,
)
from tests.cli.driver import initlab
from tests.report.svg import check, texts
from tests.study.test_studies import TINY, children, runs

METRICS = ("val/accuracy", "train/loss")
WAYS: Directions = ("maximize", "minimize")


def the_study(workdir: Path) -> optuna.Study:
    storage = f"sqlite:///{workdir / '.initlab' / 'studies.db'}"
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def states(workdir: Path) -> Counter[str]:
    return Counter(t.state.name for t in the_study(workdir).trials)


def arm(trial: int, *seeds: tuple[float, float], init: str = "", activation: str = "relu") -> ArmResult:
    """A complete arm with (accuracy, loss) of each seed."""
    means = tuple(sum(column) / len(seeds) for column in zip(*seeds, strict=True))
    return ArmResult(
        trial=trial, arm=f"{trial:x}", choices={"init": init or f"i{trial}", "activation": activation},
        state="complete", value=means[0], values=means, seconds=1.0,
        replicas=tuple(Replica(seed=s, value=v[0], values=v, status="finished") for s, v in enumerate(seeds)),
    )  # fmt: skip


def three() -> list[ArmResult]:
    """Two on the front and one that both beat, worst first."""
    return [
        arm(0, (0.4, 0.9), (0.5, 0.8)),
        arm(1, (0.7, 0.2), (0.7, 0.1)),
        arm(2, (0.9, 0.5), (0.8, 0.6)),
    ]


# ------------------------------------------------------------------ dominance
@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("values", [3, 1000])
def test_fronts_are_those_of_the_definition(objectives: int, values: int) -> None:
    draw = random.Random(objectives * values)
    ways = [("maximize", "minimize")[k % 2] for k in range(objectives)]
    points = [tuple(float(draw.randrange(values)) for _ in range(objectives)) for _ in range(90)]

    def beats(a: Sequence[float], b: Sequence[float]) -> bool:
        gains = [(x - y) * (1 if way == "maximize" else -1) for x, y, way in zip(a, b, ways, strict=True)]
        return min(gains) >= 0 and max(gains) > 0

    expected, left, front = [0] * len(points), set(range(len(points))), 0
    while left:
        front += 1
        peeled = {i for i in left if not any(beats(points[j], points[i]) for j in left)}
        for i in peeled:
            expected[i] = front
        left -= peeled
    assert fronts(points, ways) == expected
    assert objectives > 1 or front == len(set(points))


def test_the_first_front_is_optunas() -> None:
    draw = random.Random(4)
    study = optuna.create_study(directions=["maximize", "minimize"])
    points = [(draw.random(), draw.random()) for _ in range(60)]
    for point in points:
        study.add_trial(optuna.create_trial(values=point))
    best = {tuple(t.values) for t in study.best_trials}
    assert {p for p, rank in zip(points, fronts(points, WAYS), strict=True) if rank == 1} == best


# ------------------------------------------------------------------ what is asked for
def test_auto_goes_by_the_names() -> None:
    settings = StudySettings(metric=("auto", "train/loss", "seconds", "parameters", "throughput/samples_per_s"))
    assert resolve_objectives(settings, "val/accuracy") == (
        ("val/accuracy", "train/loss", "seconds", "parameters", "throughput/samples_per_s"),
        ("maximize", "minimize", "minimize", "minimize", "maximize"),
    )
    assert resolve_objectives(StudySettings(), "val/perplexity") == ("val/perplexity", "minimize")
    assert resolve_objectives(StudySettings(metric=("val/loss",)), "") == ("val/loss", "minimize")
    given = StudySettings(metric=("diag/grad_norm", "val/loss"), direction=("minimize", "auto"))
    assert resolve_objectives(given, "")[1] == ("minimize", "minimize")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (StudySettings(metric=()), "study.metric=[]"),
        (StudySettings(metric=("val/loss", "val/loss")), "different ones"),
        (StudySettings(metric=("val/accuracy", "auto")), "different ones"),
        (StudySettings(metric=METRICS, direction="maximize"), "2 metrics need as many"),
        (StudySettings(metric=METRICS, direction=("maximize",) * 3), "2 metrics need as many"),
        (StudySettings(metric="diag/grad_norm"), "whether more of diag/grad_norm is better"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: StudySettings, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        resolve_objectives(settings, "val/accuracy")
    assert said in str(raised.value)


def test_what_a_run_is_asked_for_and_has_not_is_told() -> None:
    result = RunResult(
        run_id="", status="finished", metrics={"val/accuracy": 0.9, "test/loss": math.nan}, findings=(),
        profile=Profile(), steps=7, seconds=1.5,
    )  # fmt: skip
    found = collect_values(
        result, {"throughput/samples_per_s": 9.0, "val/accuracy": 0.1, "act_std/net.0.weight": 1.0}, 42
    )
    assert select_values(found, ("val/accuracy", "parameters", "seconds", "steps")) == (0.9, 42, 1.5, 7)
    assert select_values(found, "act_std/net.0.weight") == (1.0,)
    assert select_values(found, ("val/accuracy", "test/loss")) is None
    with pytest.raises(ConfigError, match=r"study\.metric=val/acuracy: .*did you mean val/accuracy.*parameters"):
        select_values(found, "val/acuracy")


def test_samplers_of_one_objective_are_refused_and_the_others_search() -> None:
    with pytest.raises(ConfigError, match=r"study\.sampler=cmaes: .*one metric.*nsga2"):
        sampler("cmaes", seed=0, objectives=2)
    for name in set(NAMES) - {"cmaes"}:
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler(name, seed=1, objectives=2))
        for i in range(14):
            trial = study.ask()
            x = trial.suggest_float("x", 0, 1)
            if trial.suggest_categorical("init", ["he", "uniform"]) == "uniform":
                trial.suggest_float("a", 0, 1)
            if i % 5 == 4:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, [x, x * x])
        assert len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))) == 12


# ------------------------------------------------------------------ what is shown
def test_the_leaderboard_goes_front_by_front() -> None:
    arms = [*three(), ArmResult(trial=3, arm="3", choices={}, state="pruned", value=None, reason="diverged")]
    rows = leaderboard(arms, direction=WAYS)
    assert [(r.result.trial, r.rank) for r in rows] == [(2, 1), (1, 1), (0, 2), (3, None)]
    assert [r.rank for r in standings(arms, direction=WAYS)] == [1, 1, 2, None]
    assert all(r.verdict == "" for r in rows)
    assert [r.mean for r in (rows[0], *rows[0].others)] == pytest.approx([0.85, 0.55])
    assert rows[0].others[0].low < 0.55 < rows[0].others[0].high
    heading, first, _, third, last = table(rows, metric=METRICS, width=120).split("\n")
    assert [w for w in heading.split() if w in ("rank", *METRICS)] == ["rank", *METRICS]
    assert first.split()[:4] == ["2", "1", "front", "0.8500"] and "0.5500" in first
    assert third.split()[:3] == ["0", "2", "0.4500"] and "pruned: diverged" in last
    assert summary(arms, leaderboard(arms, direction=WAYS, metric=METRICS), metric=METRICS).startswith(
        "4 arms: 3 complete, 1 pruned; 2 on the front, best in val/accuracy: init=i2, activation=relu with"
        " val/accuracy 0.8500 ["
    )
    assert "train/loss 0.5500 [" in summary(arms, leaderboard(arms, direction=WAYS, metric=METRICS), metric=METRICS)
    assert summary(arms, leaderboard(arms, direction=WAYS, metric=METRICS), metric=METRICS).count("(2 seeds)") == 1
    counted = table(leaderboard([arm(0, (0.5, 151_242.0))], direction=WAYS), metric=METRICS, width=90)
    assert "151242 " in counted


def test_an_arm_without_one_of_its_numbers_has_no_rank() -> None:
    lost = arm(5, (0.99, math.nan))
    rows = leaderboard([*three(), lost], direction=WAYS)
    assert rows[-1].result is lost and rows[-1].rank is None and "no finite objective" in rows[-1].note


def test_lines_while_it_goes_on_name_every_objective() -> None:
    out = io.StringIO()
    board = LiveTable(total=30, metric=METRICS, direction=WAYS, out=out, err=io.StringIO())
    board.update(three())
    assert out.getvalue().splitlines()[1] == (
        "2/30 init=i1 activation=relu: val/accuracy 0.7000, train/loss 0.1500 (2 seeds), 1.0 s"
    )
    assert board.heading(three())[1].startswith("2 on the front, with init=i2 activation=relu: val/accuracy 0.8500")
    assert format_arm(arm(5, (0.99, math.nan)), metric=METRICS).endswith(
        "without a finite val/accuracy or train/loss, 1.0 s"
    )


def test_the_pareto_figure_tells_the_front_from_the_rest() -> None:
    ways: tuple[Direction, ...] = ("maximize", "minimize")
    lines = {line.label: line for line in front_lines(three(), 1, ways)}
    front, rest = lines["on the front, with trial number"], lines["another is as good in all"]
    assert sorted(front.points) == [pytest.approx(p) for p in ((0.15, 0.7), (0.55, 0.85))]
    assert list(rest.points) == [pytest.approx((0.85, 0.45))]
    assert (front.mark, rest.mark) == ("dot", "ring")  # told apart without colours
    assert sorted(front.texts) == ["1", "2"]
    figure = pareto(three(), metrics=METRICS, directions=ways)
    assert figure is not None
    check(figure)
    assert {"training loss, less is better", "validation accuracy (share of 1), more is better"} <= set(texts(figure))
    assert "2 of 3" in figure.reading
    one = pareto([arm(0, (0.1, 0.2))], metrics=METRICS, directions=ways)
    assert one is not None
    check(one)
    assert pareto([], metrics=METRICS, directions=ways) is None


def test_figures_of_one_objective_are_drawn_for_each() -> None:
    draw = random.Random(2)
    arms = [
        arm(n, (draw.random(), 10 ** draw.uniform(-4, 1)), init=i, activation=a)
        for n, (i, a) in enumerate(itertools.product(("he", "xavier", "zeros"), ("relu", "tanh", "selu")))
    ]
    made = make_figures(arms, None, metric=METRICS, direction=WAYS)
    assert list(made) == [
        "heat_map", "heat_map_2", "history", "history_2", "importance", "parallel", "parallel_2", "pareto",
    ]  # fmt: skip
    assert "training loss" in texts(made["history_2"])
    for figure in made.values():
        check(figure)


# ------------------------------------------------------------------ importance of a grid
def test_the_importance_of_a_grid_is_in_a_line() -> None:
    choices = list(itertools.product(("he", "zeros", "normal"), ("relu", "tanh", "selu", "gelu")))
    one = [
        ArmResult(
            trial=n, arm="", choices={"init": i, "activation": a}, state="complete",
            value=0.9 + n / 1000 if i == "he" else 0.1 + n / 1000,
        )
        for n, (i, a) in enumerate(choices)
    ]  # fmt: skip
    head, _, second = importance.format_importance(one, optuna.create_study(), "maximize")[0].partition(", ")
    assert head.startswith("importance: init ") and float(head.split()[-2]) > 80
    assert second == "activation within noise (12 arms)"
    several = [
        arm(n, (0.9, 0.1) if i == "he" else (0.1, 0.9), init=i, activation=a) for n, (i, a) in enumerate(choices)
    ]
    assert importance.format_importance(several, None, WAYS)[0].startswith("importance: init ")


def test_where_no_key_stands_out_the_line_says_what_tests_them() -> None:
    """PED-ANOVA of a few arms, which have a clear effect over their seeds: no sentence against it."""
    values = {"he": 0.9, "xavier": 0.7, "normal": 0.5}
    arms = [
        ArmResult(
            trial=n, arm="", choices={"init": i, "activation": a}, state="complete",
            value=values[i] + (0.15 if (n % 2) else -0.15),
        )
        for n, (i, a) in enumerate(itertools.product(values, ("relu", "tanh", "selu")))
    ]  # fmt: skip
    line, noise = importance.format_importance(arms, None, "maximize")
    assert noise == {"init", "activation"}
    assert line == "importance: 9 arms are too few to measure it (PED-ANOVA); compare tests the effect of each key"


@pytest.mark.parametrize(
    ("values", "keys", "said"),
    [
        ([], 2, "0 arms with a result, 4 are needed"),
        ([0.1], 2, "1 arm with a result, 4 are needed"),
        ([0.1, 0.2, 0.3, math.nan], 2, "3 arms with a result, 4 are needed"),
        ([0.1, 0.2, 0.3, 0.4, 0.5], 1, "only one key was searched"),
        ([0.5] * 6, 2, "all arms have the same value"),
    ],
)
def test_why_there_is_no_importance(values: list[float], keys: int, said: str) -> None:
    arms = [
        ArmResult(trial=n, arm="", choices={f"k{k}": f"v{n % (k + 2)}" for k in range(keys)}, state="complete", value=v)
        for n, v in enumerate(values)
    ]
    assert importance.format_importance(arms, None, "maximize")[0] == f"importance: not computed; {said}"
    assert "importance" not in make_figures(arms, None, metric="m", direction="maximize")


# ------------------------------------------------------------------ whole studies
@pytest.mark.process
@pytest.mark.timeout(240)
def test_a_study_of_two_objectives(workdir: Path) -> None:
    grid = (*TINY, "init=he,zeros", "model.width=8,16", "study.metric=[val/accuracy,parameters]", "replicas=2")
    done = initlab("-m", *grid, cwd=workdir, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "val/accuracy, parameters, maximize, minimize" in done.stdout
    assert "on the front" in done.stdout and "importance:" in done.stdout
    assert states(workdir) == {"COMPLETE": 4} and len(children(workdir)) == 8
    study = the_study(workdir)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    # 8x8 pixels, width, two hidden layers or as many as the default has: what counts is that it is a count
    sizes = {json.loads(t.user_attrs["choices"])["model.width"]: t.values[1] for t in study.trials}
    assert sizes["8"] < sizes["16"] and all(v.is_integer() for v in sizes.values())
    (parent,) = [r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "study"]
    metrics = parent.data.metrics
    assert metrics["study/best/parameters"] == sizes["8"] and metrics["study/front"] >= 1
    assert metrics["study/best/val/accuracy"] == max(t.values[0] for t in study.trials)
    assert "study/best" not in metrics
    assert "importance:" in parent.data.tags["mlflow.note.content"]
    (board,) = (workdir / "mlruns").rglob(f"{parent.info.run_id}/artifacts/leaderboard.csv")
    rows = list(csv.DictReader(board.read_text().splitlines()))
    assert {r["rank"] for r in rows} >= {"1"} and all(float(r["parameters"]) in sizes.values() for r in rows)
    assert (board.parent / "figures" / "pareto.svg").is_file()

    again = initlab("-m", *grid, cwd=workdir)
    assert again.returncode == 0 and "4 done before, 0 new" in again.stdout and "on the front" in again.stdout


@pytest.mark.process
@pytest.mark.timeout(240)
def test_objectives_that_cannot_be_are_refused_and_changed_ones_are_another_study(workdir: Path) -> None:
    two = "study.metric=[val/accuracy,train/loss]"
    for arguments, said in (
        ([two, "study.pruner=median"], "study.pruner=median"),
        ([two, "study=cmaes"], "study.sampler=cmaes"),
        ([two, "study.direction=maximize"], "study.direction"),
        (["study.metric=val/accuracy,train/loss"], "several are a list"),
        (["study.pruner=wilcoxon", "replicas=2"], "replicas=2"),
    ):
        done = initlab("-m", *TINY, "init=he,xavier", *arguments, cwd=workdir)
        assert done.returncode == 2 and said in done.stderr, (arguments, done.stdout, done.stderr)
    assert not (workdir / ".initlab" / "studies").exists()

    named = (*TINY, "init=he,zeros", "study.name=n", "trainer.epochs=1")
    misspelt = initlab("-m", *named, "study.metric=val/acuracy", cwd=workdir)
    assert misspelt.returncode == 2 and "did you mean val/accuracy?" in misspelt.stderr
    assert not (workdir / ".initlab" / "studies").exists(), "nothing was trained for it"
    first = initlab("-m", *named, "study.metric=val/loss", cwd=workdir, timeout=200)
    assert first.returncode == 0 and states(workdir) == {"COMPLETE": 2}
    other = initlab("-m", *named, two, cwd=workdir)
    assert other.returncode == 2 and not other.stdout
    assert "study.metric: val/loss became val/accuracy, train/loss" in other.stderr
    assert "study.direction: minimize became maximize, minimize" in other.stderr
