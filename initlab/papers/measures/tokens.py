"""How alike the tokens of a transformer are behind its blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from initlab.errors import ConfigError
from initlab.papers.measures.hidden import settings_of
from initlab.run.prepare import Prepared
from initlab.spec import Experiment


def token_residual(prepared: Prepared, experiment: Experiment, given: Mapping[str, Any]) -> Mapping[str, float]:
    """Distance of the tokens from their mean behind each block, relative to their size; parts can be left out.

    Dong, Cordonnier & Loukas, ICML 2021: attention alone makes tokens equal doubly exponentially in the depth; skip
    connections prevent it, perceptrons slow it down.
    Settings: ``skip`` true (residual connections), ``mlp`` true (perceptrons), ``examples`` 8.

    Returns:
        ``first`` and ``last``, |X - 1x̄ᵀ|/|X| behind the first and the last block (Frobenius norms), and
        ``log10_ratio``, the decades between them.

    Raises:
        ConfigError: a network without attention, or whose norms and branches are not those of model.norm_at=pre.
    """
    o = settings_of("token_residual", given, {"skip": True, "mlp": True, "examples": 8})
    model = prepared.model.eval()
    blocks = _blocks(model)
    for key, plain in (("model.norm_at", "pre"), ("model.branch_scale", "one")):
        if experiment.params.get(key, plain) != plain:
            raise ConfigError(key, experiment.params[key], f"token_residual takes {key}={plain}")
    stream: list[Tensor] = []
    hook = blocks[0].register_forward_pre_hook(lambda _m, args: stream.append(args[0]))
    x = prepared.splits.prepare(prepared.splits.train.x[: o["examples"]])
    with torch.no_grad():
        model(x)
        hook.remove()
        tokens = stream[0].double()
        model.double()
        found: list[float] = []
        for block in blocks:
            for norm, inner in _branches(block, mlp=o["mlp"]):
                y = inner(norm(tokens))
                tokens = tokens + y if o["skip"] else y
            found.append(_residual(tokens))
        model.float()
    return {
        "first": found[0],
        "last": found[-1],
        "log10_ratio": math.log10(max(found[-1], 1e-300)) - math.log10(max(found[0], 1e-300)),
    }


def _residual(tokens: Tensor) -> float:
    size = tokens.square().sum((1, 2)).sqrt()
    apart = (tokens - tokens.mean(1, keepdim=True)).square().sum((1, 2)).sqrt()
    return float((apart / size.clamp_min(1e-300)).mean())


def _blocks(model: nn.Module) -> list[nn.Module]:
    for m in model.modules():
        if isinstance(m, nn.ModuleList) and len(m) and all(hasattr(b, "attn") and hasattr(b, "mlp") for b in m):
            return list(m)
    raise ConfigError("model", type(model).__name__, "has no attention: this measurement takes model=gpt or model=vit")


def _branches(block: Any, *, mlp: bool) -> list[tuple[nn.Module, nn.Module]]:
    """(norm, inside) of the block's branches."""
    norms = [m for n, m in block.named_children() if n.startswith(("ln", "norm"))]
    return [(norms[0], block.attn), *([(norms[1], block.mlp)] if mlp else [])]
