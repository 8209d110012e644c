"""Gradients and Jacobians of the hidden layers at initialisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from initlab.papers.measures.hidden import generator, inputs_of, layer_range, outputs_of, settings_of
from initlab.run.prepare import Prepared
from initlab.spec import Experiment


def gradient_growth(prepared: Prepared, experiment: Experiment, given: Mapping[str, Any]) -> Mapping[str, float]:
    """Factor by which the squared gradient grows per layer towards the input, for a random gradient at the last layer.

    Settings: ``inputs`` normal or data, ``examples`` 256, ``first`` and ``last`` layer (0: all) between which the
    growth is taken.

    Returns:
        ``growth``, the geometric mean over layers of E g_l² / E g_(l+1)², each the mean over units and examples;
        ``gradient_ratio``, the root mean square of the gradient at the first layer over that at the last.
    """
    o = settings_of("gradient_growth", given, {"inputs": "normal", "examples": 256, "first": 0, "last": 0})
    x = inputs_of(prepared, experiment, kind=o["inputs"], examples=o["examples"])
    layers = outputs_of(prepared.model.train(), x)
    last = o["last"] or len(layers) - 1
    layer_range("gradient_growth", layers, o["first"], last)
    end = torch.randn(layers[-1].shape, generator=generator(experiment, "gradient")).to(layers[-1])
    grads = torch.autograd.grad(layers[-1], layers[:-1], end)
    squares = [float(g.double().square().mean()) for g in [*grads, end]]
    first, final = squares[o["first"]], squares[last]
    log = math.log(max(first, 1e-300)) - math.log(max(final, 1e-300))
    return {"growth": math.exp(log / (last - o["first"])), "gradient_ratio": math.exp(0.5 * log)}


def jacobian(prepared: Prepared, experiment: Experiment, given: Mapping[str, Any]) -> Mapping[str, float]:
    """Singular values of the Jacobian of the last hidden layer with respect to the first one's output.

    Settings: ``inputs`` normal or data, ``examples`` 4.

    Returns:
        ``mean_square`` of the singular values, ``largest``, ``spread`` = Var(s²)/E(s²)², which is 0 where all are equal
        (dynamical isometry; Saxe et al., 2014; Pennington et al., 2017), each the mean over the examples.
    """
    o = settings_of("jacobian", given, {"inputs": "normal", "examples": 4})
    x = inputs_of(prepared, experiment, kind=o["inputs"], examples=o["examples"])
    model = prepared.model.eval()
    squares: list[torch.Tensor] = []
    for example in x:
        layers = outputs_of(model, example[None])
        layer_range("jacobian", layers, 0, len(layers) - 1)
        first, last = layers[0], layers[-1].flatten()
        rows = [torch.autograd.grad(last[i], first, retain_graph=True)[0].flatten().double() for i in range(len(last))]
        squares.append(torch.linalg.svdvals(torch.stack(rows)).square())
    mean = [float(s.mean()) for s in squares]
    spread = [float(s.var(unbiased=False) / s.mean().square()) for s in squares]
    largest = [float(s.max().sqrt()) for s in squares]
    count = len(squares)
    return {"mean_square": sum(mean) / count, "spread": sum(spread) / count, "largest": sum(largest) / count}
