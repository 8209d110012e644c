"""Optimiser factories, parameter groups for weight decay, and learning rates by parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import nn

from initlab.core.factories import factory
from initlab.core.optimizer_step import without_compiler
from initlab.errors import ConfigError
from initlab.spec import (
    LrScale,
    NonNegativeFloat,
    OptimizerFactory,
    PositiveFloat,
    Probability,
    Site,
    StepKind,
    StepScale,
)

Groups = Sequence[Mapping[str, object]]
_DECAYED = ("weight", "recurrent", "embedding", "head")
_HIDDEN = ("weight", "recurrent")
#: which parameters decay: matrices and kernels | these and embeddings, position tables and tokens | every parameter
Decay = Literal["matrices", "weights", "all"]
#: keys of a group that torch does not know
_OURS = ("lr_scale", "eps_scale", "matrices", "tables")
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

    Returns:
        Groups with keys besides, which all factories remove: ``matrices``, the hidden weights of two dimensions among
        the parameters, which `muon` takes; ``tables``, embeddings, position tables and tokens, for ``decay=matrices``.
        A key ``eps_scale`` is the multiplier of Adam's ε where `lr_scale` is a `StepScale`.
    """
    known = {s.name: s for s in sites}
    groups: dict[tuple[bool, float, float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        site = known.get(name)
        decays = site is not None and site.kind != "activation" and site.role in _DECAYED
        scales = dict.fromkeys(_KINDS, 1.0)
        if site is not None and lr_scale is not None:
            scales = {kind: lr_scale(site, kind) for kind in _KINDS}
        eps = lr_scale.eps(site) if site is not None and isinstance(lr_scale, StepScale) else 1.0
        key = (decays, scales["sgd"], scales["adaptive"], eps)
        if key not in groups:
            groups[key] = {"params": [], "matrices": [], "tables": []} | ({} if decays else {"weight_decay": 0.0})
            if lr_scale is not None:
                groups[key]["lr_scale"] = scales
            if isinstance(lr_scale, StepScale):
                groups[key]["eps_scale"] = eps
        groups[key]["params"].append(parameter)
        if site is not None and (site.role == "embedding" or site.tied):
            groups[key]["tables"].append(parameter)
        if (
            site is not None
            and not site.tied
            and site.role in _HIDDEN
            and site.kind != "activation"
            and parameter.dim() == 2
        ):
            groups[key]["matrices"].append(parameter)
    # those that decay first; the order within is that of the network
    return sorted(groups.values(), key=lambda g: "weight_decay" in g)


def _factory(
    make: Callable[..., torch.optim.Optimizer],
    *,
    kind: StepKind,
    lr: float,
    can_fuse: bool = True,
    decoupled: bool = False,
    decay: Decay = "weights",
    depth_power: float = 0.0,
    **options: Any,
) -> OptimizerFactory:
    base = lr

    def build(groups: Groups, factor: float) -> torch.optim.Optimizer:
        lr = base * factor
        parameters: list[torch.Tensor] = [p for g in groups for p in g["params"]]  # type: ignore[attr-defined, union-attr]
        # one kernel for all parameters: the same numbers, fewer launches; torch has it for CPU and CUDA
        fused = can_fuse and all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
        speed: dict[str, Any] = {"fused": True} if fused else {"foreach": True}
        without_compiler()
        scaled = [apply_scale(g, kind, lr=lr, decoupled=decoupled, **options) for g in apply_decay(groups, decay)]
        return make(
            merge_groups(scaled, {"lr": lr, **options}),
            lr=lr,
            **options,
            **speed,
        )

    return ByDepth(build, depth_power=depth_power)


@dataclass(frozen=True)
class ByDepth:
    """Builds an optimiser whose learning rates are divided by the network's depth to a power.

    Saxe, McClelland & Ganguli, arXiv:1312.6120, 2014: a deep linear network needs a rate that falls as 1/depth.

    Attributes:
        build: makes the optimiser of groups, with its rates times a factor.
        depth_power: of the depth; 0 leaves the rates as they are.
        depth: of the network (`model.depth`); None where it is not known.
    """

    build: Callable[[Groups, float], torch.optim.Optimizer]
    depth_power: float = 0.0
    depth: int | None = None

    def __call__(self, groups: Groups) -> torch.optim.Optimizer:
        """The optimiser of `groups`. Raises ConfigError where the depth is needed and not known."""
        if self.depth_power == 0:
            return self.build(groups, 1.0)
        if self.depth is None:
            text = "needs a model with model.depth, which is then the number of its hidden layers: mlp, for example"
            raise ConfigError("optimizer.depth_power", self.depth_power, text)
        return self.build(groups, self.depth**-self.depth_power)


def apply_scale(
    group: Mapping[str, object], kind: StepKind, *, lr: float, eps: float | None = None, weight_decay: float = 0.0,
    decoupled: bool = False, **_: object,
) -> dict[str, object]:  # fmt: skip
    """The group as torch takes it, with its own rate, ε and decay where it has multipliers.

    Args:
        group: of `parameter_groups`.
        kind: of the optimiser's step.
        lr: at a multiplier of 1. eps, weight_decay: likewise; eps None where there is none.
        decoupled: whether a step takes lr·weight_decay of a weight away, as AdamW's does: the product is then the same
            for every multiplier of a `StepScale`.
    """
    rest = {k: v for k, v in group.items() if k not in _OURS}
    scales = cast("Mapping[StepKind, float] | None", group.get("lr_scale"))
    if scales is None:
        return rest
    found = rest | {"lr": lr * scales[kind]}
    eps_scale = cast("float | None", group.get("eps_scale"))
    if eps_scale is not None and eps_scale != 1 and eps is not None:
        found["eps"] = eps * eps_scale
    if eps_scale is not None and decoupled and "weight_decay" not in rest and scales[kind] not in (0, 1):
        found["weight_decay"] = weight_decay / scales[kind]
    return found


def apply_decay(groups: Groups, decay: Decay) -> list[Mapping[str, object]]:
    """The groups with decay where `decay` says: ``matrices`` takes the tables out, ``all`` takes every parameter in."""
    if decay == "weights":
        return list(groups)
    if decay == "all":
        return [{k: v for k, v in g.items() if k != "weight_decay"} for g in groups]
    found: list[Mapping[str, object]] = []
    for group in groups:
        tables = {id(p) for p in cast("list[nn.Parameter]", group.get("tables", ()))}
        params = cast("list[nn.Parameter]", group["params"])
        inside, outside = [p for p in params if id(p) in tables], [p for p in params if id(p) not in tables]
        found += [{**group, "params": outside}] if outside else []
        found += [{**group, "params": inside, "weight_decay": 0.0}] if inside else []
    return found


def merge_groups(groups: list[dict[str, object]], defaults: Mapping[str, object]) -> list[dict[str, object]]:
    """Merges groups that are equal under the defaults: each group costs a kernel launch in every update."""
    merged: dict[str, dict[str, object]] = {}
    for group in groups:
        options = {**defaults, **{k: v for k, v in group.items() if k != "params"}}
        same = merged.setdefault(repr(sorted(options.items())), {**group, "params": []})
        cast("list[object]", same["params"]).extend(cast("list[object]", group["params"]))
    return list(merged.values())


@factory
def sgd(
    *,
    lr: PositiveFloat = 0.01,
    momentum: Probability = 0.9,
    nesterov: bool = False,
    weight_decay: NonNegativeFloat = 0.0,
    decay: Decay = "weights",
    depth_power: NonNegativeFloat = 0.0,
) -> OptimizerFactory:
    """Stochastic gradient descent, with heavy-ball or Nesterov momentum (Sutskever et al., ICML 2013)."""
    if nesterov and momentum == 0:
        raise ConfigError("nesterov", nesterov, "needs momentum greater than 0")
    return _factory(
        torch.optim.SGD,
        kind="sgd",
        lr=lr,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        decay=decay,
        depth_power=depth_power,
    )


@factory
def adam(
    *,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Probability, Probability] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
    decay: Decay = "weights",
    depth_power: NonNegativeFloat = 0.0,
) -> OptimizerFactory:
    """Adam. Kingma & Ba, ICLR 2015. Its step does not see the gradient's scale, so it hides much of a bad start."""
    return _factory(
        torch.optim.Adam,
        kind="adaptive",
        lr=lr,
        betas=betas,
        eps=eps,
        weight_decay=weight_decay,
        decay=decay,
        depth_power=depth_power,
    )


@factory
def adamw(
    *,
    lr: PositiveFloat = 1e-3,
    betas: tuple[Probability, Probability] = (0.9, 0.999),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 1e-2,
    decay: Decay = "weights",
    depth_power: NonNegativeFloat = 0.0,
) -> OptimizerFactory:
    """Adam with decoupled weight decay. Loshchilov & Hutter, ICLR 2019."""
    return _factory(
        torch.optim.AdamW, kind="adaptive", decoupled=True, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
        decay=decay, depth_power=depth_power,
    )  # fmt: skip


@factory
def rmsprop(
    *,
    lr: PositiveFloat = 1e-3,
    alpha: Probability = 0.99,
    momentum: Probability = 0.0,
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.0,
    decay: Decay = "weights",
    depth_power: NonNegativeFloat = 0.0,
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
        decay=decay,
        depth_power=depth_power,
    )
