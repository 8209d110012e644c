"""Maximal update parametrisation: μP over the width, depth-μP and CompleteP over the depth too."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.composition import Scheme, resolve
from initlab.inits.laws import Bias, Distribution, draw
from initlab.inits.scaled import Gain, he
from initlab.inits.transformers import attention_part
from initlab.inits.width import Ratios, scaled_to_width, width_aware
from initlab.spec import Draw, InitContext, Initializer, PositiveFloat, PositiveInt, Site

Head = Literal["scaled", "small", "zero"]


@factory
def mup(
    *,
    base_width: PositiveInt = 64,
    base: Scheme | None = None,
    head: Head = "scaled",
    zero_query: bool = False,
    embedding_std: PositiveFloat | Literal["auto"] = "auto",
    gain: Gain = "auto",
    distribution: Distribution = "normal",
    bias: Bias = 0.0,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """Maximal update parametrisation: the best learning rate of a narrow network is that of a wide one.

    Yang & Hu, ICML 2021, and Yang et al., Tensor Programs V, 2022, tables 3 and 8. With m = width/base_width, and σ
    the deviation that the base scheme has at the base width:

        |           | embeddings, first layer, biases, norms | hidden | head | head that the network multiplies by 1/m |
        |-----------|----------------------------------------|--------|------|-----------------------------------------|
        | deviation | σ                                      | σ/√m   | σ/m  | σ                                       |
        | lr, Adam  | 1                                      | 1/m    | 1/m  | 1                                       |
        | lr, SGD   | m                                      | 1      | 1/m  | m                                       |
        | AdamW's λ | 1                                      | m      | m    | 1                                       |
        | Adam's ε  | 1/m                                    | 1/m    | 1    | 1/m                                     |

    At the base width everything is as with the base scheme: tune the learning rate there. A matrix that is embedding
    and head in one counts as embedding, and the network must multiply its logits by 1/m (model.output_scale=mup); where
    it does not, a note says so. Attention must divide by d and not √d where heads become wider
    (model.attention_scale=mup). Multipliers of the optimiser come with `lr_scale`.

    Args:
        base_width: width at which the learning rate was tuned: features of a token, units of a recurrent state, units
            or channels of the first layer.
        base: scheme whose scales are those of the base width; None is the fan-in law of `gain` and `distribution`.
        head: ``scaled`` as in the table; ``small`` has 1/√fan_in at the base width besides, so that the logits of a
            narrow network are small too; ``zero``, which begins at the loss of guessing at every width.
        zero_query: queries are zero: attention starts uniform at every width.
        embedding_std: of embeddings and position tables; ``auto`` is the base's.
        gain: g of the fan-in law.
        distribution: its law.
        bias: constant for biases, or ``torch``; a given `base` has its own.

    Cost: a forward pass that measures the multiplier of the output.
    """
    inner = he(gain=gain, distribution=distribution, bias=bias) if base is None else _base(base)

    def built(ratios: Ratios) -> Initializer:
        return _scheme("mup", inner, ratios, head=head, zero_query=zero_query, std=embedding_std, keep=keep)

    return width_aware(built, base_width=base_width)


@factory
def completep(
    *,
    base_width: PositiveInt = 64,
    base_depth: PositiveInt = 4,
    alpha: PositiveFloat = 1.0,
    base: Scheme | None = None,
    head: Head = "scaled",
    zero_query: bool = False,
    embedding_std: PositiveFloat | Literal["auto"] = "auto",
    gain: Gain = "auto",
    distribution: Distribution = "normal",
    bias: Bias = 0.0,
    keep: tuple[str, ...] = (),
) -> Initializer:
    """μP over width and depth: the best learning rate of a shallow, narrow network is that of a deep, wide one.

    CompleteP, Dey et al., 2025 (arXiv 2505.01618), is α = 1; depth-μP, Yang et al., 2023 (arXiv 2310.02244), α = ½.
    Besides `mup`, with m_L = blocks/base_depth: the network multiplies its branches by m_L^-α, which
    model.branch_scale=completep (or depth_mup) does; Adam's rate in the blocks is multiplied by m_L^(α-1), its ε by
    m_L^-α; weights have no factor for the depth.

    Args:
        base_width, base, head, zero_query, embedding_std, gain, distribution, bias: as in `mup`. A `base` with a factor
            for the depth of its own, such as gpt2's 1/√(2L), has it besides: take llama.
        base_depth: blocks at which the learning rate was tuned; a block of a transformer has two branches.
        alpha: exponent of the branches' multiplier.

    Refuses networks of this project whose branches have another multiplier, and networks without branches. For others
    a note says what to multiply. Cost: that of `mup`.
    """
    if not 0.5 <= alpha <= 1:
        raise ConfigError("init.alpha", alpha, "must be between 0.5 (depth-μP) and 1 (CompleteP)")
    inner = he(gain=gain, distribution=distribution, bias=bias) if base is None else _base(base)

    def built(ratios: Ratios) -> Initializer:
        return _scheme("completep", inner, ratios, head=head, zero_query=zero_query, std=embedding_std, keep=keep)

    return width_aware(built, base_width=base_width, base_depth=base_depth, alpha=alpha)


# ------------------------------------------------------------------ what they share
def _base(scheme: Scheme) -> Initializer:
    """The scheme of the base width, one that only draws values: steps after that know nothing of the width."""
    found = resolve(scheme, "init.base")
    if found.adapt or found.plan is not None or found.lr_scale is not None:
        raise ConfigError(
            "init.base", found.name, "must be a scheme that only draws values, such as he, lecun, xavier, normal, "
            "gpt2, llama, bert, torch_default",
        )  # fmt: skip
    return found


def _scheme(
    name: str,
    base: Initializer,
    ratios: Ratios,
    *,
    head: Head,
    zero_query: bool,
    std: float | Literal["auto"],
    keep: tuple[str, ...],
) -> Initializer:
    def zero(site: Site) -> bool:
        if zero_query and attention_part(site) == "q":
            return True
        return head == "zero" and site.role == "head" and not site.tied

    scaled = scaled_to_width(ratios, lambda _site: base.weight, zero)

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if site.tied and std != "auto":
            return draw(site.shape, std, "normal", generator)
        values = scaled(site, generator, context)
        if head == "small" and ratios.growth(site) == "output":
            return values / math.sqrt(ratios.at_base(site).fan_in)
        return values

    def table(rule: Draw) -> Draw:
        def values(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
            if std != "auto":
                return draw(site.shape, std, "normal", generator)
            return rule(ratios.at_base(site), generator, context)

        return values

    position = base.position or (None if std == "auto" else base.embedding)
    return Initializer(
        name=name,
        weight=weight,
        bias=base.bias,
        embedding=table(base.embedding),
        position=None if position is None else table(position),
        norm=base.norm,
        scale=base.scale,
        check=base.check,
        keep=(*base.keep, *keep),
        lr_scale=ratios.scale,
    )
