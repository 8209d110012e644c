"""How parameters grow with a network's width and depth, and what follows for weights and optimiser under μP.

A network has one ratio m of its width to the width at which its learning rate was tuned. The width of a transformer is
that of a token, of a recurrent network that of its state, of others the units or channels of the first layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from initlab.inits.layout import layout
from initlab.inits.width_notes import missing_multipliers, output_multiplier
from initlab.network.sites import weights
from initlab.spec import Draw, InitContext, Initializer, Site, StepKind, StepScale

#: how a parameter's shape grows with the width: of its outputs alone, of inputs and outputs, of its inputs alone, not
Growth = Literal["input", "hidden", "output", "fixed"]


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """A network beside the one at which its learning rate was tuned.

    Attributes:
        width: m, times as wide.
        depth: m_L, times as many blocks.
        growth: of each parameter's shape.
        multiplied: whether the network multiplies its output by 1/m.
        alpha: exponent of m_L in the multiplier of the branches, 1/m_L^α; None where the depth is not accounted for.
    """

    width: float = 1.0
    depth: float = 1.0
    growth: Callable[[Site], Growth] = lambda _site: "hidden"
    multiplied: bool = False
    alpha: float | None = None

    def lr(self, site: Site, kind: StepKind) -> float:
        """Multiplier of the learning rate: Tensor Programs V, tables 3 (no multiplier of the output) and 8 (one)."""
        grows, m = self.growth(site), self.width
        if grows == "fixed":
            return 1.0
        if grows == "input":
            # a table that is the head too gets gradients through a multiplier of 1/m
            rate = 1.0 if kind == "adaptive" else m
        elif grows == "output":
            rate = (1.0 if kind == "adaptive" else m) if self.multiplied else 1 / m
        else:
            rate = 1.0 if kind == "sgd" else 1 / m
        deeper = self.alpha is not None and kind == "adaptive" and site.branch is not None
        return rate * self.depth ** (self.alpha - 1) if deeper and self.alpha is not None else rate

    def eps(self, site: Site) -> float:
        """Multiplier of Adam's ε: that of the gradient of a single weight."""
        grows = self.growth(site)
        if grows == "fixed" or (grows == "output" and not self.multiplied):
            return 1.0
        deeper = self.alpha is not None and site.branch is not None
        return 1 / self.width * (self.depth**-self.alpha if deeper and self.alpha is not None else 1.0)

    @property
    def scale(self) -> StepScale:
        """The multipliers of the optimiser's settings."""
        return StepScale(lr=self.lr, eps=self.eps)

    def at_base(self, site: Site) -> Site:
        """The site with the fans that it has at the base width."""
        grows = self.growth(site)
        ins = self.width if grows in ("hidden", "output") else 1.0
        outs = self.width if grows in ("hidden", "input") else 1.0
        if site.tied:  # its fans are those of a head
            ins, outs = self.width, 1.0
        return replace(site, fan_in=site.fan_in / ins, fan_out=site.fan_out / outs)


def width_aware(
    built: Callable[[Ratios], Initializer], *, base_width: int, base_depth: int | None = None,
    alpha: float | None = None,
) -> Initializer:  # fmt: skip
    """An initialiser whose rules are built after the network was seen: its width, its depth, its multipliers.

    Args:
        built: ratios → rules.
        base_width: width at which the learning rate was tuned.
        base_depth: blocks at which it was; None where the depth is not accounted for.
        alpha: as in `Ratios`.
    """

    def plan(model: nn.Module, sites: tuple[Site, ...], context: InitContext) -> tuple[Initializer, tuple[str, ...]]:
        m = network_width(sites) / base_width
        found = output_multiplier(model, sites, context)
        multiplied = m != 1 and found is not None and abs(found * m - 1) < 1e-3
        depth = 1.0 if base_depth is None else max(1, blocks(sites)) / base_depth
        ratios = Ratios(width=m, depth=depth, growth=growth_of(sites), multiplied=multiplied, alpha=alpha)
        made = built(ratios)
        notes = missing_multipliers(
            model, sites, name=made.name, width=m, base_width=base_width, output=found, depth=depth, alpha=alpha
        )
        return made, notes

    return replace(built(Ratios()), plan=plan)


def scaled_to_width(ratios: Ratios, rule: Callable[[Site], Draw], zero: Callable[[Site], bool]) -> Draw:
    """The draw of a scheme at the base width, times 1/√m for hidden matrices and 1/m for a head without multiplier.

    Args:
        ratios: of the network.
        rule: the scheme's draw for a site.
        zero: the sites that are zero instead.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if zero(site):
            return torch.zeros(site.shape)
        values = rule(site)(ratios.at_base(site), generator, context)
        grows = ratios.growth(site)
        if grows == "hidden":
            return values / math.sqrt(ratios.width)
        return values / ratios.width if grows == "output" and not ratios.multiplied else values

    return weight


def network_width(sites: tuple[Site, ...]) -> float:
    """Features of a token, units of a recurrent state, or units or channels of the first layer."""
    states = [s.fan_in for s in sites if s.role == "recurrent"]
    if states:
        return float(max(states))
    tables = [s for s in sites if s.role == "embedding" or s.tied]
    if tables:
        first = min(tables, key=lambda s: s.order)
        return float(first.shape[-1])
    matrices = [s for s in weights(sites) if s.role == "weight"]
    return _units(min(matrices, key=lambda s: s.order)) if matrices else 1.0


def blocks(sites: tuple[Site, ...]) -> int:
    """Blocks of the network: of a transformer two residual branches each, of others one."""
    count = max((s.branch.count for s in sites if s.branch is not None), default=0)
    attends = any(g.name == "q" for s in sites for g in s.gates) or any(s.kind == "attention" for s in sites)
    return count // 2 if attends else count


def growth_of(sites: tuple[Site, ...]) -> Callable[[Site], Growth]:
    """Growth of each parameter's shape with the width. First layers and all embeddings are fed by the data.

    A matrix that is both looked up and the head counts as an embedding.
    """
    matrices = weights(sites)
    first = min((s.order for s in matrices), default=0)
    heads = {s.layer for s in matrices if s.role == "head" and not s.tied}

    def growth(site: Site) -> Growth:
        if site.kind in ("activation", "scale"):
            return "fixed"
        if site.role == "bias" and site.layer in heads:
            return "fixed"  # as many numbers as there are classes, whatever the width
        if site.role == "head" and not site.tied:
            return "output"
        if site.tied or site.role in ("embedding", "bias", "norm", "scale"):
            return "input"
        deeper = site.kind in ("rnn", "lstm", "gru") and "_l0" not in site.name.rpartition(".")[2]
        return "hidden" if site.order > first or site.role == "recurrent" or deeper else "input"

    return growth


def _units(site: Site) -> float:
    """Units or channels of a layer: of one gate, where several are stacked."""
    if len(site.shape) < 2:
        return float(math.prod(site.shape))
    form = layout(site)
    return form.groups * form.outs / max(1, len(site.gates))
