"""Measures a network at initialisation on one batch, in one forward and one backward pass.

The same quantities that theory predicts (mean square, correlation, gradient, saturation), beside what it does not: dead
units on the batch, effective rank, and how different the outputs of different examples are.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from initlab.activations.slope import slope_band
from initlab.core import seeds
from initlab.errors import ConfigError
from initlab.network.graph import example_moments
from initlab.network.hooks import SMALLEST, tap
from initlab.network.inputs import batch_size, call, cloned, main_output, tensors
from initlab.network.sites import weights
from initlab.network.state import preserve_state
from initlab.spec import Batch, InitContext, Site


@dataclass(frozen=True, kw_only=True)
class LayerSnapshot:
    """Measurements of one hidden layer on one batch.

    Attributes:
        q, mean, c: mean square, mean, and correlation of two examples of the pre-activation h.
        log10_gradient: log10 of ‖∂E/∂h‖² over that of the last hidden layer that a gradient reaches, for random signs
            ∂E at the head's input: what the hidden layers do, whatever the head and the loss are.
        grad_norm: ‖∂loss/∂W‖ (Frobenius); weight_norm: ‖W‖.
        saturated: share of h where |φ'| is below 5 % of its maximum.
        off: share of units where |φ'| is below 0.1 % for every example of the batch (not yet dead units: a batch is
            fewer than the thousand examples that make one).
        effective_rank: of φ(h), examples by units, after Roy & Vetterli.
    """

    site: str
    order: int
    q: float
    mean: float
    c: float
    log10_gradient: float
    grad_norm: float
    weight_norm: float
    saturated: float
    off: float
    effective_rank: float


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Measurements of a network on one batch.

    Attributes:
        output_q, output_c: mean square of the logits, and how alike those of two examples are (1 is the same).
        kept: how much of what tells the network's inputs apart still tells the head's inputs apart: the centred kernel
            alignment (CKA) of the two, 1 where distances are kept, near 0 where depth has mixed all examples into one
            or scattered them at random. NaN where the inputs are not numbers (tokens).
        loss: in nats. grad_norm: of all parameters.
    """

    layers: tuple[LayerSnapshot, ...]
    loss: float
    output_q: float
    output_c: float
    kept: float
    grad_norm: float
    examples: int


def snapshot(model: nn.Module, sites: tuple[Site, ...], batch: Batch, context: InitContext) -> Snapshot:
    """Measures `model` on `batch` in training mode; mode, buffers, gradients and generators are restored.

    Everything is reduced on the device and fetched in one transfer.
    """
    hidden = tuple(s for s in weights(sites) if s.activation is not None)
    first_of: dict[str, Site] = {}
    for site in sorted(
        hidden, key=lambda s: s.gated
    ):  # a branch and its shortcut meet in one activation, and are one layer
        first_of.setdefault(site.activation or "", site)
    chosen = tuple(sorted(first_of.values(), key=lambda s: s.order))
    values: dict[tuple[str, str], Tensor] = {}
    received: dict[str, Tensor] = {}
    top: list[Tensor] = []  # what the heads receive; the output, where there is none or branches make it
    heads = [s.layer for s in sites if s.role == "head" and s.branch is None and s.activation is None and s.alone]
    with preserve_state(model):
        model.train()
        for parameter in model.parameters():
            parameter.grad = None

        def read(site: Site, h: Tensor, sent: Tensor) -> None:
            with torch.no_grad():
                seen = h.detach()
                for key, value in zip(("mean", "q", "p"), example_moments(seen), strict=True):
                    values[site.name, key] = value
                activation = context.after(site) or context.activation
                if activation.moments is None:
                    unit = 1 if site.kind.startswith("conv") else seen.dim() - 1
                    values[site.name, "saturated"] = slope_band(activation.fn).saturated_share(seen)
                    values[site.name, "off"] = 1 - slope_band(activation.fn, 1e-3).any_live(seen, unit).float().mean()
                values[site.name, "rank"] = _effective_rank(sent.detach())
            received[site.name] = h

        with torch.enable_grad(), tap(model, chosen, read), _inputs_of(model, heads, top):
            answer = call(model, cloned(batch.inputs))
            loss = batch.loss(answer, batch.targets)
            output = main_output(answer)
            if output is None:
                raise ConfigError("model", None, "returns no tensor of numbers")
            examples = batch_size(batch.inputs) or 0
            top = [t for t in top if t.dim() and t.shape[0] == examples] or [output]
            if (
                isinstance(batch.inputs, Tensor)
                and batch.inputs.is_floating_point()
                and all(len(t) == examples for t in top)
            ):
                whole = torch.cat([t.detach().flatten(1) for t in top], dim=1)
                values["", "kept"] = alignment(batch.inputs, whole)
            values |= _gradient_norms(received, top, context.seed)
            for parameter in model.parameters():
                parameter.grad = None
            if loss.requires_grad:
                loss.backward()
        named = dict(model.named_parameters())
        for site in chosen:
            gradient = named[site.name].grad
            if gradient is not None:
                values[site.name, "grad_norm"] = gradient.float().norm()
            values[site.name, "weight_norm"] = named[site.name].detach().float().norm()
        grads = [p.grad for p in named.values() if p.grad is not None]
        values["", "grad_norm"] = torch.stack([g.float().norm() for g in grads]).norm() if grads else loss.new_zeros(())
        values["", "loss"] = loss.detach()
        for key, value in zip(("mean", "q", "p"), example_moments(output), strict=True):
            values["", key] = value
    numbers = dict(zip(values, torch.stack([v.float() for v in values.values()]).tolist(), strict=True))
    # a layer inside a branch that begins as nothing has no gradient to compare with
    last = next((g for s in reversed(chosen) if (g := numbers.get((s.name, "g"), 0.0)) > 0), math.nan)
    return Snapshot(
        layers=tuple(_layer(s, numbers, last) for s in chosen),
        loss=numbers["", "loss"],
        output_q=numbers["", "q"],
        output_c=numbers["", "p"] / numbers["", "q"] if numbers["", "q"] > 0 else 1.0,
        kept=numbers.get(("", "kept"), math.nan),
        grad_norm=numbers["", "grad_norm"],
        examples=batch_size(batch.inputs) or 0,
    )


@contextmanager
def _inputs_of(model: nn.Module, layers: list[str], found: list[Tensor]) -> Generator[None]:
    """While open, stores the inputs of `layers` in `found`, each tensor once."""

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = next(tensors((args, kwargs)), None)
        if x is not None and x.is_floating_point() and all(x is not t for t in found):
            found.append(x)

    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_pre_hook(hook, with_kwargs=True) for name in dict.fromkeys(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _gradient_norms(received: dict[str, Tensor], top: list[Tensor], seed: int) -> dict[tuple[str, str], Tensor]:
    """‖∂E/∂h‖ of each layer's pre-activation, E the sum of the top's entries with random signs."""
    reached = {name: h for name, h in received.items() if h.requires_grad}
    ends = [t for t in top if t.requires_grad]
    if not ends or not reached:
        return {}
    generator = seeds.generator(seed, "probe", "cotangent")
    signs = [torch.empty(t.shape).bernoulli_(0.5, generator=generator).mul_(2).sub_(1).to(t) for t in ends]
    # the gradient of a number: for cotangents that are given, torch imports its symbolic shapes, and sympy with them
    total = torch.stack([(t * s).sum() for t, s in zip(ends, signs, strict=True)]).sum()
    try:
        found = torch.autograd.grad(
            total, list(reached.values()), retain_graph=True, allow_unused=True, materialize_grads=True
        )
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        return _norms_by_hooks(reached, ends, signs)
    return {(name, "g"): _norm(g.detach()) for name, g in zip(reached, found, strict=True)}


def _norms_by_hooks(
    reached: dict[str, Tensor], ends: list[Tensor], signs: list[Tensor]
) -> dict[tuple[str, str], Tensor]:
    """The same by `backward`, which is all that reentrant checkpoints know; gradients of parameters are added to."""
    values: dict[tuple[str, str], Tensor] = {}

    def keep(name: str, g: Tensor) -> None:
        values[name, "g"] = _norm(g.detach())

    handles = [h.register_hook(lambda g, name=name: keep(name, g)) for name, h in reached.items()]
    torch.autograd.backward(ends, signs, retain_graph=True)
    for handle in handles:
        handle.remove()
    return values


def _norm(g: Tensor) -> Tensor:
    """‖g‖, also where the squares of its entries are below the smallest number of single precision."""
    largest = g.abs().amax().float().clamp_min(SMALLEST)
    return largest * (g.float() / largest).norm()


def _layer(site: Site, numbers: dict[tuple[str, str], float], last: float) -> LayerSnapshot:
    def of(key: str) -> float:
        return numbers.get((site.name, key), math.nan)

    variance = of("q") - of("mean") ** 2
    gradient = of("g")
    return LayerSnapshot(
        site=site.name,
        order=site.order,
        q=of("q"),
        mean=of("mean"),
        c=(of("p") - of("mean") ** 2) / variance if variance > 0 else 1.0,
        log10_gradient=2 * math.log10(gradient / last) if gradient > 0 and last > 0 else math.nan,
        grad_norm=of("grad_norm"),
        weight_norm=of("weight_norm"),
        saturated=of("saturated"),
        off=of("off"),
        effective_rank=of("rank"),
    )


def alignment(x: Tensor, y: Tensor) -> Tensor:
    """Centred kernel alignment of two representations (B, ...) of the same examples, a scalar tensor in [0, 1].

    ⟨HKH, HLH⟩/(‖HKH‖ ‖HLH‖) with linear kernels K, L (Kornblith et al., ICML 2019); 0 where one of them is constant.
    """

    def centred(t: Tensor) -> Tensor:
        # on the CPU: double precision tells near-identical examples apart, and not every accelerator has it
        flat = t.flatten(1).to("cpu", torch.float64)
        flat = flat - flat.mean(0)
        return flat @ flat.T

    a, b = centred(x), centred(y)
    return ((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-300)).to(x.device, torch.float32)


def _effective_rank(x: Tensor) -> Tensor:
    """Entropy rank of (examples, units), from the Gram matrix of at most 64 examples."""
    flat = x[:64].flatten(1).to("cpu", torch.float64)
    eigenvalues = torch.linalg.eigvalsh(flat @ flat.T).clamp_min(0) if bool(torch.isfinite(flat).all()) else None
    if eigenvalues is None:
        return torch.tensor(float("nan"), device=x.device)
    # eigenvalues below rounding are noise, whose square roots would count
    s = torch.where(eigenvalues > 1e-12 * eigenvalues.max(), eigenvalues, 0.0).sqrt()
    p = s / s.sum().clamp_min(1e-300)
    return torch.exp(-torch.special.xlogy(p, p).sum()).to(x.device, torch.float32)
