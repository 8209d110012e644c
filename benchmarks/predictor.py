"""How well does what is said before the first step rank what happens afterwards?

    python benchmarks/predictor.py run FILE       train the grid; can be stopped and goes on where it was
    python benchmarks/predictor.py look FILE      predict and measure again, where that has changed and training has not
    python benchmarks/predictor.py fit FILE       the constants of the score, from the training activations
    python benchmarks/predictor.py report FILE    figures on the held-out activations

The grid: 11 initialisers x 12 activations x depths 3-50 (perceptron of width 100) and 3-30 (plain convolutional network
of 12 channels, batches of 32), on `mnist_mini`, 340 updates of SGD with momentum 0.9, learning rate 0.01, clipped to
norm 1, seed 0.
Six activations are for choosing thresholds, six others are held out and looked at once.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing as mp
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.resumable import read, train_cells

CHOSEN_ON = ("relu", "tanh", "gelu", "sigmoid", "elu", "sin")
HELD_OUT = ("silu", "selu", "softsign", "leaky_relu activation.negative_slope=0.2", "softplus", "erf")
INITS = (
    "he", "xavier", "lecun", "orthogonal", "torch_default", "uniform init.a=0.05", "normal init.std=0.01",
    "normal init.std=0.2", "he init.gain=2.5", "edge_of_chaos", "lsuv",
)  # fmt: skip
MODELS = {
    "mlp model.width=100": (3, 10, 20, 35, 50),
    "convnet model.width=12 model.readout=flatten trainer.batch_size=32": (3, 10, 30),
}
CHANCE = 0.1
COMMON = (
    "task=image", "data=mnist_mini", "optimizer=sgd", "optimizer.lr=0.01", "optimizer.momentum=0.9",
    "trainer.clip_grad_norm=1.0", "trainer.epochs=6", "trainer.max_steps=340", "trainer.checkpoint=false",
    "trainer.test_with=last", "probes=none", "tracking=none", "device=cpu", "seed=0",
)  # fmt: skip


def grid() -> Iterator[dict[str, Any]]:
    """Every cell, cheap ones first, so that a partial run covers all of the smaller depths."""
    cells = [
        {"model": model, "depth": depth, "activation": activation, "init": init, "held_out": activation in HELD_OUT}
        for model, depths in MODELS.items()
        for depth in depths
        for activation in (*CHOSEN_ON, *HELD_OUT)
        for init in INITS
    ]
    yield from sorted(cells, key=lambda c: (c["depth"] * (4 if "convnet" in c["model"] else 1), c["model"]))


def overrides(cell: dict[str, Any]) -> list[str]:
    return [
        *COMMON,
        *(f"model={cell['model']} model.depth={cell['depth']}").split(),
        *f"activation={cell['activation']}".split(),
        *f"init={cell['init']}".split(),
    ]


def look(cell: dict[str, Any]) -> dict[str, Any]:
    """What is said and measured of a cell before its first step; ``refused`` where its initialiser is not for it."""
    import torch

    from initlab import config
    from initlab.diagnosis.trainability import risk
    from initlab.errors import ConfigError
    from initlab.run.prepare import foresee, prepare

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        prepared = prepare(config.experiment(config.compose(overrides(cell))))
    except ConfigError as refused:
        return {"refused": str(refused)}
    forecast = foresee(prepared)
    parts = risk(forecast.prediction, forecast.seen)
    return {
        "risk": asdict(parts),
        "score": forecast.outlook.score,
        "verdict": forecast.outlook.verdict,
        "predicted": asdict(forecast.prediction),
        "measured": asdict(forecast.seen),
    }


def one(cell: dict[str, Any]) -> dict[str, Any]:
    """Look, then train, and say how it ended."""
    from initlab import config
    from initlab.run.train import run

    begun = time.perf_counter()
    row: dict[str, Any] = {**cell, **look(cell)}
    if "refused" in row:
        return row
    result = run(config.experiment(config.compose(overrides(cell))))
    row["status"] = result.status
    row["accuracy"] = result.metrics.get("test/accuracy", CHANCE)
    row["train_loss"] = result.metrics.get("train/loss", math.nan)
    row["seconds"] = time.perf_counter() - begun
    return row


def again(row: dict[str, Any]) -> dict[str, Any]:
    """The same row with its look taken again, for when the prediction has changed and training has not."""
    return {**row, **look(row)}


def look_again(file: Path, workers: int) -> None:
    rows = read(file)
    with mp.get_context("spawn").Pool(workers) as pool:
        fresh = list(pool.imap(again, rows, chunksize=8))
    file.write_text("".join(json.dumps(r) + "\n" for r in fresh))


# ------------------------------------------------------------------ how well it ranks
def trained(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that were trained, each with `success`: above half of the best arm's accuracy with its kind of model."""
    from initlab.diagnosis.trainability import score_of, verdict_of

    done = [r for r in rows if "accuracy" in r]
    best: dict[str, float] = {}
    for r in done:
        best[family(r)] = max(best.get(family(r), 0.0), r["accuracy"])
    for r in done:
        r["success"] = r["accuracy"] > best[family(r)] / 2
        parts = r["risk"].values()
        r["total"] = min(sum(parts), 1e6) if all(math.isfinite(p) for p in parts) else 1e6
        r["verdict"] = verdict_of(score_of(r["total"]))
    return done


def family(row: dict[str, Any]) -> str:
    return str(row["model"]).split()[0]


def fit(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """MIDDLE and POWER of the score 1/(1 + (risk/MIDDLE)^POWER), by maximum likelihood on the training activations."""
    import numpy as np
    from scipy.optimize import minimize

    chosen = [r for r in trained(rows) if not r["held_out"]]
    x = np.log([max(r["total"], 1e-6) for r in chosen])
    y = np.array([r["success"] for r in chosen])

    def loss(p: Any) -> float:
        t = (x - p[0]) * math.exp(p[1])
        return float(np.mean(np.logaddexp(0.0, np.where(y, t, -t))))

    found = minimize(loss, [1.0, 1.0], method="Nelder-Mead")
    return math.exp(float(found.x[0])), math.exp(float(found.x[1]))


def figures(rows: list[dict[str, Any]], *, resamples: int = 2000) -> dict[str, Any]:
    """AUC and Spearman of the score with bootstrap intervals, false alarms, and the confusion table."""
    import numpy as np
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score

    y = np.array([r["success"] for r in rows])
    risk = np.array([r["total"] for r in rows])
    accuracy = np.array([r["accuracy"] for r in rows])
    rng = np.random.default_rng(0)
    # whole (activation, depth, model) groups are drawn, since arms of one network are not independent
    keys = [(r["model"], r["depth"], r["activation"]) for r in rows]
    groups = {k: [i for i, other in enumerate(keys) if other == k] for k in dict.fromkeys(keys)}
    names = list(groups)
    aucs: list[float] = []
    rhos: list[float] = []
    for _ in range(resamples):
        index = [i for g in rng.integers(len(names), size=len(names)) for i in groups[names[g]]]
        if 0 < y[index].sum() < len(index):
            aucs.append(float(roc_auc_score(y[index], -risk[index])))
            rhos.append(float(spearmanr(-risk[index], accuracy[index]).statistic))
    verdicts = [r["verdict"] for r in rows]
    table = {
        v: (
            sum(a and w == v for a, w in zip(y, verdicts, strict=True)),
            sum(not a and w == v for a, w in zip(y, verdicts, strict=True)),
        )
        for v in ("trainable", "marginal", "untrainable")
    }
    return {
        "n": len(rows),
        "trains": float(y.mean()),
        "auc": float(roc_auc_score(y, -risk)),
        "auc_interval": [float(v) for v in np.quantile(aucs, [0.025, 0.975])],
        "spearman": float(spearmanr(-risk, accuracy).statistic),
        "spearman_interval": [float(v) for v in np.quantile(rhos, [0.025, 0.975])],
        # of the networks that trained, how many were called untrainable; of those that did not, called trainable
        "false_alarms": table["untrainable"][0] / max(1, int(y.sum())),
        "misses": table["trainable"][1] / max(1, int((~y).sum())),
        "confusion": {k: [int(n) for n in v] for k, v in table.items()},
    }


def report(rows: list[dict[str, Any]]) -> None:
    done = trained(rows)
    parts = {
        "chosen on": [r for r in done if not r["held_out"]],
        "held out": [r for r in done if r["held_out"]],
        "held out, mlp": [r for r in done if r["held_out"] and family(r) == "mlp"],
        "held out, convnet": [r for r in done if r["held_out"] and family(r) == "convnet"],
    }
    print(f"{len(done)} networks trained, {sum('refused' in r for r in rows)} refused by their initialiser")
    print("| networks | n | that train | AUC (95 %) | Spearman (95 %) | false alarms | misses |")
    print("|---|---|---|---|---|---|---|")
    for name, group in parts.items():
        if not group:
            continue
        f = figures(group)
        intervals = {k: "{:.3f} ({:.3f}-{:.3f})".format(f[k], *f[f"{k}_interval"]) for k in ("auc", "spearman")}
        print(
            f"| {name} | {f['n']} | {f['trains']:.0%} | {intervals['auc']} | {intervals['spearman']}"
            f" | {f['false_alarms']:.1%} | {f['misses']:.1%} |"
        )
    print("\nHeld out: verdict before training against what happened")
    print("| verdict | trained | did not |\n|---|---|---|")
    for verdict, (yes, no) in figures(parts["held out"], resamples=50)["confusion"].items():
        print(f"| {verdict} | {yes} | {no} |")
    print("\nEach part of the risk alone, held out: AUC")
    from sklearn.metrics import roc_auc_score

    for part in ("gradient", "depth", "information"):
        values = [-min(r["risk"][part], 1e6) if math.isfinite(r["risk"][part]) else -1e6 for r in parts["held out"]]
        print(f"  {part:<12} {roc_auc_score([r['success'] for r in parts['held out']], values):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "look", "fit", "report"))
    parser.add_argument("file", nargs="?", type=Path, default=Path("predictor.jsonl"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    if arguments.command == "run":
        train_cells(
            arguments.file, list(grid()), one, keys=("model", "depth", "activation", "init"), workers=arguments.workers
        )
    elif arguments.command == "look":
        look_again(arguments.file, arguments.workers)
    elif arguments.command == "fit":
        middle, power = fit(read(arguments.file))
        print(f"MIDDLE, POWER = {middle:.2f}, {power:.2f}")
    else:
        report(read(arguments.file))


if __name__ == "__main__":
    main()
