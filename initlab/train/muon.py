"""Muon for hidden matrices, and AdamW for everything else, as one optimiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.core.optimizer_step import without_compiler
from initlab.spec import NonNegativeFloat, OptimizerFactory, PositiveFloat, PositiveInt, Probability
from initlab.train.optimizers import ByDepth, Decay, Groups, apply_decay, apply_scale, merge_groups

#: how the rate is scaled with a matrix's shape: so that an update has the size of AdamW's, or √max(1, out/in)
Adjust = Literal["match_rms_adamw", "original"]


@factory
def muon(
    *,
    lr: PositiveFloat = 1e-3,
    momentum: Probability = 0.95,
    nesterov: bool = True,
    steps: PositiveInt = 5,
    adjust: Adjust = "match_rms_adamw",
    weight_decay: NonNegativeFloat = 0.1,
    decay: Decay = "weights",
    adamw_lr: PositiveFloat | None = None,
    betas: tuple[Probability, Probability] = (0.9, 0.95),
    eps: PositiveFloat = 1e-8,
    depth_power: NonNegativeFloat = 0.0,
) -> OptimizerFactory:
    """Hidden matrices move by the orthogonal matrix nearest to their momentum, all other parameters by AdamW.

    Jordan et al., 2024; `torch.optim.Muon` computes it with `steps` Newton-Schulz steps in bfloat16. It takes weights
    of two dimensions that are neither embedding nor head; these, tied ones too, and kernels, norms and biases are
    AdamW's. A stacked matrix of queries, keys and values counts as one.

    Args:
        lr: of the matrices.
        momentum: of their moving average.
        nesterov: whether the average is taken one step ahead.
        steps: Newton-Schulz steps.
        adjust: ``match_rms_adamw`` multiplies the rate by 0.2·√max(out, in), so that a rate and decay of AdamW suit
            (Liu et al., 2025, arXiv 2502.16982); ``original`` by √max(1, out/in).
        weight_decay: decoupled, of what `decay` says.
        decay: ``matrices`` (and kernels), ``weights`` (these, and embeddings and head), ``all`` parameters.
        adamw_lr: of the other parameters; None is `lr`.
        betas: of AdamW.
        eps: of AdamW.
        depth_power: both rates are divided by `model.depth` to this power.
    """
    matrix_rate, other_rate = lr, lr if adamw_lr is None else adamw_lr

    def build(groups: Groups, factor: float) -> torch.optim.Optimizer:
        lr, rate = matrix_rate * factor, other_rate * factor
        without_compiler()
        matrices, others = _split(apply_decay(groups, decay))
        parts: list[torch.optim.Optimizer] = []
        if matrices:
            scaled = merge_groups([_matrix_rate(g, lr, adjust, weight_decay) for g in matrices], {"lr": lr})
            parts.append(
                torch.optim.Muon(
                    scaled, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov, ns_steps=steps,
                    adjust_lr_fn=adjust,
                )
            )  # fmt: skip
        if others:
            scaled = [
                apply_scale(g, "adaptive", lr=rate, eps=eps, weight_decay=weight_decay, decoupled=True) for g in others
            ]
            plain = merge_groups(scaled, {"lr": rate})
            fused = all(p.device.type in ("cpu", "cuda") for g in plain for p in _params(g))
            parts.append(
                torch.optim.AdamW(plain, lr=rate, betas=betas, eps=eps, weight_decay=weight_decay, fused=fused)
            )
        return Several(parts)

    return ByDepth(build, depth_power=depth_power)


class Several(torch.optim.Optimizer):
    """Optimisers of different parameters as one: their groups one after another, one state, one step.

    Args:
        parts: optimisers; no parameter is in two of them.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = list(parts)
        super().__init__([g for p in parts for g in p.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let the parts work on the groups and the state of the whole."""
        first = 0
        for part in self.parts:
            last = first + len(part.param_groups)
            part.param_groups = self.param_groups[first:last]
            part.state = self.state
            first = last

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every part."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As of every optimiser; the parts go on with what was loaded."""
        super().load_state_dict(state_dict)
        self._share()


# ------------------------------------------------------------------ pieces
def _matrix_rate(group: Mapping[str, object], lr: float, adjust: Adjust, weight_decay: float) -> dict[str, object]:
    """A group of hidden matrices with its rate.

    An orthogonal update has the spectral norm that μP wants whatever the width, so with ``original`` an initialiser's
    multiplier for Adam, 1/m, does not count; ``match_rms_adamw`` multiplies by a √D too many, and √(1/m) is left.
    """
    found = apply_scale({k: v for k, v in group.items() if k != "eps_scale"}, "adaptive", lr=lr)
    if "lr_scale" in group and isinstance(found["lr"], float):
        ratio = 1.0 if adjust == "original" else (found["lr"] / lr) ** 0.5
        found["lr"] = lr * ratio
        if "eps_scale" in group and ratio != 1 and "weight_decay" not in found:
            found["weight_decay"] = weight_decay / ratio  # as for AdamW: lr·decay is that of the base
    return found


def _split(groups: Groups) -> tuple[list[Mapping[str, object]], list[Mapping[str, object]]]:
    """The groups of hidden matrices, and those of the other parameters."""
    matrices: list[Mapping[str, object]] = []
    others: list[Mapping[str, object]] = []
    for group in groups:
        chosen = {id(p) for p in _params(group, "matrices")}
        for found, inside in ((matrices, True), (others, False)):
            mine = [p for p in _params(group) if (id(p) in chosen) == inside]
            if mine:
                found.append({**group, "params": mine})
    return matrices, others


def _params(group: Mapping[str, object], key: str = "params") -> list[Tensor]:
    return list(group.get(key, ()))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]
