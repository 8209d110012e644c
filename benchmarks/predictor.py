"""How often does what is said before the first update come true?

    python benchmarks/predictor.py run FILE [--count N]   train the runs; can be stopped and goes on where it was
    python benchmarks/predictor.py look FILE              look again at all of them, where looking has changed
    python benchmarks/predictor.py fit FILE               the model's constants (initlab/diagnosis/probability.json)
    python benchmarks/predictor.py report FILE            the tables and the diagram of docs/predictor.md

Each run is a network of `predictor_grid.py`: perceptrons, convolutions, residual, normalised and recurrent networks on
four data sets, 12 activations, 11 initialisations, SGD with momentum 0.9 and Adam at three rates each; 300 updates of
32 examples, one seed. It trains if its accuracy is more than half way from chance to the best of its kind and data.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing as mp
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.predictor_grid import SPLITS, from_zero, grid, make_colour_digits, overrides
from benchmarks.resumable import read, train_cells

os.environ.setdefault("OMP_NUM_THREADS", "1")

Row = dict[str, Any]
CHANCE = 0.1
RESAMPLES = 1000


def look(cell: Row, folder: Path) -> Row:
    """What is measured before the first update; ``refused`` where the initialiser is not for this network."""
    import torch

    from initlab import config
    from initlab.errors import InitlabError
    from initlab.run.prepare import foresee, prepare

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        experiment = config.experiment(config.compose(overrides(cell, folder)))
        forecast = foresee(prepare(experiment))
    except InitlabError as refused:
        return {"refused": str(refused)}
    return {"quantities": dict(forecast.outlook.quantities)}


def one(cell: Row, folder: Path) -> Row:
    """Look, then train, and say how it ended."""
    from initlab import config
    from initlab.run.train import run

    row = {**cell, **look(cell, folder)}
    if "refused" in row:
        return row
    result = run(config.experiment(config.compose(overrides(cell, folder))))
    accuracy = result.metrics.get("test/accuracy", math.nan)
    return {**row, "status": result.status, "accuracy": accuracy if math.isfinite(accuracy) else CHANCE}


def again(row: Row, folder: Path) -> Row:
    return {**row, **look(row, folder)}


# ------------------------------------------------------------------ what came of them
def trained(rows: list[Row]) -> list[Row]:
    """Rows that were trained, each with `success`; the best is the mean of the three best of its kind and data."""
    done = [r for r in rows if "accuracy" in r and r.get("quantities")]
    of: dict[tuple[str, str], list[float]] = defaultdict(list)
    for r in done:
        of[family(r)].append(r["accuracy"])
    best = {k: float(np.mean(sorted(v)[-3:])) for k, v in of.items()}
    for r in done:
        r["success"] = r["accuracy"] - CHANCE > (best[family(r)] - CHANCE) / 2
    return done


def family(row: Row) -> tuple[str, str]:
    kind = row["kind"]
    return row["data"], "recurrent" if kind == "recurrent" else "mlp" if "mlp" in kind else "conv"


def fitted(rows: list[Row]) -> dict[str, Any]:
    """Constant, knots and values of the additive model, by penalised maximum likelihood."""
    from sklearn.linear_model import LogisticRegression

    names = list(rows[0]["quantities"])
    x = np.array([[r["quantities"][n] for n in names] for r in rows])
    y = np.array([r["success"] for r in rows])
    knots = [
        sorted({round(float(k), 3) for k in np.quantile(x[:, j], [0.05, 0.35, 0.65, 0.95])}) for j in range(len(names))
    ]
    knots = [k if len(k) > 1 else [k[0], k[0] + 1.0] for k in knots]
    # hat functions: the value of a piecewise linear function at its knots
    design = np.hstack(
        [np.stack([np.interp(x[:, j], k, np.eye(len(k))[i]) for i in range(len(k))], 1) for j, k in enumerate(knots)]
    )
    found = LogisticRegression(C=1.0, max_iter=5000).fit(design, y)
    weights = iter(found.coef_[0])
    return {
        "constant": round(float(found.intercept_[0]), 4),
        "quantities": {
            n: {"knots": k, "values": [round(float(next(weights)), 4) for _ in k]}
            for n, k in zip(names, knots, strict=True)
        },
    }


def predicted(model: dict[str, Any], rows: Iterable[Row]) -> np.ndarray:
    """Probabilities of the model for the rows."""
    odds = [
        model["constant"]
        + sum(float(np.interp(r["quantities"][n], f["knots"], f["values"])) for n, f in model["quantities"].items())
        for r in rows
    ]
    return 1 / (1 + np.exp(-np.array(odds)))


# ------------------------------------------------------------------ figures
def figures(p: np.ndarray, rows: list[Row]) -> dict[str, Any]:
    """AUC, calibration error, false alarms and misses, with bootstrap intervals."""
    from initlab.diagnosis.trainability import IMPROBABLE, PROBABLE

    y = np.array([r["success"] for r in rows])
    rng = np.random.default_rng(0)
    draws = rng.integers(len(rows), size=(RESAMPLES, len(rows)))
    measures: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "auc": auc,
        "ece": calibration_error,
        "false alarms": lambda p, y: share(np.round(p[y], 2) <= IMPROBABLE),
        "misses": lambda p, y: share(np.round(p[~y], 2) >= PROBABLE),
    }
    return {
        "n": len(rows), "trained": float(y.mean()),
        **{k: (f(p, y), *np.nanquantile([f(p[d], y[d]) for d in draws], [0.025, 0.975])) for k, f in measures.items()},
    }  # fmt: skip


def share(which: np.ndarray) -> float:
    return float(which.mean()) if len(which) else math.nan


def auc(p: np.ndarray, y: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, p)) if 0 < y.sum() < len(y) else math.nan


def calibration_error(p: np.ndarray, y: np.ndarray) -> float:
    """Expected calibration error over ten bins of equal count."""
    order = np.argsort(p, kind="stable")
    return float(sum(abs(p[b].mean() - y[b].mean()) * len(b) for b in np.array_split(order, 10)) / len(p))


def left_out(rows: list[Row], split: str) -> np.ndarray:
    """The probability of each run, by a model that was fitted without its whole group: its activation, its data, …"""
    said = np.full(len(rows), math.nan)
    for group in {r[split] for r in rows}:
        within = np.array([r[split] == group for r in rows])
        model = fitted([r for r, w in zip(rows, within, strict=True) if not w])
        said[within] = predicted(model, [r for r, w in zip(rows, within, strict=True) if w])
    return said


def report(rows: list[Row], *, picture: Path | None) -> None:
    """The tables as Markdown, and the reliability diagram."""
    from initlab.diagnosis.trainability import verdict_of_probability

    done = trained(rows)
    print(f"{len(done)} runs, {sum('refused' in r for r in rows)} refused by their initialiser\n")
    print(
        "| left out | n | that train | AUC (95 %) | calibration error | false alarms | misses |",
        "|---|---|---|---|---|---|---|",
        sep="\n",
    )
    of = {split: left_out(done, split) for split in SPLITS}
    for split, p in of.items():
        row_of(f"**{split}**", p, done)
        for name in ("sgd", "adam"):
            parts_of(f"{split}, {name}", p, done, "optimizer", name)
    for split in ("data", "kind", "init"):
        for group in sorted({r[split] for r in done}):
            parts_of(group, of[split], done, split, group)
    p, y = of["activation"], np.array([r["success"] for r in done])
    verdicts = [verdict_of_probability(float(v)) for v in p]
    print("\n| said (activation left out) | trained | did not |\n|---|---|---|")
    for verdict in ("trainable", "marginal", "untrainable"):
        hits = [bool(s) for s, v in zip(y, verdicts, strict=True) if v == verdict]
        print(f"| {verdict} | {sum(hits)} | {len(hits) - sum(hits)} |")
    print("\n| probability said (activation left out) | runs | mean said | trained |\n|---|---|---|---|")
    for low in np.arange(0, 1, 0.1):
        bin_ = (p >= low) & (p < low + 0.1 + 1e-9 * (low > 0.85))
        if bin_.any():
            print(f"| {low:.1f}-{low + 0.1:.1f} | {bin_.sum()} | {p[bin_].mean():.2f} | {y[bin_].mean():.2f} |")
    if picture is not None:
        draw({split: of[split] for split in ("activation", "depth", "data")}, y, picture)


def parts_of(name: str, p: np.ndarray, rows: list[Row], key: str, value: Any) -> None:
    within = np.array([r[key] == value for r in rows])
    row_of(name, p[within], [r for r, w in zip(rows, within, strict=True) if w])


def row_of(name: str, p: np.ndarray, group: list[Row]) -> None:
    if len(group) < 20:
        return
    f = figures(p, group)
    text = {k: "{:.3f} ({:.3f}-{:.3f})".format(*f[k]) for k in ("auc", "ece", "false alarms", "misses")}
    print(
        f"| {name} | {f['n']} | {f['trained']:.0%} | {text['auc']} | {text['ece']} | {text['false alarms']}"
        f" | {text['misses']} |"
    )


def draw(said: dict[str, np.ndarray], y: np.ndarray, file: Path) -> None:
    """The reliability diagram: share that trained against the probability that was said, with 95 % intervals."""
    from matplotlib.figure import Figure
    from scipy.stats import beta

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, (split, p) in zip(figure.subplots(1, len(said), sharey=True), said.items(), strict=True):
        axes.set(xlabel="probability said before training", title=f"{split} left out of the fit")
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for b in np.array_split(np.argsort(p, kind="stable"), 10):
            k, n = int(y[b].sum()), len(b)
            low, high = beta.ppf(0.025, k + 0.5, n - k + 0.5), beta.ppf(0.975, k + 0.5, n - k + 0.5)
            axes.plot([p[b].mean()] * 2, [low, high], color="tab:blue", linewidth=1.5)
            axes.plot(p[b].mean(), k / n, "o", color="tab:blue", markersize=5)
    figure.axes[0].set_ylabel("share of the runs that trained")
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "look", "fit", "report"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    file: Path = arguments.file.resolve()
    images = file.parent / "colour_digits.npz"
    if arguments.command in ("run", "look") and not images.exists():
        make_colour_digits(images)
    if arguments.command == "run":
        train = partial(one, folder=file.parent)
        cells = [*grid(arguments.count), *from_zero(arguments.count // 8, arguments.count)]
        train_cells(file, cells, train, keys=("number",), workers=arguments.workers)
    elif arguments.command == "look":
        rows = read(file)
        with mp.get_context("spawn").Pool(arguments.workers) as pool:
            fresh = list(pool.imap(partial(again, folder=file.parent), rows, chunksize=8))
        file.write_text("".join(json.dumps(r) + "\n" for r in fresh))
    elif arguments.command == "fit":
        from initlab.diagnosis.probability import FILE

        model = fitted(trained(read(file)))
        FILE.write_text(json.dumps(model, indent=1) + "\n")
        print(f"{FILE} was written")
    else:
        report(read(file), picture=arguments.picture)


if __name__ == "__main__":
    main()
