"""Coordinate check of μP: does the size of updates in activations depend on the network's width?

Yang et al., Tensor Programs V, 2022, appendix D.1. Under the maximal update parametrisation mean|h(t) - h(0)| of every
layer has a limit as the width grows, so its slope in a plot of logarithms is zero; under the usual parametrisation it
grows until training breaks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from initlab.inits.apply import apply
from initlab.network.hooks import tap
from initlab.network.sites import describe, weights
from initlab.spec import Activation, Batch, InitContext, Initializer, Site, StepKind


def coordinate_check(
    build: Callable[[int], nn.Module],
    init: Initializer,
    *,
    batch: Batch,
    activation: Activation,
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    steps: int = 5,
    lr: float = 0.1,
    kind: StepKind = "sgd",
    seeds: Sequence[int] = (0, 1, 2),
) -> dict[str, float]:
    """Slope of log mean|h(t) - h(0)| against log width, for every weight's output h after `steps` steps.

    Args:
        build: width → network; parameters have the same names at every width.
        init: applied to each network; its multipliers of the learning rate are obeyed.
        batch: what is trained on and looked at.
        activation: of the network.
        widths: two or more.
        steps: t.
        lr: learning rate at a multiplier of 1, for plain SGD (``sgd``) or Adam (``adaptive``).
        kind: which of the two.
        seeds: of the draws, over which the movement is averaged.

    Returns:
        Parameter name → slope by least squares. Cost: (steps + 1) passes a width and seed.
    """
    moved = [
        _movement(build, init, n, batch=batch, activation=activation, steps=steps, lr=lr, kind=kind, seeds=seeds)
        for n in widths
    ]
    x = torch.tensor([math.log(w) for w in widths], dtype=torch.float64)
    centred = x - x.mean()
    slopes: dict[str, float] = {}
    for name in moved[0]:
        y = torch.tensor([math.log(m[name]) for m in moved], dtype=torch.float64)
        slopes[name] = float((centred * y).sum() / centred.square().sum())
    return slopes


def _movement(
    build: Callable[[int], nn.Module],
    init: Initializer,
    width: int,
    *,
    batch: Batch,
    activation: Activation,
    steps: int,
    lr: float,
    kind: StepKind,
    seeds: Sequence[int],
) -> Mapping[str, float]:
    """Parameter name → mean|h(t) - h(0)|, averaged over the seeds."""
    total: dict[str, float] = {}
    context = InitContext(activation=activation, batches=lambda _i: batch)
    for seed in seeds:
        model = build(width)
        sites = describe(model, batch.inputs[:2])
        used = apply(model, sites, init, context=context, seed=seed).initializer
        start = _outputs(model, sites, batch.inputs)
        optimizer = _optimizer(model, sites, used, lr, kind)
        for _ in range(steps):
            optimizer.zero_grad()
            batch.loss(model(batch.inputs), batch.targets).backward()
            optimizer.step()
        for name, h in _outputs(model, sites, batch.inputs).items():
            total[name] = total.get(name, 0.0) + float((h - start[name]).abs().mean()) / len(seeds)
    return total


def _outputs(model: nn.Module, sites: tuple[Site, ...], inputs: Tensor) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def read(site: Site, before: Tensor, after: Tensor) -> None:
        del after
        seen[site.name] = before.detach().clone()

    with torch.no_grad(), tap(model, weights(sites), read):
        model(inputs)
    return seen


def _optimizer(
    model: nn.Module, sites: tuple[Site, ...], init: Initializer, lr: float, kind: StepKind
) -> torch.optim.Optimizer:
    known = {s.name: s for s in sites}
    groups = [
        {"params": [p], "lr": lr * (init.lr_scale(known[n], kind) if init.lr_scale is not None else 1.0)}
        for n, p in model.named_parameters()
    ]
    return torch.optim.SGD(groups, lr=lr) if kind == "sgd" else torch.optim.Adam(groups, lr=lr)
