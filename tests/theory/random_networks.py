"""Wide random networks of the mean-field ensemble, forward and backward, by plain matrix products."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from initlab.activations.slope import derivative
from initlab.spec import Activation


@dataclass(frozen=True)
class Ensemble:
    """An activation at (σ_w², σ_b²), sent two inputs of the given mean square and cosine."""

    activation: Activation
    sw2: float
    sb2: float
    mean_square: float = 1.0
    cosine: float = 0.5


@dataclass(frozen=True)
class Measured:
    """Of each seed and layer: mean square (of the first input) and log10 squared gradient; cosine of the two inputs."""

    q: Tensor
    c: Tensor
    log10_gradient: Tensor


def two_inputs(n: int, cosine: float, generator: torch.Generator) -> Tensor:
    """(2, n) with mean square 1 and the given cosine, exactly."""
    a, b = torch.empty(2, n).normal_(generator=generator)
    a = a / a.square().mean().sqrt()
    b = b - a * (a @ b) / n
    b = b / b.square().mean().sqrt()
    return torch.stack([a, cosine * a + math.sqrt(1 - cosine**2) * b])


def simulate(ensembles: Mapping[str, Ensemble], *, width: int, depth: int, seeds: int) -> dict[str, Measured]:
    """All ensembles on the same draws: W_ij ~ N(0, σ_w²/width), b ~ N(0, σ_b²), a random cotangent at the last h."""
    rows: dict[str, list[tuple[list[float], list[float], list[float]]]] = {name: [] for name in ensembles}
    for seed in range(seeds):
        g = torch.Generator().manual_seed(seed)
        weights = torch.empty(depth, width, width).normal_(0, width**-0.5, generator=g)
        biases = torch.empty(depth, width).normal_(generator=g)
        top = torch.empty(1, width).normal_(generator=g)
        start = g.get_state()
        for name, e in ensembles.items():
            g.set_state(start)
            x = two_inputs(width, e.cosine, g) * e.mean_square**0.5
            hs: list[Tensor] = []
            for w, b in zip(weights, biases, strict=True):
                x = e.sw2**0.5 * x @ w.T + e.sb2**0.5 * b
                hs.append(x)
                x = e.activation.fn(x)
            delta, norms = top, [float(top.square().sum())]
            for h, w in zip(reversed(hs[:-1]), reversed(weights[1:]), strict=True):
                delta = (delta @ w) * e.sw2**0.5 * derivative(e.activation.fn, h[:1])
                norms.append(float(delta.square().sum()))
            rows[name].append((
                [float(h[0].square().mean()) for h in hs],
                [float(torch.cosine_similarity(h[0], h[1], dim=0)) for h in hs],
                [math.log10(n / norms[0]) for n in reversed(norms)],
            ))  # fmt: skip
    return {name: Measured(*(torch.tensor(k, dtype=torch.float64) for k in zip(*r, strict=True)))
            for name, r in rows.items()}  # fmt: skip
