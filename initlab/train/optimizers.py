"""Optimisers as factories, and which parameters feel weight decay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from initlab.errors import ConfigError
from initlab.spec import NonNegativeFloat, OptimizerFactory, PositiveFloat, Probability, Site

Groups = Sequence[Mapping[str, object]]
_DECAYED = ("weight", "recurrent", "embedding", "head")


def parameter_groups(model: nn.Module, sites: tuple[Site, ...]) -> list[dict[str, Any]]:
    """Two groups: weights, which decay, and all else (biases, norms, learnable activations), which does not.

    Decay pulls a norm's scale or an activation's slope to zero, which is no regularisation but another function.
    """
    role = {s.name: s.role for s in sites if s.kind != "activation"}
    decayed = [p for n, p in model.named_parameters() if role.get(n) in _DECAYED]
    others = [p for n, p in model.named_parameters() if role.get(n) not in _DECAYED]
    groups: list[dict[str, Any]] = [{"params": decayed}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    return [g for g in groups if g["params"]]


def _factory(make: Callable[..., torch.optim.Optimizer], *, can_fuse: bool = True, **options: Any) -> OptimizerFactory:
    def build(groups: Groups) -> torch.optim.Optimizer:
        parameters: list[torch.Tensor] = [p for g in groups for p in g["params"]]  # type: ignore[attr-defined, union-attr]
        # one kernel for all parameters: the same numbers, fewer launches; torch has it for CPU and CUDA
        fused = can_fuse and all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
        speed: dict[str, Any] = {"fused": True} if fused else {"foreach": True}
        return make(list(groups), **options, **speed)

    return build


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
    return _factory(torch.optim.SGD, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def adam(
    *,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Probability, Probability] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
) -> OptimizerFactory:
    """Adam. Kingma & Ba, ICLR 2015. Its step does not see the gradient's scale, so it hides much of a bad start."""
    return _factory(torch.optim.Adam, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def adamw(
    *,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Probability, Probability] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 1e-2,
) -> OptimizerFactory:
    """Adam with decoupled weight decay. Loshchilov & Hutter, ICLR 2019."""
    return _factory(torch.optim.AdamW, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


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
        torch.optim.RMSprop, can_fuse=False, lr=lr, alpha=alpha, momentum=momentum, eps=eps, weight_decay=weight_decay
    )
