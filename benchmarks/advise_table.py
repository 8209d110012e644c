"""What does it cost to take what `advise` recommends?

    python benchmarks/advise_table.py run FILE [WORKERS]    train the grid; can be stopped and goes on where it was
    python benchmarks/advise_table.py report FILE           the tables of docs/advise.md

24 settings with which the rules were chosen and 24 others, half of them with norms, shortcuts, gates or recurrent
layers, on which the prediction is weak. In each the candidates of the advice and torch's default are trained at two
learning rates and three seeds, with the same batches under one seed. An arm is an initialiser at the learning rate that
suits it better. `regret` is the accuracy of the best arm minus that of the advised one; the best is known only
afterwards, so that even a perfect choice has some.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.resumable import read, train_cells

os.environ.setdefault("OMP_NUM_THREADS", "1")

_SGD = "optimizer=sgd trainer.clip_grad_norm=1.0 trainer.max_steps=150 trainer.epochs=20"
_ADAM = "optimizer=adam trainer.max_steps=150 trainer.epochs=20"
_TEXT = "task=text optimizer=adam trainer.max_steps=120 activation=tanh"
_FAST, _SLOW, _ADAM_FAST, _ADAM_SLOW = (0.01, 0.05), (0.003, 0.01), (0.003, 0.01), (0.001, 0.003)

#: overrides of a setting, and its two learning rates
Setting = tuple[str, tuple[float, float]]


def _mlp(depth: int, activation: str, rates: tuple[float, float], more: str = "", *, adam: bool = False) -> Setting:
    return f"model=mlp model.width=64 model.depth={depth} activation={activation} {more} {_common(adam)}", rates


def _conv(depth: int, activation: str, rates: tuple[float, float], more: str = "", *, adam: bool = False) -> Setting:
    return f"model=convnet model.width=8 model.depth={depth} activation={activation} {more} {_common(adam)}", rates


def _resnet(depth: int, rates: tuple[float, float], more: str = "", *, adam: bool = False) -> Setting:
    return f"model=resnet model.width=8 model.depth={depth} {more} {_common(adam)}", rates


def _common(adam: bool) -> str:
    return f"data=digits {_ADAM if adam else _SGD}"


def _elsewhere(setting: Setting) -> Setting:
    """The same on other data and at another width."""
    text = (
        setting[0]
        .replace("data=digits", "data=mnist_mini")
        .replace("width=64", "width=96")
        .replace("width=8", "width=6")
    )
    return text, setting[1]


PLAIN: dict[str, Setting] = {
    "MLP 3, ReLU": _mlp(3, "relu", _FAST),
    "MLP 10, ReLU": _mlp(10, "relu", _FAST),
    "MLP 30, ReLU": _mlp(30, "relu", _SLOW),
    "MLP 20, tanh": _mlp(20, "tanh", _FAST),
    "MLP 20, GELU": _mlp(20, "gelu", _FAST),
    "MLP 10, SiLU, Adam": _mlp(10, "silu", _ADAM_SLOW, adam=True),
    "MLP 6, sigmoid, Adam": _mlp(6, "sigmoid", _ADAM_FAST, adam=True),
    "MLP 15, SELU": _mlp(15, "selu", _FAST),
    "MLP 10, softplus, Adam": _mlp(10, "softplus", _ADAM_SLOW, adam=True),
    "convnet 4, ReLU, Adam": _conv(4, "relu", _ADAM_FAST, adam=True),
    "convnet 8, ELU": _conv(8, "elu", _FAST),
    "convnet 8, ReLU": _conv(8, "relu", _FAST, "model.readout=flatten"),
}
_LAYER, _BATCH, _RESIDUAL = "model.norm=layer", "model.norm=batch", "model.residual=true"
WEAK: dict[str, Setting] = {
    "MLP 12, layer norm, GELU": _mlp(12, "gelu", _FAST, _LAYER),
    "MLP 12, batch norm, ReLU": _mlp(12, "relu", _FAST, _BATCH),
    "residual MLP 13, layer norm, GELU": _mlp(13, "gelu", _FAST, f"{_RESIDUAL} {_LAYER}"),
    "residual MLP 13, batch norm, ReLU, Adam": _mlp(13, "relu", _ADAM_SLOW, f"{_RESIDUAL} {_BATCH}", adam=True),
    "residual MLP 13, ReLU": _mlp(13, "relu", _SLOW, _RESIDUAL),
    "resnet 8, batch norm": _resnet(8, _FAST),
    "resnet 8, layer norm, Adam": _resnet(8, _ADAM_SLOW, _LAYER, adam=True),
    "convnet 8, batch norm, Adam": _conv(8, "relu", _ADAM_FAST, _BATCH, adam=True),
    "MLP 4, SwiGLU, Adam": _mlp(4, "swiglu", _ADAM_SLOW, adam=True),
    "MLP 6, GEGLU, layer norm": _mlp(6, "geglu", _FAST, _LAYER),
    "text, LSTM": (f"{_TEXT} model=lstm model.hidden_size=48", _ADAM_FAST),
    "text, GRU": (f"{_TEXT} model=gru model.hidden_size=48", _ADAM_FAST),
}
#: looked at once, after the rules were chosen with the others: other data, depths, widths and activations
HELD_PLAIN: dict[str, Setting] = {
    "MLP 5, leaky ReLU": _elsewhere(_mlp(5, "leaky_relu", _FAST)),
    "MLP 16, ELU": _elsewhere(_mlp(16, "elu", _FAST)),
    "MLP 24, ReLU, Adam": _elsewhere(_mlp(24, "relu", (0.0003, 0.001), adam=True)),
    "MLP 12, softsign": _elsewhere(_mlp(12, "softsign", _FAST)),
    "MLP 8, mish, Adam": _elsewhere(_mlp(8, "mish", _ADAM_SLOW, adam=True)),
    "MLP 4, sigmoid, Adam": _elsewhere(_mlp(4, "sigmoid", _ADAM_SLOW, adam=True)),
    "MLP 18, erf": _elsewhere(_mlp(18, "erf", _FAST)),
    "convnet 6, GELU, Adam": _elsewhere(_conv(6, "gelu", _ADAM_SLOW, adam=True)),
    "convnet 10, tanh": _elsewhere(_conv(10, "tanh", _FAST, "model.readout=flatten")),
    "convnet 5, ReLU": _elsewhere(_conv(5, "relu", _FAST)),
}
HELD_WEAK: dict[str, Setting] = {
    "residual MLP 9, layer norm, SiLU": _elsewhere(_mlp(9, "silu", _FAST, f"{_RESIDUAL} {_LAYER}")),
    "residual MLP 21, batch norm, GELU": _elsewhere(_mlp(21, "gelu", _FAST, f"{_RESIDUAL} {_BATCH}")),
    "residual MLP 9, ELU, Adam": _elsewhere(_mlp(9, "elu", (0.0003, 0.001), _RESIDUAL, adam=True)),
    "residual MLP 20, tanh": _elsewhere(_mlp(20, "tanh", _SLOW, _RESIDUAL)),
    "residual convnet 8, ReLU": _elsewhere(_conv(8, "relu", _SLOW, _RESIDUAL)),
    "resnet 14, batch norm, Adam": _elsewhere(_resnet(14, _ADAM_SLOW, adam=True)),
    "resnet 8, no norm": _elsewhere(_resnet(8, _SLOW, "model.norm=none")),
    "MLP 9, batch norm, tanh": _elsewhere(_mlp(9, "tanh", _FAST, _BATCH)),
    "MLP 8, layer norm, SiLU, Adam": _elsewhere(_mlp(8, "silu", _ADAM_SLOW, _LAYER, adam=True)),
    "convnet 6, layer norm, ReLU": _elsewhere(_conv(6, "relu", _FAST, _LAYER)),
    "MLP 3, GEGLU, Adam": _elsewhere(_mlp(3, "geglu", _ADAM_SLOW, adam=True)),
    "MLP 5, SwiGLU, layer norm, Adam": _elsewhere(_mlp(5, "swiglu", _ADAM_SLOW, _LAYER, adam=True)),
    "text, LSTM of 2 layers": (f"{_TEXT} model=lstm model.hidden_size=64 model.layers=2", _ADAM_FAST),
    "text, RNN": (f"{_TEXT} model=rnn model.hidden_size=64", _ADAM_FAST),
}
SETTINGS = PLAIN | WEAK | HELD_WEAK | HELD_PLAIN
SEEDS = range(3)
DEFAULT = "torch_default"
COMMON = ("tracking=none", "probes=none", "trainer.checkpoint=false", "tracking.report=false", "device=cpu")


def candidates_of(name: str) -> tuple[list[str], str, str]:
    """Initialisers to train, the advised one, and what `init=auto` takes."""
    from initlab import config
    from initlab.advice import decide, unpredicted_parts
    from initlab.cli.advise import options_of
    from initlab.run.prepare import prepare

    overrides = [*SETTINGS[name][0].split(), *COMMON]
    experiment = config.experiment(config.compose(overrides), overrides=overrides)
    prepared = prepare(experiment)
    silent = unpredicted_parts(prepared.sites)
    options = options_of(experiment, prepared, typed=True, silent=silent)
    advice = decide(options, {}, silent=silent, composed=experiment.activation.name)
    able = [o.init for o in options if o.outlook is not None]
    return list(dict.fromkeys([*able, DEFAULT])), advice.init, advice.confidence


def cells() -> Iterator[dict[str, Any]]:
    for name, (_, rates) in SETTINGS.items():
        inits, advised, confidence = candidates_of(name)
        for init in inits:
            for rate in rates:
                for seed in SEEDS:
                    cell = {"setting": name, "init": init, "lr": rate, "seed": seed}
                    yield {**cell, "advised": advised, "confidence": confidence}


def train(cell: dict[str, Any]) -> dict[str, Any]:
    """The share of right answers on the validation part at the end; 0 where the run diverged."""
    import torch

    from initlab import config
    from initlab.errors import ConfigError
    from initlab.run.train import run

    torch.set_num_threads(1)
    words = [*SETTINGS[cell["setting"]][0].split(), *COMMON]
    words += [f"init={cell['init']}", f"optimizer.lr={cell['lr']}", f"seed={cell['seed']}"]
    try:
        result = run(config.experiment(config.compose(words)))
    except ConfigError as refused:
        return {**cell, "refused": str(refused)}
    return {**cell, "accuracy": result.metrics.get("val/accuracy", 0.0) if result.status == "finished" else 0.0}


def arms_of(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Initialiser → accuracy by seed, at the learning rate that suits it better."""
    by: dict[tuple[str, float], dict[int, float]] = {}
    for r in rows:
        if "accuracy" in r:
            by.setdefault((r["init"], r["lr"]), {})[r["seed"]] = r["accuracy"]
    found: dict[str, list[float]] = {}
    for (init, _), values in by.items():
        row = [values[s] for s in sorted(values)]
        if init not in found or mean(row) > mean(found[init]):
            found[init] = row
    return found


def report(rows: list[dict[str, Any]], advised: dict[str, str] | None = None) -> None:
    """The table, and the mean regret of both groups."""
    print("| setting | advised | default | advised, accuracy | best arm | regret | to default (95 %) |")
    print("|---|---|---|---|---|---|---|")
    regrets = {f"{g}, {w}": list[float]() for w in ("chosen with", "held out") for g in ("plain", "weak")}
    worse: list[str] = []
    for name in SETTINGS:
        mine = [r for r in rows if r["setting"] == name]
        arms = arms_of(mine)
        if not arms or DEFAULT not in arms:
            continue
        choice = (advised or {}).get(name, mine[-1]["advised"])
        best = max(arms, key=lambda a: mean(arms[a]))
        regret = mean(arms[best]) - mean(arms[choice])
        group = "plain" if name in PLAIN | HELD_PLAIN else "weak"
        regrets[f"{group}, {'held out' if name in HELD_PLAIN | HELD_WEAK else 'chosen with'}"].append(regret)
        gains = [a - d for a, d in zip(arms[choice], arms[DEFAULT], strict=True)]
        half = 4.303 * stdev(gains) / math.sqrt(len(gains))
        if mean(gains) < -half:
            worse.append(name)
        means = {a: f"{mean(arms[a]):.3f}" for a in (DEFAULT, choice, best)}
        print(
            f"| {name} | `{choice}` | {means[DEFAULT]} | {means[choice]} | {best} {means[best]} | {regret:.3f} |"
            f" {mean(gains):+.3f} ± {half:.3f} |"
        )
    for group, values in regrets.items():
        if values:
            print(f"\nmean regret, {group}: {mean(values):.4f} over {len(values)} settings", end="")
    both = [v for vs in regrets.values() for v in vs]
    told = ", ".join(worse) or "never"
    print(f"\nmean regret: {mean(both):.4f}; worse than the default by more than the interval: {told}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if sys.argv[1] == "run":
        train_cells(
            Path(sys.argv[2]), list(cells()), train, keys=("setting", "init", "lr", "seed"),
            workers=int(sys.argv[3]) if len(sys.argv) > 3 else 1,
        )  # fmt: skip
    else:
        # the advice of today on the runs of before
        report(read(Path(sys.argv[2])), {n: candidates_of(n)[1] for n in SETTINGS})
