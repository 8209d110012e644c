"""Measurements over many draws of a network: how often it is born dead, how much the length of the signal varies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Generator, Mapping
from typing import Any

import torch
from torch import nn

from initlab import inits
from initlab.core import seeds
from initlab.papers.measures.hidden import inputs_of, outputs_of, settings_of
from initlab.run.prepare import Prepared
from initlab.spec import Experiment


def born_dead(prepared: Prepared, experiment: Experiment, given: Mapping[str, Any]) -> Mapping[str, float]:
    """Share of drawn networks whose output is the same for every input (Lu et al., 2019, arXiv:1903.06733).

    Settings: ``inputs`` normal or data, ``examples`` 200, ``draws`` 100.

    Returns:
        ``dead``, the share; ``bound`` and ``least``, what it is at most and at least in a ReLU network of L hidden
        layers of n units, with symmetric weights and no biases. Behind the first layer, in which some unit is live for
        some input, a unit is dead for all inputs with a probability between 2^-n (they fill the positive orthant) and
        1/2 (they lie on one ray), so a layer with one between 2^(-n²) and 2^-n; ``bound`` is 1 - (1 - 2^-n)^L, of
        one input alone, which counts the first layer too.
    """
    o = settings_of("born_dead", given, {"inputs": "normal", "examples": 200, "draws": 100})
    x = inputs_of(prepared, experiment, kind=o["inputs"], examples=o["examples"])
    dead = 0
    layers: list[torch.Tensor] = []
    with torch.no_grad():
        for model in _draws(prepared, experiment, o["draws"]):
            layers = outputs_of(model, x)
            dead += bool((layers[-1] == layers[-1][:1]).all())
    width, depth = layers[-1].shape[1], len(layers)
    least, most = 1 - (1 - 2.0 ** -(width**2)) ** (depth - 1), 1 - (1 - 2.0**-width) ** depth
    return {"dead": dead / o["draws"], "bound": most, "least": least}


def length_spread(prepared: Prepared, experiment: Experiment, given: Mapping[str, Any]) -> Mapping[str, float]:
    """Variance over draws of the logarithm of the signal's length at the last hidden layer, for one input.

    Hanin & Rolnick, NeurIPS 2018: it grows with the sum of the reciprocal widths, not with the depth alone.
    Settings: ``draws`` 200.

    Returns:
        ``log_variance``; ``dead``, the share of draws whose signal is 0, which are left out.
    """
    o = settings_of("length_spread", given, {"draws": 200})
    x = inputs_of(prepared, experiment, kind="normal", examples=1)
    logs: list[float] = []
    with torch.no_grad():
        for model in _draws(prepared, experiment, o["draws"]):
            square = float(outputs_of(model, x)[-1].double().square().sum())
            if square > 0:
                logs.append(math.log(square))
    variance = statistics.variance(logs) if len(logs) > 1 else math.nan
    return {"log_variance": variance, "dead": 1 - len(logs) / o["draws"]}


def _draws(prepared: Prepared, experiment: Experiment, count: int) -> Generator[nn.Module]:
    """The same network with other weights, `count` times."""
    for i in range(count):
        seed = seeds.derive(experiment.seed, "probe", f"draw{i}")
        inits.apply(prepared.model, prepared.sites, experiment.init, context=prepared.context, seed=seed)
        yield prepared.model
