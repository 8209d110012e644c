"""Optimiser factories, parameter groups for weight decay, and learning rates by parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from initlab.core.optimizer_step import without_compiler
from initlab.errors import ConfigError
from initlab.spec import LrScale, NonNegativeFloat, OptimizerFactory, PositiveFloat, Probability, Site, StepKind

Groups = Sequence[Mapping[str, object]]
_DECAYED = ("weight", "recurrent", "embedding", "head")
_KINDS: tuple[StepKind, StepKind] = ("sgd", "adaptive")


def parameter_groups(
    model: nn.Module, sites: tuple[Site, ...], lr_scale: LrScale | None = None
) -> list[dict[str, Any]]:
    """Parameter groups of the optimiser: weights, which decay, and all other parameters, which do not.

    All else is biases, norms and learnable activations: decay pulls a norm's scale or an activation's slope to zero,
    which is no regularisation but another function.

    Args:
        model: whose parameters.
        sites: what they are.
        lr_scale: of the initialiser. Parameters with different multipliers are in different groups, each with a key
            ``lr_scale`` that holds the multiplier for either kind of step; the factories below obey and remove it.
    """
    known = {s.name: s for s in sites}
    groups: dict[tuple[bool, float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        site = known.get(name)
        decays = site is not None and site.kind != "activation" and site.role in _DECAYED
        scales = dict.fromkeys(_KINDS, 1.0)
        if site is not None and lr_scale is not None:
            scales = {kind: lr_scale(site, kind) for kind in _KINDS}
        key = (decays, scales["sgd"], scales["adaptive"])
        if key not in groups:
            groups[key] = {"params": []} | ({} if decays else {"weight_decay": 0.0})
            if lr_scale is not None:
                groups[key]["lr_scale"] = scales
        groups[key]["params"].append(parameter)
    # those that decay first; the order within is that of the network
    return sorted(groups.values(), key=lambda g: "weight_decay" in g)


def _factory(
    make: Callable[..., torch.optim.Optimizer], *, kind: StepKind, lr: float, can_fuse: bool = True, **options: Any
) -> OptimizerFactory:
    def build(groups: Groups) -> torch.optim.Optimizer:
        parameters: list[torch.Tensor] = [p for g in groups for p in g["params"]]  # type: ignore[attr-defined, union-attr]
        # one kernel for all parameters: the same numbers, fewer launches; torch has it for CPU and CUDA
        fused = can_fuse and all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
        speed: dict[str, Any] = {"fused": True} if fused else {"foreach": True}
        without_compiler()
        return make(
            _merge_groups([_apply_lr_scale(g, kind, lr) for g in groups], {"lr": lr, **options}),
            lr=lr,
            **options,
            **speed,
        )

    return build


def _apply_lr_scale(group: Mapping[str, object], kind: StepKind, lr: float) -> dict[str, object]:
    """The group as torch takes it, with its own learning rate where it has a multiplier."""
    rest = {k: v for k, v in group.items() if k != "lr_scale"}
    scales = cast("Mapping[StepKind, float] | None", group.get("lr_scale"))
    return rest if scales is None else rest | {"lr": lr * scales[kind]}


def _merge_groups(groups: list[dict[str, object]], defaults: Mapping[str, object]) -> list[dict[str, object]]:
    """Merges groups that are equal under the defaults: each group costs a kernel launch in every update."""
    merged: dict[str, dict[str, object]] = {}
    for group in groups:
        options = {**defaults, **{k: v for k, v in group.items() if k != "params"}}
        same = merged.setdefault(repr(sorted(options.items())), {**group, "params": []})
        cast("list[object]", same["params"]).extend(cast("list[object]", group["params"]))
    return list(merged.values())


def sgd(
    *,
    lr: PositiveFloat = 0.01,
    momentum: Probability = 0.9,
    nesterov: bool = False,
    weight_decay: NonNegativeFloat = 0.0,
) -> OptimizerFactory:
    """Stochastic gradient descent, with heavy-ball or Nesterov momentum (Sutskever et al., ICML 2013)."""
    if nesterov and momentum == 0:
        raise ConfigError("nesterov", nesterov, "needs momentum greater than 0")
    return _factory(torch.optim.SGD, kind="sgd", lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def adam(
    *,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Probability, Probability] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> OptimizerFactory:
    """Adam. Kingma & Ba, ICLR 2015. Its step does not see the gradient's scale, so it hides much of a bad start."""
    return _factory(torch.optim.Adam, kind="adaptive", lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def adamw(
    *,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Probability, Probability] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 1e-2,
) -> OptimizerFactory:
    """Adam with decoupled weight decay. Loshchilov & Hutter, ICLR 2019."""
    return _factory(torch.optim.AdamW, kind="adaptive", lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def rmsprop(
    *,
    lr: PositiveFloat = 1e-3,
    alpha: Probability = 0.99,
    momentum: Probability = 0.0,
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> OptimizerFactory:
    """RMSprop. Tieleman & Hinton, Coursera lecture 6.5, 2012."""
    return _factory(
        torch.optim.RMSprop,
        kind="adaptive",
        can_fuse=False,
        lr=lr,
        alpha=alpha,
        momentum=momentum,
        eps=eps,
        weight_decay=weight_decay,
    )
