"""Initialisers that let transformers be deep: small or zero ends of branches, and scales that follow from the depth."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.inits.composition import Scheme, resolve
from initlab.inits.laws import Bias, bias_rule, draw
from initlab.inits.transformers import by_part, needs_branches
from initlab.spec import InitContext, Initializer, Probability, Site


@factory
def zero_projection(*, base: Scheme = "gpt2", keep: tuple[str, ...] = ()) -> Initializer:
    """The last matrix of each residual branch is zero; everything else is the base's.

    Every block passes on its input at first, whatever the base: the loss begins at that of the embedding alone. As in
    nanochat (Karpathy, 2026) and in Yang et al., 2022, appendix D.2. The first update moves only those matrices, the
    head and the last norm. Refuses networks without residual branches. Cost: that of the base.

    Args:
        base: what draws all other parameters.
    """
    first = resolve(base, "init.base")

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        last = site.branch is not None and site.branch.is_last and site.role != "head"
        return torch.zeros(site.shape) if last else first.weight(site, generator, context)

    checks = tuple(c for c in (needs_branches("zero_projection"), first.check) if c is not None)

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        for each in checks:
            each(sites, context)

    return replace(first, name="zero_projection", weight=weight, check=check, keep=(*first.keep, *keep))


@factory
def t_fixup(
    *, part: Literal["encoder", "decoder"] = "encoder", bias: Bias = 0.0, keep: tuple[str, ...] = ()
) -> Initializer:
    """Xavier's scale, and values and ends of branches times 0.67 N^{-1/4}: trains without norms and warm-up.

    Huang, Perez, Ba & Volkovs, ICML 2020, for N blocks. Queries and keys have the gain 1/√2 of the authors' code, the
    values gain 1; both matrices of a perceptron are scaled. Embeddings N(0, 1/D), scaled by (9N)^{-1/4}.

    Args:
        part: ``encoder`` for blocks of two branches, also of a decoder alone; ``decoder`` uses (9N)^{-1/4} throughout,
            for blocks with cross attention.

    Refuses networks without residual branches. Cost: no data pass.
    """

    def factor(site: Site) -> float:
        blocks = 1.0 if site.branch is None else max(1.0, site.branch.count / 2)
        return 0.67 * blocks**-0.25 if part == "encoder" else (9 * blocks) ** -0.25

    def scale(letter: str, site: Site) -> float:
        std = math.sqrt(2.0 / (site.fan_in + site.fan_out))
        if letter in ("q", "k"):
            return std / math.sqrt(2.0)
        return std if site.branch is None else std * factor(site)

    def table(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        blocks = max((s.branch.count / 2 for s in context.sites if s.branch is not None), default=1.0)
        return draw(site.shape, site.shape[-1] ** -0.5 * (9 * blocks) ** -0.25, "normal", generator)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if site.role == "head" and site.tied:
            return table(site, generator, context)
        return by_part(scale, law="uniform")(site, generator, context)

    return Initializer(
        name="t_fixup", weight=weight, bias=bias_rule(bias), embedding=table, position=table, keep=keep,
        check=needs_branches("t_fixup"),
    )  # fmt: skip


@factory
def deepscalelm(
    *, similarity: Probability = 0.221, dropout: Probability = 0.0, bias: Bias = 0.0, keep: tuple[str, ...] = ()
) -> Initializer:
    """Scales that keep the stream of a pre-norm transformer at mean square 1 over any depth.

    Kedia et al., ICML 2024. For x ← λx + βf with λ² + β² = 1 (model.branch_scale=convex): queries and keys 1/√D; values
    and attention's end 1/√D·((1-p)/r_l)^{1/4}, with r_l the similarity of the tokens that reach the layer; both
    matrices of a perceptron 1/√D·((1-p)/2)^{1/4}; the head 1/√D, embeddings and positions √((1-p)/3). r_l follows from
    r_0 by their recursion for uniform attention and ReLU.

    Args:
        similarity: r_0, correlation of two tokens behind the embedding.
        dropout: p, share that the network drops.

    Refuses networks without residual branches. Cost: no data pass.
    """

    def scale(letter: str, site: Site) -> float:
        if site.branch is None or letter in ("q", "k"):
            return site.fan_in**-0.5
        kept = 1.0 - dropout
        if letter == "v" or (site.branch.is_last and site.branch.index % 2 == 0):
            similar = similarities(site.branch.count, start=similarity, dropout=dropout)[site.branch.index]
            return site.fan_in**-0.5 * (kept / similar) ** 0.25
        width = site.fan_out if site.branch.is_last else site.fan_in
        return width**-0.5 * (kept / 2.0) ** 0.25

    def table(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return draw(site.shape, math.sqrt((1.0 - dropout) / 3.0), "normal", generator)

    return Initializer(
        name="deepscalelm", weight=by_part(scale), bias=bias_rule(bias), embedding=table, position=table, keep=keep,
        check=needs_branches("deepscalelm"),
    )  # fmt: skip


def similarities(branches: int, *, start: float, dropout: float) -> list[float]:
    """Correlation of two tokens before each of `branches` branches, and behind the last.

    Kedia et al., 2024: attention gives 1 - p, a ReLU perceptron (1 - p)(r + (√(1 - r²) - r·arccos r)/π); the stream
    keeps λ² = 1 - 2/branches of what it was.
    """
    r, found = start, [start]
    share = 2.0 / branches
    for index in range(branches):
        attends = index % 2 == 0
        out = 1.0 if attends else r + (math.sqrt(max(0.0, 1 - r * r)) - r * math.acos(min(1.0, r))) / math.pi
        r = (1 - share) * r + share * (1.0 - dropout) * out
        found.append(r)
    return found
