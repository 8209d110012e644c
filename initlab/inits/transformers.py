"""Initialisers of well-known transformers: the scale of each matrix by its role in attention and perceptron.

A role comes from the wiring and never from a name: queries, keys and values from what attention does with them, the end
of a residual branch from the sum that it feeds, the head and the tables from how they are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.laws import Bias, Distribution, bias_rule, draw, unit_normal
from initlab.spec import Draw, InitContext, Initializer, PositiveFloat, Site

Parts = Callable[[str, Site], float]


@factory
def llama(*, std: PositiveFloat = 0.02, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """N(0, 0.02²) for all linear layers and embeddings, without a factor for the depth.

    The `initializer_range` of Llama, Mistral and Qwen in Hugging Face's transformers. Unlike `gpt2` it lets the signal
    grow with the number of blocks. Refuses nothing. Cost: no data pass.

    Args:
        std: of every matrix and table.
    """
    rule = _fixed(std)
    return Initializer(name="llama", weight=rule, bias=bias_rule(bias), embedding=rule, position=rule, keep=keep)


@factory
def bert(*, std: PositiveFloat = 0.02, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """Normal of scale 0.02 cut at ±0.04, for all linear layers and tables: what is left has the deviation 0.0176.

    Devlin et al., NAACL 2019. The cut values are not scaled up again. Refuses nothing. Cost: no data pass.

    Args:
        std: of the normal before it is cut at two of them.
    """

    def rule(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return cut_normal(site.shape, std, 2 * std, generator)

    return Initializer(name="bert", weight=rule, bias=bias_rule(bias), embedding=rule, position=rule, keep=keep)


@factory
def torchtitan(*, std: PositiveFloat = 0.02, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """N(0, 0.02²) in the blocks; the ends of both branches of block i, and what a gate multiplies, times 1/√(2(i+1)).

    The scheme of torchtitan's Llama 3, `param_init.depth_scaled_std`, i from 0. Embeddings N(0, 1), the head N(0, 1/D)
    cut at three deviations. A tied matrix would get logits of deviation √D from N(0, 1): it is drawn as the head.
    Refuses networks without residual branches. Cost: no data pass.

    Args:
        std: of the matrices of the blocks.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        if site.role == "head":
            return cut_normal(site.shape, site.fan_in**-0.5, 3 * site.fan_in**-0.5, generator)
        shrinks = site.branch is not None and (site.branch.is_last or site.gated)
        block = site.branch.index // 2 if site.branch is not None else 0
        return draw(site.shape, std / math.sqrt(2 * (block + 1)) if shrinks else std, "normal", generator)

    return Initializer(
        name="torchtitan", weight=weight, bias=bias_rule(bias), embedding=unit_normal, position=unit_normal, keep=keep,
        check=needs_branches("torchtitan"),
    )  # fmt: skip


@factory
def nanochat(*, head: PositiveFloat = 0.001, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """Uniform of deviation 1/√D for queries, keys and values, 0.4 of it in the perceptron; the ends of branches zero.

    Karpathy, nanochat, 2026, `GPT.init_weights`. Embeddings N(0, 0.8²), the head N(0, 0.001²): every block passes on
    its input, and the loss begins at log V. Meant for an untied head, norms without weights and normed queries and
    keys (model.tied=false model.norm=rms model.qk_norm=true model.positions=rope activation=squared_relu); a tied
    matrix is drawn as the head. Refuses networks without residual branches. Cost: no data pass.

    Args:
        head: deviation of the head.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        if site.role == "head":
            return draw(site.shape, head, "normal", generator)
        if site.branch is not None and site.branch.is_last:
            return torch.zeros(site.shape)
        share = 1.0 if attention_part(site) else 0.4
        return draw(site.shape, share * site.fan_in**-0.5, "uniform", generator)

    def table(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return draw(site.shape, 0.8, "normal", generator)

    return Initializer(
        name="nanochat", weight=weight, bias=bias_rule(bias), embedding=table, keep=keep,
        check=needs_branches("nanochat"),
    )  # fmt: skip


@factory
def t5(*, head_width: PositiveFloat = 1.0, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """Keys and values of deviation 1/√D, queries 1/√(D·d), the other matrices 1/√fan_in, embeddings N(0, 1).

    Raffel et al., JMLR 2020, for attention that does not divide its logits by √d: the queries' scale does it. Where
    the attention does divide, as torch's does, leave `head_width` at 1: queries are then drawn as the keys.

    Args:
        head_width: d, features of a head, where the attention leaves out the division (model.attention_scale=1).

    A tied matrix has deviation 1/√D, which is T5's N(0, 1) with its logits times 1/√D. Refuses nothing. Cost: no data
    pass.
    """

    def scale(part: str, site: Site) -> float:
        return (site.fan_in * head_width) ** -0.5 if part == "q" else site.fan_in**-0.5

    return Initializer(
        name="t5", weight=by_part(scale), bias=bias_rule(bias), embedding=unit_normal, keep=keep,
    )  # fmt: skip


# ------------------------------------------------------------------ roles and laws
def needs_branches(name: str) -> Callable[[tuple[Site, ...], InitContext], None]:
    """A check that refuses networks without residual branches."""

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        del context
        if not any(s.branch is not None for s in sites):
            raise ConfigError("init", name, "needs residual branches; this network has none (model=gpt, vit have)")

    return check


def attention_part(site: Site) -> str:
    """``q``, ``k`` or ``v`` of a weight that makes queries, keys or values, else empty.

    Stacked ones are drawn part by part: each has a site of its own with one gate.
    """
    if len(site.gates) == 1 and site.gates[0].name in ("q", "k", "v"):
        return site.gates[0].name
    end = site.name.rpartition(".")[2]
    return end[0] if end in ("q_proj_weight", "k_proj_weight", "v_proj_weight") else ""


def by_part(std: Parts, *, law: Distribution = "normal") -> Draw:
    """A rule with the deviation ``std(part, site)``; `part` is that of `attention_part`."""

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return draw(site.shape, std(attention_part(site), site), law, generator)

    return weight


def cut_normal(shape: tuple[int, ...], std: float, bound: float, generator: torch.Generator) -> Tensor:
    """N(0, std²) cut at ±`bound`, not scaled up again."""
    return torch.nn.init.trunc_normal_(torch.empty(shape), 0.0, std, -bound, bound, generator=generator)


def _fixed(std: float) -> Draw:
    def rule(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del context
        return draw(site.shape, std, "normal", generator)

    return rule
