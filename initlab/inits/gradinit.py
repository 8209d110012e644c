"""GradInit: learns a scale for each parameter tensor, so that one optimiser step lowers the loss the most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from initlab.core.factories import factory
from initlab.inits.composition import Scheme, resolve
from initlab.inits.differentiable import differentiable
from initlab.inits.streaming import batch_of, combine_checks, deterministic_training_mode, exclude_kept, require_data
from initlab.network.inputs import arguments, cloned
from initlab.spec import Batch, InitContext, Initializer, NonNegativeInt, PositiveFloat, Site

#: of the loss, that one step may take off at most to first order: η‖g‖₂² (sgd) or η‖g‖₁ (adam)
_DROP = 0.1
#: a scale may fall to this share
_SMALLEST = 0.01
_REPAIRS = 300

Variant = Literal["sgd", "adam"]


@factory
def gradinit(
    *,
    base: Scheme = "he",
    optimizer: Variant = "sgd",
    eta: PositiveFloat | Literal["auto"] = "auto",
    gamma: PositiveFloat | Literal["auto"] = "auto",
    steps: NonNegativeInt = 100,
    lr: PositiveFloat = 0.01,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """Scales α of the parameter tensors that minimise the loss after one step, with a bound on the gradient.

        min_α ℓ(θ_α - η·A[g]; S̃)   subject to   ‖g‖ ≤ γ,   g = ∇ℓ(θ_α; S)

    Zhu, Ni, Xu, Kong, Huang & Goldstein, NeurIPS 2021. A[g] is g with the 2-norm (``sgd``) or sign(g) with the 1-norm
    (``adam``). Where the bound is broken a step lowers the norm, else one lowers the loss; half of the batch S̃ is new.
    The direction of each tensor stays that of the draw.

    Args:
        base: what draws the weights first.
        optimizer: whose step is looked ahead to; adamw and rmsprop count as adam.
        eta: size of that step; auto is 0.1 for sgd and 0.001 for adam.
        gamma: bound on the norm; auto allows a first-order fall of the loss by 0.1: √(0.1/η) for sgd, 0.1/η for adam.
        steps: of Adam on α.
        lr: of Adam on α.

    Refuses to work without data. Cost: two batches and three to four steps of training for each of `steps`.
    """
    first = resolve(base, "init.base")
    step_size = (0.1 if optimizer == "sgd" else 1e-3) if eta == "auto" else eta
    bound = ((_DROP / step_size) ** 0.5 if optimizer == "sgd" else _DROP / step_size) if gamma == "auto" else gamma

    def step(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
        tensors = _tensors(model, sites)
        if not tensors:
            return ("gradinit: there is no parameter whose scale could be learned",)
        with deterministic_training_mode(model):
            ahead = _LookAhead(model=model, tensors=tensors, variant=optimizer, eta=step_size)
            note = _learn(ahead, context, bound=bound, steps=steps, lr=lr)
        return (note,)

    keep = (*first.keep, *keep)
    return replace(
        first,
        name="gradinit",
        sigmas=None,
        keep=keep,
        adapt=(*first.adapt, exclude_kept(step, keep)),
        check=combine_checks(require_data("gradinit"), first.check),
    )


@dataclass(frozen=True, kw_only=True)
class _LookAhead:
    """The network as a function of the scales, and one optimiser step from there."""

    model: nn.Module
    tensors: Mapping[str, nn.Parameter]
    variant: Variant
    eta: float

    def loss(self, values: Mapping[str, Tensor], batch: Batch) -> Tensor:
        args, kwargs = arguments(self.model, cloned(batch.inputs))
        return batch.loss(functional_call(self.model, dict(values), args, kwargs), batch.targets)

    def scaled(self, alpha: Tensor) -> dict[str, Tensor]:
        return {n: a * p.detach() for a, (n, p) in zip(alpha.unbind(), self.tensors.items(), strict=True)}

    def gradient(self, values: Mapping[str, Tensor], batch: Batch) -> tuple[Sequence[Tensor], Tensor]:
        """(g, its norm), both differentiable."""
        g = torch.autograd.grad(
            self.loss(values, batch),
            list(values.values()),
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        flat = torch.cat([x.flatten() for x in g])
        return g, flat.norm() if self.variant == "sgd" else flat.abs().sum()

    def after_step(self, values: Mapping[str, Tensor], g: Sequence[Tensor], batch: Batch) -> Tensor:
        """The loss on `batch` after one step along `g`."""
        moves = g if self.variant == "sgd" else [x.sign() for x in g]
        return self.loss({n: v - self.eta * m for (n, v), m in zip(values.items(), moves, strict=True)}, batch)

    def seen(self, alpha: Tensor, batch: Batch, other: Batch) -> tuple[float, float, float]:
        """(norm of the gradient on `batch`, loss on `other` before a step, and after it), as numbers."""
        values = self.scaled(alpha.detach().requires_grad_())
        g, norm = self.gradient(values, batch)
        before, after = self.loss(values, other), self.after_step(values, g, other)
        return float(norm.detach()), float(before.detach()), float(after.detach())


def _learn(ahead: _LookAhead, context: InitContext, *, bound: float, steps: int, lr: float) -> str:
    device = next(iter(ahead.tensors.values())).device
    alpha = torch.ones(len(ahead.tensors), device=device, requires_grad=True)
    # one Adam for each objective: with a shared one, the norm's large gradients would affect the steps on the loss
    norm_steps, loss_steps = (torch.optim.Adam([alpha], lr=lr, betas=(0.8, 0.95)) for _ in range(2))

    def update(objective: Tensor, optimizer: torch.optim.Optimizer) -> None:
        (gradient,) = torch.autograd.grad(objective, alpha)
        alpha.grad = torch.nan_to_num(gradient)
        optimizer.step()
        with torch.no_grad():
            alpha.clamp_(min=_SMALLEST)

    # the values before and after are measured on a pair of batches that was not used for learning
    look, look_ahead = batch_of(context, "gradinit"), _half_new_batches(context, 0)
    with torch.enable_grad(), differentiable(ahead.model):
        norm_before, from_before, loss_before = ahead.seen(alpha, look, look_ahead)
        for t in range(1, steps + 1):
            batch = batch_of(context, "gradinit", 2 * t)
            values = ahead.scaled(alpha)
            g, norm = ahead.gradient(values, batch)
            if float(norm.detach()) > bound:
                update(norm.log(), norm_steps)
            else:
                update(ahead.after_step(values, g, _half_new_batches(context, t)), loss_steps)
        repairs = 0
        while repairs < _REPAIRS:
            _, norm = ahead.gradient(ahead.scaled(alpha), look)
            if float(norm.detach()) <= bound:
                break
            update(norm.log(), norm_steps)
            repairs += 1
        norm_after, from_after, loss_after = ahead.seen(alpha, look, look_ahead)
    if norm_before <= bound and loss_before <= loss_after:
        return (
            f"gradinit: no better scales found: a step takes the loss from {from_before:.4g} to {loss_before:.4g}, "
            f"|g| {norm_before:.4g}, bound {bound:.4g}"
        )
    with torch.no_grad():
        for a, parameter in zip(alpha.unbind(), ahead.tensors.values(), strict=True):
            parameter.mul_(a)
    low, high = float(alpha.detach().min()), float(alpha.detach().max())
    return (
        f"gradinit: a step takes the loss from {from_after:.4g} to {loss_after:.4g} ({from_before:.4g} to "
        f"{loss_before:.4g} before), |g| {norm_after:.4g} ({norm_before:.4g} before), bound {bound:.4g}, "
        f"scales from {low:.3g} to {high:.3g}"
    )


def _half_new_batches(context: InitContext, t: int) -> Batch:
    """The first half of batch 2t and of batch 2t + 1."""
    old, new = batch_of(context, "gradinit", 2 * t), batch_of(context, "gradinit", 2 * t + 1)
    if not isinstance(old.inputs, Tensor) or not isinstance(old.targets, Tensor):
        return old if t % 2 == 0 else new  # inputs that cannot be cut: whole batches in turn
    half = max(1, old.inputs.shape[0] // 2)
    return Batch(
        inputs=torch.cat([old.inputs[:half], new.inputs[:half]]),
        targets=torch.cat([old.targets[:half], new.targets[:half]]),
        loss=old.loss,
    )


def _tensors(model: nn.Module, sites: tuple[Site, ...]) -> dict[str, nn.Parameter]:
    """Parameters that a scale can change: those that are not zero. Learnable activations keep their start."""
    shown = {s.name for s in sites if s.kind != "activation"}
    named = model.named_parameters()
    return {n: p for n, p in named if n in shown and p.requires_grad and bool(p.detach().any())}
