"""Pages of fixed numbers: two runs, an inspection, a study and a comparison, the same on every machine."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

from initlab.probes.snapshot import LayerSnapshot, Snapshot
from initlab.report import draw_page, write_inspection
from initlab.spec import LayerPrediction, Outlook, Prediction, StudySettings
from initlab.study.results.figures import make_figures
from initlab.study.results.leaderboard import leaderboard, summary
from initlab.study.results.outcome import Outcome
from initlab.study.results.page import page
from initlab.study.search.arms import ArmResult, Replica
from initlab.study.space.grammar import Choice
from initlab.study.space.plan import Plan
from initlab.study.space.space import Space
from tests.cli.driver import initlab
from tests.compare.stores import empty, grid, write

ASSETS = Path(__file__).parent / "assets"
NAMES = ("vanishing", "lstm", "inspection", "study", "comparison")


def write_pages(folder: Path) -> dict[str, Path]:
    """The pages by name, written below `folder`."""
    made = {name: folder / f"{name}.html" for name in NAMES}
    for name in ("vanishing", "lstm"):
        made[name].write_text(draw_page(ASSETS / name), encoding="utf-8")
    _inspection(folder).rename(made["inspection"])
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
