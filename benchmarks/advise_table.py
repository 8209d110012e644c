"""Is what `advise` recommends at least as good as what torch does by itself?

    python benchmarks/advise_table.py [SETTING ...]     the table of docs/advise.md; 48 runs, some minutes

Eight settings, three seeds, a small budget each; the advice is given without any runs in a store, from the prediction
alone. Arms under one seed see the same batches. "At least as good" is: not worse than torch's default by more than two
standard errors of the mean paired difference.
"""

from __future__ import annotations

import math
import os
import sys
from statistics import mean, stdev

from initlab import config
from initlab.advice import decide, unpredicted_parts
from initlab.cli.advise import options_of
from initlab.run.prepare import prepare
from initlab.run.train import run
from initlab.spec import RunResult

os.environ.setdefault("OMP_NUM_THREADS", "1")

SGD = "optimizer=sgd trainer.clip_grad_norm=1.0 trainer.max_steps=228"
SETTINGS = {
    "MLP depth 3, ReLU": f"model=mlp model.depth=3 model.width=100 activation=relu {SGD}",
    "MLP depth 30": f"model=mlp model.depth=30 model.width=100 {SGD}",
    "MLP depth 20, tanh": f"model=mlp model.depth=20 model.width=100 activation=tanh {SGD}",
    "MLP depth 10, sigmoid": f"model=mlp model.depth=10 model.width=100 activation=sigmoid {SGD}",
    "MLP depth 13, residual, layer norm, GELU": (
        f"model=mlp model.depth=13 model.width=100 model.residual=true model.norm=layer activation=gelu {SGD}"
    ),
    "convnet depth 8, ELU": f"model=convnet model.width=8 model.readout=flatten activation=elu {SGD}",
    "speech CNN, ReLU, Adam": "task=speech activation=relu trainer.epochs=3",
    "text, LSTM, Adam": "task=text model.hidden_size=64 activation=tanh trainer.max_steps=200",
}
SEEDS = range(3)


def score(result: RunResult) -> float:
    """The share of right answers on the validation part at the end; that of a guess where the run diverged."""
    return result.metrics.get("val/accuracy", 0.0) if result.status == "finished" else 0.0


def main(only: list[str]) -> None:
    """Print the table, row by row."""
    print("| setting | advised | confidence | default | advised, accuracy | difference | at least as good |")
    print("|---|---|---|---|---|---|---|", flush=True)
    good: list[bool] = []
    for name, text in SETTINGS.items():
        if only and name not in only:
            continue
        overrides = [*text.split(), "tracking=none", "probes=none", "trainer.checkpoint=false"]
        experiment = config.experiment(config.compose(overrides), overrides=overrides)
        prepared = prepare(experiment)
        silent = unpredicted_parts(prepared.sites)
        options = options_of(experiment, prepared, typed="activation=" in text, silent=silent)
        advice = decide(options, {}, silent=silent, composed=experiment.activation.name)
        pairs: list[tuple[float, float]] = []
        for seed in SEEDS:
            arms = (("init=torch_default",), advice.overrides)
            default, advised = (
                score(run(config.experiment(config.compose([*overrides, *arm, f"seed={seed}"])))) for arm in arms
            )
            pairs.append((default, advised))
        gains = [b - a for a, b in pairs]
        error = stdev(gains) / math.sqrt(len(gains))
        good.append(mean(gains) >= -2 * error)
        cells = [
            name, f"`{' '.join(advice.overrides)}`", advice.confidence, f"{mean(a for a, _ in pairs):.3f}",
            f"{mean(b for _, b in pairs):.3f}", f"{mean(gains):+.3f} ± {2 * error:.3f}", "yes" if good[-1] else "no",
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\nAt least as good as torch's default: {sum(good)} of {len(good)}")


if __name__ == "__main__":
    main(sys.argv[1:])
