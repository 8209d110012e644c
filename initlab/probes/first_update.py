"""What the optimiser's first update would do, from the gradients of two batches. Nothing is trained.

An update lowers the loss for two reasons: it learns what inputs have to do with answers, and it learns how frequent the
answers are. Only the first is of use. The update that the first batch gives is therefore compared with the one that the
same inputs give with shuffled answers, and both are judged by the gradient on a second batch, to first order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from initlab.core import seeds
from initlab.core.optimizer_step import stepper
from initlab.network.inputs import call, cloned
from initlab.network.sites import weights
from initlab.network.state import preserve_state
from initlab.spec import Batch, Site

Gradients = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class FirstUpdate:
    """The first update on one batch, judged on another; per update, once momentum has built up.

    Attributes:
        loss: before training, in nats.
        decrease: of the second batch's loss by one update, to first order.
        learned: the part of it that an update with shuffled answers does not give.
        moved: least, median and largest ‖ΔW‖/‖W‖ of the hidden weights; of all where there is none.
        agreement: cosine of the two batches' gradients, of the first hidden weight and in the median.
    """

    loss: float
    decrease: float
    learned: float
    moved: tuple[float, float, float]
    agreement: tuple[float, float]


def first_update(
    model: nn.Module,
    sites: tuple[Site, ...],
    batches: Callable[[int], Batch],
    optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
    *,
    clip: float | None = None,
    seed: int = 0,
) -> FirstUpdate | None:
    """Looks at `model` in training mode; its values, mode, buffers, gradients and the generators are restored.

    Args:
        batches: of training examples, by number; those of 0 and 1 are taken.
        optimizer: makes the optimiser of the parameter groups that it is given.
        clip: norm to which gradients are clipped.
        seed: of the shuffled answers.

    Returns:
        None where a batch has no answers to shuffle, or fewer than two examples.
    """
    one, other = batches(0), batches(1)
    if not isinstance(one.targets, Tensor) or len(one.targets) < 2:
        return None
    order = torch.randperm(len(one.targets), generator=seeds.generator(seed, "probe", "shuffled"))
    shuffled = replace(one, targets=one.targets[order.to(one.targets.device)])
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    with preserve_state(model):
        model.train()
        loss, true = _gradients(model, named, one)
        _, false = _gradients(model, named, shuffled)
        _, second = _gradients(model, named, other)
        step = _update(named, true, optimizer, clip)
        amplified = 1 / (1 - step.momentum)
        blind = _update(named, false, optimizer, clip)
        decrease = -amplified * _product(second, step.moved)
        guessed = -amplified * _product(second, blind.moved)
        found = weights(sites)
        hidden = [s.name for s in found if s.role != "head" and s.name in named] or [
            s.name for s in found if s.name in named
        ]
        norms = torch.stack(
            [torch.stack([_norm(step.moved[n]), _norm(named[n].detach()), _cosine(true[n], second[n])]) for n in hidden]
        ).tolist() if hidden else [[0.0, 1.0, 0.0]]  # fmt: skip
    ratios = [amplified * moved / max(size, 1e-30) for moved, size, _ in norms]
    return FirstUpdate(
        loss=loss, decrease=decrease, learned=decrease - guessed,
        moved=(min(ratios), median(ratios), max(ratios)), agreement=(norms[0][2], median(row[2] for row in norms)),
    )  # fmt: skip


# ------------------------------------------------------------------ pieces
@dataclass(frozen=True)
class _Update:
    moved: Gradients
    momentum: float


def _gradients(model: nn.Module, named: dict[str, nn.Parameter], batch: Batch) -> tuple[float, Gradients]:
    for p in model.parameters():
        p.grad = None
    with torch.enable_grad():
        loss = batch.loss(call(model, cloned(batch.inputs)), batch.targets)
        loss.backward()
    found = {n: torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for n, p in named.items()}
    return float(loss.detach()), found


def _update(
    named: dict[str, nn.Parameter],
    gradients: Gradients,
    optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer],
    clip: float | None,
) -> _Update:
    """What the optimiser adds to copies of the parameters, as its first step."""
    copies = {n: nn.Parameter(p.detach().clone()) for n, p in named.items()}
    for name, copy in copies.items():
        copy.grad = gradients[name].clone()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(list(copies.values()), clip)
    made = optimizer([{"params": list(copies.values())}])
    stepper(made)()
    momentum = float(made.defaults.get("momentum", 0.0) or 0.0)
    return _Update({n: c.detach() - named[n].detach() for n, c in copies.items()}, min(momentum, 0.999))


def _product(a: Gradients, b: Gradients) -> float:
    found = float(torch.stack([(_wide(a[n]) * _wide(b[n])).sum() for n in a]).sum()) if a else 0.0
    return found if math.isfinite(found) else math.nan


def _norm(x: Tensor) -> Tensor:
    return _wide(x).norm()


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    size = _norm(a) * _norm(b)
    return (_wide(a) * _wide(b)).sum() / size.clamp_min(torch.finfo(size.dtype).tiny)


def _wide(x: Tensor) -> Tensor:
    """In double precision, where the device has it: squares of vanishing gradients are below what single holds."""
    return x.double() if x.device.type != "mps" else x.float()
