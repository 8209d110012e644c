"""Trains a small network with every initialiser and every activation, for the pages of docs/init and docs/activation.

`python docs/measure_catalogue.py` writes docs/catalogue.json; entries that are there already are not trained again.
Each entry is trained with three seeds on scikit-learn's digits (or, where it is for recurrent networks only, on a
synthetic sequence task), with Adam at its usual rate, and nothing is tuned: the numbers compare entries, and are no
records.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from initlab import config
from initlab.errors import InitlabError
from initlab.run.train import run

FILE = Path(__file__).parent / "catalogue.json"
CONF = Path(__file__).parent.parent / "conf"
SEEDS = (0, 1, 2)
COMMON = ("trainer.epochs=10", "tracking=none", "probes=economy", "trainer.checkpoint=false")
_ADDING = ("task=synthetic", "data=adding", "data.length=50", "data.examples=2000")
#: networks in the order in which they are tried: an entry is measured on the first that does not refuse it
NETWORKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("MLP, 10 hidden layers of 64", ("data=digits", "model=mlp", "model.depth=10", "model.width=64")),
    (
        "residual MLP, 10 hidden layers of 64",
        ("data=digits", "model=mlp", "model.depth=10", "model.width=64", "model.residual=true"),
    ),
    (
        "residual MLP with batch norm, 10 hidden layers of 64",
        ("data=digits", "model=mlp", "model.depth=10", "model.width=64", "model.residual=true", "model.norm=batch"),
    ),
    (
        "residual MLP with multipliers of its branches, 10 hidden layers of 64",
        (
            "data=digits",
            "model=mlp",
            "model.depth=10",
            "model.width=64",
            "model.residual=true",
            "model.branch_scale=true",
        ),
    ),
    ("convolutional network, 6 layers of 16", ("data=digits", "model=convnet", "model.depth=6", "model.width=16")),
    (
        "LSTM, adding problem of 50 steps",
        ("task=synthetic", "data=adding", "data.length=50", "data.examples=2000", "model=lstm"),
    ),
    (
        "RNN, adding problem of 50 steps",
        ("task=synthetic", "data=adding", "data.length=50", "data.examples=2000", "model=rnn"),
    ),
)


#: the network that the initialisers of transformers are measured on
TRANSFORMER = ("vision transformer, 4 blocks of 64", ("data=digits", "model=vit"))
NETWORKS = (*NETWORKS, TRANSFORMER)
_TRANSFORMERS = ("bert", "deepscalelm", "llama", "nanochat", "t5", "t_fixup", "torchtitan", "vit", "zero_projection")
#: initialisers that are for one activation, or for others than the usual two
_BESIDE = {"siren": ("activation=sin",), **dict.fromkeys(_TRANSFORMERS, ("activation=gelu", "activation=swiglu"))}


def names(group: str) -> list[str]:
    """The entries of a group of the configuration."""
    return sorted(p.stem for p in (CONF / group).glob("*.yaml"))


def measure(*overrides: str) -> dict[str, Any]:
    """Accuracy and loss on the test part, mean over the seeds, and the probability said before training."""
    found: list[dict[str, float]] = []
    said: list[float] = []
    for seed in SEEDS:
        typed = (*overrides, *COMMON, f"seed={seed}")
        result = run(config.experiment(config.compose(list(typed)), overrides=typed))
        found.append(dict(result.metrics))
        if result.outlook is not None:
            said.append(result.outlook.score)
    keys = ("test/accuracy", "test/loss")
    means = {k: fmean(f.get(k, math.nan) for f in found) for k in keys if any(k in f for f in found)}
    means["predicted"] = fmean(said) if said else math.nan
    return {k: float(f"{v:.5g}") for k, v in means.items()}


def entry(chosen: str, beside: tuple[str, ...]) -> dict[str, Any]:
    """The first network that takes the entry, and what it came to beside each of `beside`; or why all refuse it."""
    refused = ""
    for name, network in (TRANSFORMER,) if chosen.removeprefix("init=") in _TRANSFORMERS else NETWORKS:
        results: dict[str, Any] = {}
        for other in beside:
            try:
                results[other] = measure(*network, chosen, other)
            except InitlabError as error:
                refused = refused or str(error)
        if results:
            return {"network": name, "results": results}
    return {"refused": refused}


def main() -> None:
    held: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    todo = [(f"init={n}", _BESIDE.get(n, ("activation=relu", "activation=tanh"))) for n in names("init")]
    todo += [(f"activation={n}", ("init=he", "init=xavier")) for n in names("activation")]
    for chosen, beside in todo:
        if chosen in held:
            continue
        held[chosen] = entry(chosen, beside)
        print(chosen, held[chosen], file=sys.stderr, flush=True)
        FILE.write_text(json.dumps(dict(sorted(held.items())), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
