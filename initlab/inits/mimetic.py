"""Mimetic initialisation: attention weights that resemble trained ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from initlab.core import seeds
from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.composition import Scheme, resolve
from initlab.inits.layout import to_parameter
from initlab.inits.streaming import combine_checks, exclude_kept
from initlab.network.attention_weights import attention_weights, heads_of
from initlab.spec import InitContext, Initializer, NonNegativeFloat, Site


@factory
def mimetic(
    *,
    base: Scheme = "xavier",
    query_key: tuple[NonNegativeFloat, NonNegativeFloat] = (0.7, 0.7),
    value_output: tuple[NonNegativeFloat, NonNegativeFloat] = (0.4, 0.4),
    keep: tuple[str, ...] = (),
) -> Initializer:
    """W_Q W_Kᵀ ≈ 0.7 Z + 0.7 I in each head, and W_V W_O ≈ 0.4 Z - 0.4 I, with Z ~ N(0, 1/d).

    Trockman & Kolter, ICML 2023. Each product is drawn whole and taken apart by its singular values,
    UΣVᵀ = (UΣ^{1/2})(VΣ^{1/2})ᵀ; of W_Q W_Kᵀ the largest d/heads are kept, which is all that a head can hold. A token
    so attends to its like, as in trained vision transformers; the gain is on small data sets.

    Args:
        base: what draws everything that is not attention.
        query_key: the factors of Z and of I in W_Q W_Kᵀ.
        value_output: the factors of Z and of -I in W_V W_O.

    Applies to nn.MultiheadAttention and to attention of one's own: queries, keys and values stacked in one weight, or
    apart under their usual names; the number of heads is seen in a forward pass. Refuses networks without attention,
    and keys or values of another width than the queries. Cost: one forward pass, one SVD (d, d) a head.
    """
    first = resolve(base, "init.base")

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        if not any(s.kind == "attention" for s in sites) and not attention_weights(sites):
            raise ConfigError("init", "mimetic", "needs attention; this network has none that is recognised")
        if _example(context) is None and attention_weights(sites):
            raise ConfigError("init", "mimetic", "needs an example of the inputs, to see how many heads there are")
        odd = next((s.name for s in sites if s.name.endswith(("q_proj_weight", "k_proj_weight"))), None)
        if odd is not None:
            raise ConfigError("init", "mimetic", f"needs queries, keys and values of one width, unlike {odd}")

    def step(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[str, ...]:
        shown = {s.name for s in sites}
        notes: list[str] = []
        for name, module in model.named_modules():
            if not isinstance(module, nn.MultiheadAttention):
                continue
            prefix = f"{name}." if name else ""
            generator = seeds.generator(context.seed, "init", name, "mimetic")
            q, k = _query_key(module.embed_dim, module.num_heads, query_key, generator)
            v, out = _halves(_near_identity(module.embed_dim, value_output[0], -value_output[1], generator))
            with torch.no_grad():
                if f"{prefix}in_proj_weight" in shown:
                    module.in_proj_weight.copy_(torch.cat([q, k, v.T]))
                if f"{prefix}out_proj.weight" in shown:
                    module.out_proj.weight.copy_(out)
            notes.append(f"mimetic: {name or 'attention'} has near-identity products in {module.num_heads} heads")
        return (*notes, *_own_attention(model, sites, context, query_key, value_output))

    keep = (*first.keep, *keep)
    return replace(
        first,
        name="mimetic",
        keep=keep,
        adapt=(*first.adapt, exclude_kept(step, keep)),
        check=combine_checks(check, first.check),
    )


def _own_attention(
    model: nn.Module,
    sites: tuple[Site, ...],
    context: InitContext,
    query_key: tuple[float, float],
    value_output: tuple[float, float],
) -> tuple[str, ...]:
    """Write the weights of attention that is no module of torch's."""
    found = attention_weights(sites)
    if not found:
        return ()
    heads = heads_of(model, found, _example(context))
    notes: list[str] = []
    for each in found:
        d, count = each.width, heads[each.name]
        generator = seeds.generator(context.seed, "init", each.name, "mimetic")
        q, k = _query_key(d, count, query_key, generator)
        v, out = _halves(_near_identity(d, value_output[0], -value_output[1], generator))
        targets = [*each.apart] if each.stacked is None else [each.stacked]
        drawn = [q, k, v.T] if each.stacked is None else [torch.cat([q, k, v.T])]
        if each.output is not None:
            targets, drawn = [*targets, each.output], [*drawn, out]
        for site, values in zip(targets, drawn, strict=True):
            _write(model, site, values)
        without = "" if each.output is not None else "; its output was not found and is the base's"
        notes.append(f"mimetic: {each.name or 'attention'} has near-identity products in {count} heads{without}")
    return tuple(notes)


def _example(context: InitContext) -> Any:
    if context.example is not None or context.batches is None:
        return context.example
    return context.batches(0).inputs


def _write(model: nn.Module, site: Site, values: Tensor) -> None:
    if site.effective:
        raise ConfigError("init", "mimetic", f"cannot write {site.name}, which is computed from other parameters")
    with torch.no_grad():
        model.get_parameter(site.name).copy_(to_parameter(site, values[None]))


def _near_identity(d: int, noise: float, diagonal: float, generator: torch.Generator) -> Tensor:
    z = torch.empty(d, d, dtype=torch.float64).normal_(0.0, d**-0.5, generator=generator)
    return noise * z + diagonal * torch.eye(d, dtype=torch.float64)


def _halves(product: Tensor, rank: int | None = None) -> tuple[Tensor, Tensor]:
    """(A, B), each with at most `rank` columns, so that A·Bᵀ is nearest to `product`; float32, as all draws are."""
    u, s, vh = torch.linalg.svd(product)
    root = s[:rank].sqrt()
    return (u[:, :rank] * root).to(torch.float32), (vh[:rank].T * root).to(torch.float32)


def _query_key(d: int, heads: int, factors: tuple[float, float], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows of the stacked weight for queries and for keys, for each head.

    torch stores the transposed W_Q: a token x (a row) has the query x·W_Q = x·weightᵀ.
    """
    pairs = [_halves(_near_identity(d, *factors, generator), d // heads) for _ in range(heads)]
    return torch.cat([q.T for q, _ in pairs]), torch.cat([k.T for _, k in pairs])
