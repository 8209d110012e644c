"""Moments of the hidden layers at initialisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from initlab.errors import ConfigError
from initlab.papers.measures.hidden import inputs_of, outputs_of, settings_of
from initlab.run.prepare import Prepared
from initlab.spec import Experiment


def layer_moments(prepared: Prepared, experiment: Experiment, given: Mapping[str, Any]) -> Mapping[str, float]:
    """Mean and variance of each hidden layer's activations over units and examples.

    Settings: ``inputs`` normal or data, ``examples`` 500, ``skip`` 0 layers at the beginning.

    Returns:
        ``mean_size``, the largest size of a layer's mean; ``low_variance`` and ``high_variance``, over layers;
        ``last_variance``; ``last_square``, the mean square of the last layer.
    """
    o = settings_of("layer_moments", given, {"inputs": "normal", "examples": 500, "skip": 0})
    x = inputs_of(prepared, experiment, kind=o["inputs"], examples=o["examples"])
    with torch.no_grad():
        every = outputs_of(prepared.model.train(), x)
    if o["skip"] >= len(every):
        raise ConfigError("claim.measures.settings.skip", o["skip"], f"leaves none of the {len(every)} hidden layers")
    layers = every[o["skip"] :]
    means = [float(y.double().mean()) for y in layers]
    variances = [float(y.double().var(unbiased=False)) for y in layers]
    return {
        "mean_size": max(map(abs, means)),
        "low_variance": min(variances),
        "high_variance": max(variances),
        "last_variance": variances[-1],
        "last_square": float(layers[-1].double().square().mean()),
    }
