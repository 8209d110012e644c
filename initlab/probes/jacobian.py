"""Singular values of a network's Jacobians at initialisation, and condition of its tangent kernel.

Expensive beside the other probes (a backward pass for each unit or example), and therefore for `inspect` only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from initlab.core import seeds
from initlab.network.hooks import tap
from initlab.network.sites import weights
from initlab.network.state import preserve_state
from initlab.spec import Site

#: above so many units only the mean square is estimated, by random projections
EXACT_UNITS = 512
_PROJECTIONS = 16
#: hidden layers up to which a row is a backward pass of its own
_FEW = 5


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Singular values s of a Jacobian ∂h'/∂h at one example.

    Attributes:
        site: of h'; ``""`` for first to last hidden layer.
        mean_square: mean of s² over the smaller of the two dimensions.
        condition: largest over smallest s; NaN where only the mean was estimated, inf where a direction is lost.
        isometry: Var(s²)/(mean s²)², 0 for an isometry; NaN likewise.
    """

    site: str
    mean_square: float
    condition: float
    isometry: float


def layer_jacobians(
    model: nn.Module, sites: tuple[Site, ...], example: Tensor, *, seed: int = 0
) -> tuple[Spectrum, ...]:
    """Spectra from each hidden layer's pre-activation to the next one's, and from the first to the last (site "").

    Args:
        example: one input, (1, ...), or a few, of which the first is looked at (a norm over the batch needs company).
    """
    hidden: dict[str, Site] = {}
    for site in weights(sites):
        if site.activation is not None:
            hidden.setdefault(site.activation, site)
    seen: list[tuple[Site, Tensor]] = []
    with preserve_state(model):
        model.train()
        with torch.enable_grad(), tap(model, tuple(hidden.values()), lambda site, h, _sent: seen.append((site, h))):
            model(example)
        generator = seeds.generator(seed, "probe", "jacobian")
        # of few layers, gradients of numbers: for cotangents that are given, torch imports sympy, which takes longer
        few = len(seen) <= _FEW
        found = [
            _spectrum(after.name, h, h_next, generator, one_by_one=few) for (_, h), (after, h_next) in pairwise(seen)
        ]
        if len(seen) > 2:
            found.append(_spectrum("", seen[0][1], seen[-1][1], generator, one_by_one=few))
    return tuple(found)


def _spectrum(name: str, h: Tensor, after: Tensor, generator: torch.Generator, *, one_by_one: bool) -> Spectrum:
    n_in, n_out = h[0].numel(), after[0].numel()
    if max(n_in, n_out) <= EXACT_UNITS:
        cotangents = torch.eye(n_out, dtype=after.dtype, device=after.device)
        exact = True
    else:
        cotangents = torch.empty(_PROJECTIONS, n_out).normal_(generator=generator).to(after)
        exact = False
    matrix = _rows(after, h, cotangents, one_by_one=one_by_one)
    if not exact:
        # E‖vᵀJ‖² = ‖J‖_F² for v ~ N(0, I) (Hutchinson, 1990)
        mean_square = float(matrix.square().sum(1).mean()) / min(n_in, n_out)
        return Spectrum(site=name, mean_square=mean_square, condition=math.nan, isometry=math.nan)
    if not bool(torch.isfinite(matrix).all()):
        return Spectrum(site=name, mean_square=math.inf, condition=math.inf, isometry=math.nan)
    s = torch.linalg.svdvals(matrix)
    squares = s.square()
    mean = float(squares.mean())
    low = float(s.min())
    return Spectrum(
        site=name,
        mean_square=mean,
        condition=float(s.max()) / low if low > 1e-12 * float(s.max()) else math.inf,
        isometry=float(squares.var(correction=0)) / mean**2 if mean > 0 else math.nan,
    )


def _rows(after: Tensor, h: Tensor, cotangents: Tensor, *, one_by_one: bool) -> Tensor:
    """vᵀ ∂h'/∂h of the first example for each row v of `cotangents`: float64."""
    starts = torch.zeros(len(cotangents), *after.shape, dtype=after.dtype, device=after.device)
    starts[:, 0] = cotangents.view(len(cotangents), *after[0].shape)
    if one_by_one:
        first = after[0].flatten()
        rows = [torch.autograd.grad(first @ v, h, retain_graph=True)[0][0] for v in cotangents.to(first)]
        return torch.stack(rows).flatten(1).to("cpu", torch.float64)
    try:  # all rows in one vectorised backward pass
        (rows,) = torch.autograd.grad(after, h, starts, retain_graph=True, is_grads_batched=True)
    except RuntimeError:  # an operation that cannot be vectorised: one row after the other
        rows = torch.stack([torch.autograd.grad(after, h, v, retain_graph=True)[0] for v in starts])
    return rows[:, 0].flatten(1).to("cpu", torch.float64)


def tangent_kernel(model: nn.Module, inputs: Tensor, *, seed: int = 0) -> Tensor:
    """Gram matrix Θ_ab = ⟨∂f(x_a)/∂θ, ∂f(x_b)/∂θ⟩ of one random direction f of the outputs: float64, (B, B).

    The neural tangent kernel of a single output (Jacot, Gabriel & Hongler, 2018); one backward pass an example.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    with preserve_state(model):
        model.train()
        with torch.enable_grad():
            output = model(inputs).flatten(1)
            direction = torch.empty(output.shape[1]).normal_(generator=seeds.generator(seed, "probe", "tangent"))
            values = output @ (direction / direction.norm()).to(output)
            rows: list[Tensor] = []
            for i in range(len(values)):
                grads = torch.autograd.grad(values[i], parameters, retain_graph=True, materialize_grads=True)
                rows.append(torch.cat([g.flatten() for g in grads]))
            jacobian = torch.stack(rows)
            return (jacobian @ jacobian.T).to("cpu", torch.float64)


def condition_number(kernel: Tensor) -> float:
    """Largest over smallest eigenvalue of a symmetric matrix; inf where the smallest is lost in rounding."""
    if not bool(torch.isfinite(kernel).all()):
        return math.inf
    eigenvalues = torch.linalg.eigvalsh(kernel)
    high, low = float(eigenvalues.max()), float(eigenvalues.min())
    return high / low if low > 1e-7 * high > 0 else math.inf
