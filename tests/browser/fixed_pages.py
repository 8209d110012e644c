"""Pages of fixed numbers, the same on every machine: of runs, inspections, advice, explanations, studies."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

from initlab.advice import Option, Past, decide
from initlab.advice.explain import Recorded, explain_run
from initlab.advice.explain.page import run_page, study_page
from initlab.advice.page import page as advice_page
from initlab.diagnosis.rules import Evidence
from initlab.probes.snapshot import LayerSnapshot, Snapshot
from initlab.report import draw_page, write_inspection
from initlab.report.stored import read_data
from initlab.spec import LayerPrediction, Outlook, Prediction, StudySettings
from initlab.study.results.figures import make_figures
from initlab.study.results.leaderboard import leaderboard, summary
from initlab.study.results.outcome import Outcome
from initlab.study.results.page import page
from initlab.study.search.arms import ArmResult, Replica
from initlab.study.space.grammar import Choice
from initlab.study.space.plan import Plan
from initlab.study.space.space import Space
from initlab.tracking import StoredRun
from initlab.tracking.store.client import connect
from tests.cli.driver import initlab
from tests.compare.stores import empty, grid, write

ASSETS = Path(__file__).parent / "assets"
NAMES = ("vanishing", "lstm", "inspection", "advice", "explained", "study", "study_explained", "comparison")


def write_pages(folder: Path) -> dict[str, Path]:
    """The pages by name, written below `folder`."""
    made = {name: folder / f"{name}.html" for name in NAMES}
    for name in ("vanishing", "lstm"):
        made[name].write_text(draw_page(ASSETS / name), encoding="utf-8")
    _inspection(folder).rename(made["inspection"])
    made["advice"].write_text(_advice(), encoding="utf-8")
    made["explained"].write_text(_explained(folder), encoding="utf-8")
    made["study_explained"].write_text(_study_explained(), encoding="utf-8")
    made["study"].write_text(_study(folder), encoding="utf-8")
    _comparison(folder).rename(made["comparison"])
    return made


def _inspection(folder: Path) -> Path:
    rows = [
        LayerPrediction(
            site=f"layers.{k}.weight", order=k, sigma_w2=1.0, sigma_b2=0.0, q=0.9**k, mean=0.0,
            c=1 - 0.5 * 0.8**k, log10_gradient=0.3 * (k - 11), saturated=0.02 * k, chi=0.5,
        )
        for k in range(12)
    ]  # fmt: skip
    seen = [
        LayerSnapshot(
            site=r.site, order=r.order, q=r.q * (1 + 0.1 * math.sin(r.order)), mean=0.0, c=min(1.0, r.c + 0.01),
            log10_gradient=r.log10_gradient + 0.05 * math.cos(r.order), grad_norm=0.1, weight_norm=4.0,
            saturated=r.saturated, off=0.0, effective_rank=5.0,
        )
        for r in rows
    ]  # fmt: skip
    said = Prediction(
        layers=tuple(rows), output_q=0.3, depth=12, trainable_depth=9.4, gradient_depth=8.7, log_q_sd=0.2,
        born_dead=0.0, stable=True, out_of_scope=("dropout",),
    )  # fmt: skip
    found = Snapshot(layers=tuple(seen), loss=2.31, output_q=0.3, output_c=0.9, kept=0.2, grad_norm=1.0, examples=128)
    outlook = Outlook(
        verdict="untrainable", score=0.12,
        reasons=("12 hidden layers, theory allows about 6ξ = 9.4", "the gradient vanishes by 10^3.3"),
    )  # fmt: skip
    files = write_inspection(
        said, found, folder, name="digits-mlp-normal-sigmoid-s0", outlook=outlook,
        todo=[("python -m initlab model=mlp model.depth=12 activation=tanh init=xavier", "Activation=tanh: trainable")],
        advice=("sigmoid has no critical point: no scale keeps the gradient in a deep network",),
        again="python -m initlab inspect model=mlp model.depth=12 activation=sigmoid",
    )  # fmt: skip
    return next(path for path, _ in files if path.name == "report.html")


def _advice() -> str:
    options: list[Option] = []
    for k, (activation, init) in enumerate(product(("relu", "tanh", "gelu"), ("he", "xavier", "orthogonal"))):
        refused = "needs a layer that ReLU follows" if (init, activation) == ("he", "tanh") else ""
        score = 0.95 - 0.09 * ((k * 4) % 9)
        verdict = "trainable" if score > 0.7 else "marginal" if score > 0.4 else "untrainable"
        reasons = (f"the gradient changes by a factor of {1 + k} over 20 layers", "20 hidden layers, 6ξ = 31")
        outlook = Outlook(verdict=verdict, score=score, reasons=reasons, quantities={"depth": 20.0})
        options.append(
            Option(
                init=init, activation=activation, why="keeps the variance of the signal (He et al., 2015)",
                risk=1 - score, outlook=None if refused else outlook, refused=refused, plain=True,
            )
        )  # fmt: skip
    past = {("he", "relu"): Past(runs=3, trained=3, scores=(0.93, 0.94, 0.95), key="val/accuracy", higher=True)}
    advice = decide(options, past, composed="gelu")
    return advice_page(
        advice, name="digits, mlp", todo=[("python -m initlab model=mlp init=he activation=relu", "Train it")],
        changes=["model.norm=batch"], again="python -m initlab advise model=mlp",
    )  # fmt: skip


def _explained(folder: Path) -> str:
    data = read_data(ASSETS / "vanishing")
    assert data.baseline is not None
    evidence = Evidence(
        profile=data.profile, hidden=tuple(data.sites)[:-1], baseline=data.baseline, answers=179,
        steps=42, diverged_step=None, flat_both_sides=True, answer_per_step=False, params=data.params,
    )  # fmt: skip
    store = folder / "explained"
    store.mkdir()
    empty(store)
    run = StoredRun(
        run_id="0" * 32, name=data.name, experiment="initlab", tags={},
        store=connect(f"sqlite:///{store}/mlflow.db", workdir=store),
    )  # fmt: skip
    told = Recorded(
        run=run, status="finished", evidence=evidence, config="", layers=(), allowed=1.82, outlook="untrainable"
    )
    found = explain_run(evidence)
    commands = [f"python -m initlab model=mlp {' '.join(r.overrides)}" for r in found.remedies]
    return run_page(told, found, commands, data=data)


def _study_explained() -> str:
    lines = [
        "study inits: 6 arms, 18 runs, 18 of which ended",
        "Best: init=he activation=relu with val/accuracy 0.9507 [0.9393 … 0.9621]",
        "",
        "What predicts the result early: training loss at update 50, Spearman -0.94 (-1.00 to -0.37, 6 arms); p"
        " corrected for 7 readings: 0.036.",
        "  -0.84 (-0.99 to +0.09)  largest dead share, update 49, p 0.22",
        "",
        "Never trained: 2 of 6 arms",
        "  symmetric_units (all units of a layer are copies of one another): init=zeros activation=relu",
    ]
    return study_page("inits", lines, following="python -m initlab compare study=inits")


def _study(folder: Path) -> str:
    inits, activations = ("he", "xavier", "orthogonal", "zeros"), ("relu", "tanh", "gelu")
    arms: list[ArmResult] = []
    for n, (init, activation) in enumerate(product(inits, activations)):
        level = 0.1 if init == "zeros" else 0.93 - 0.01 * n
        values = [level + 0.002 * ((n * 7 + s * 5) % 9 - 4) for s in range(5)]
        replicas = tuple(Replica(seed=s, value=v, status="finished") for s, v in enumerate(values))
        arms.append(
            ArmResult(
                trial=n, arm=f"{n:012x}", choices={"init": init, "activation": activation}, state="complete",
                value=sum(values) / 5, replicas=replicas,
            )
        )  # fmt: skip
    arms.append(
        ArmResult(
            trial=12, arm="c" * 12, choices={"init": "irnn", "activation": "relu"}, state="failed", value=None,
            reason="init=irnn: needs a recurrent layer",
        )
    )  # fmt: skip
    rows = leaderboard(arms, direction="maximize", metric=("val/accuracy",))
    made = Outcome(
        arms=arms, rows=rows, summary=summary(arms, rows, metric="val/accuracy"),
        importance="importance: init 78 %, activation within noise (13 arms)", noise=frozenset({"activation"}),
    )  # fmt: skip
    plan = Plan(
        name="inits_and_activations", folder=folder, workdir=folder,
        settings=StudySettings(metric="val/accuracy", direction="maximize"),
        space=Space(
            dimensions=(Choice(key="init", options=(*inits, "irnn")), Choice(key="activation", options=activations)),
            fixed=("model=mlp", "model.depth=8"),
        ),
        seed=0, replicas=5, storage="",
    )  # fmt: skip
    figures = make_figures(arms, None, metric="val/accuracy", direction="maximize", noise=made.noise)
    return page(plan, made, figures)


def _comparison(folder: Path) -> Path:
    store = folder / "store"
    store.mkdir()
    arms = {
        (init, activation): [base + 0.004 * ((k * 5 + s * 3) % 7 - 3) for s in range(5)]
        for k, ((init, activation), base) in enumerate(
            zip(product(("he", "xavier", "zeros"), ("relu", "tanh")), (0.95, 0.94, 0.91, 0.93, 0.1, 0.1), strict=True)
        )
    }
    write(empty(store), grid(arms), study="six")
    done = initlab("compare", "study=six", "out=out", "log=false", cwd=store)
    assert done.returncode == 0, done.stderr
    return store / "out" / "comparison.html"
