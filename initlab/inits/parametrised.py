"""Weights that are computed from parameters: weight norm, spectral norm and other reparametrisations.

What an initialiser draws is the weight that the network uses; the parameters behind it are found by the inverse of the
reparametrisation.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from initlab.errors import InitlabError
from initlab.spec import Site


def parameter_values(model: nn.Module, site: Site, values: Tensor, rule: str) -> dict[str, Tensor]:
    """Name → values of the parameters that make `values` the weight of `site`; of a plain parameter, itself."""
    if not site.effective:
        return {site.name: values}
    module = model.get_submodule(site.layer) if site.layer else model
    attribute = site.effective.rpartition(".")[2]
    prefix = f"{site.layer}." if site.layer else ""
    held = getattr(module, "parametrizations", {})
    if attribute in held:
        return {
            f"{prefix}parametrizations.{attribute}.{n}": v for n, v in _inverse(held[attribute], values, site).items()
        }
    length = getattr(module, f"{attribute}_g", None)
    if isinstance(length, nn.Parameter):
        kept = [d for d, n in enumerate(length.shape) if n > 1] if length.dim() else []
        others = [d for d in range(values.dim()) if d not in kept]
        norm = values.float().norm(dim=others, keepdim=True) if others else values.abs()
        return {site.name: values, f"{prefix}{attribute}_g": norm.reshape(length.shape)}
    del rule
    return {site.name: values}


def _inverse(held: ParametrizationList, values: Tensor, site: Site) -> dict[str, Tensor]:
    """The original parameters of a parametrisation, by the right inverses in reverse order."""
    like = next(held.parameters())
    found: object = values.to(like)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for step in reversed(list(held)):  # pyright: ignore[reportArgumentType]
                inverse = getattr(step, "right_inverse", None)
                if inverse is None:
                    raise NotImplementedError(f"{type(step).__name__} has no right_inverse")
                found = inverse(*found) if isinstance(found, tuple) else inverse(found)
    except (NotImplementedError, ValueError, RuntimeError) as error:
        raise InitlabError(
            f"{site.effective} is computed by {', '.join(type(p).__name__ for p in held)}, which cannot be inverted "
            f"({str(error).splitlines()[0]}); keep=('{site.name}',) leaves it as it is"
        ) from error
    originals = list(found) if isinstance(found, (tuple, list)) else [found]
    names = ["original"] if len(originals) == 1 else [f"original{i}" for i in range(len(originals))]
    return {n: v for n, v in zip(names, originals, strict=True) if isinstance(v, Tensor)}


def refresh(model: nn.Module) -> None:
    """Computes again the weights that a forward pre-hook of torch's old weight norm leaves in its module."""
    from torch.nn.utils.weight_norm import WeightNorm

    for module in model.modules():
        for hook in module._forward_pre_hooks.values():  # pyright: ignore[reportPrivateUsage]
            if isinstance(hook, WeightNorm):
                setattr(module, hook.name, hook.compute_weight(module))
