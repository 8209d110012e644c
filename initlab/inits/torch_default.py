"""torch.nn's own initialisation, as the `reset_parameters` of its modules draw it."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.inits.laws import Bias, bias_rule, draw, torch_bound, unit_normal
from initlab.spec import InitContext, Initializer, Site


@factory
def torch_default(*, bias: Bias = "torch", keep: tuple[str, ...] = ()) -> Initializer:
    """What torch.nn's layers do when constructed: W, b ~ U(±1/√fan_in), Var(W) = 1/(3 fan_in); embeddings N(0, 1).

    It is `kaiming_uniform_(a=√5)`, and not He's initialisation: a deep ReLU network loses 5/6 of its signal's mean
    square in every layer. Fans are counted from the tensor's shape, as torch counts them. Where a module has another
    rule, so has this:

    - recurrent layers and cells: U(±1/√N) for all parameters, N the units of the state, also with projections;
    - bilinear layers: U(±1/√N) for N first inputs, although a unit sums over both;
    - attention: Xavier-uniform over the stacked shape (3d, d), or over each projection's own where keys or values have
      another width; zero biases; the rows that `add_bias_kv` appends to keys and values N(0, 1/d);
    - nn.Transformer: Xavier-uniform for every matrix within it.

    A matrix that an embedding and a linear layer share counts as the linear layer's.

    Args:
        bias: constant for biases, or ``torch``. Those of attention are zero in any case.
        keep: name patterns of parameters that keep their module's own value.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        bound = torch_bound(site, context.sites)
        if site.kind == "attention":
            # torch scales by the stacked shape (3d, d); a gate's block is (d, d)
            bound = math.sqrt(6.0 / (site.shape[1] + site.shape[0] * (3 if site.gates else 1)))
        return _uniform(site, bound, generator)

    def biases(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if site.kind == "attention" and site.name.endswith(("bias_k", "bias_v")):
            return draw(site.shape, site.shape[-1] ** -0.5, "normal", generator)
        if site.kind == "attention" or _ends_attention(site, context):
            return torch.zeros(site.shape)
        return bias_rule(bias)(site, generator, context)

    rules = Initializer(name="torch_default", weight=weight, bias=biases, embedding=unit_normal, keep=keep)

    def plan(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[Initializer, tuple[str, ...]]:
        del sites, context
        inside = bounds_in_transformers(model)
        return (_xavier_inside(rules, inside) if inside else rules), ()

    return replace(rules, plan=plan)


def _uniform(site: Site, bound: float, generator: torch.Generator) -> Tensor:
    return torch.empty(site.shape).uniform_(-bound, bound, generator=generator)


def _ends_attention(site: Site, context: InitContext) -> bool:
    """Whether a parameter is of the output projection within an nn.MultiheadAttention."""
    owner = site.layer.rpartition(".")[0]
    return site.layer.endswith("out_proj") and any(s.kind == "attention" and s.layer == owner for s in context.sites)


def bounds_in_transformers(model: nn.Module) -> dict[str, float]:
    """Parameter name → Xavier's bound, of every tensor that nn.Transformer draws once more, after its layers."""
    found: dict[str, float] = {}
    for prefix, module in model.named_modules():
        if isinstance(module, nn.Transformer):
            for name, p in module.named_parameters(prefix=prefix):
                if p.dim() > 1:
                    found[name] = math.sqrt(6.0 / ((p.shape[0] + p.shape[1]) * math.prod(p.shape[2:])))
    return found


def _xavier_inside(rules: Initializer, bounds: dict[str, float]) -> Initializer:
    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if site.name in bounds:
            return _uniform(site, bounds[site.name], generator)
        return rules.weight(site, generator, context)

    return replace(rules, weight=weight)
