"""Memory layout of a weight tensor: as one matrix for each group, with the kernel's taps behind it.

Linear layers store (out, in), convolutions (out, in / groups, taps...), transposed ones (in, out / groups, taps...).
Schemes that speak of units and their inputs are written once, for (groups, outs, ins, taps...), and laid out here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from initlab.spec import Site


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Outputs and inputs of one group, and the kernel sizes (none for linear maps)."""

    groups: int
    outs: int
    ins: int
    taps: tuple[int, ...]

    @property
    def inputs(self) -> int:
        """Number of weights of one output unit."""
        return self.ins * math.prod(self.taps)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.groups, self.outs, self.ins, *self.taps)


def layout(site: Site) -> Layout:
    """Layout of `site`, of at least two dimensions; of one gate where the site is a gate."""
    if site.dims:
        groups, outs, ins = (math.prod(n for n, d in zip(site.shape, site.dims, strict=True) if d == k) for k in "goi")
        return Layout(groups=groups, outs=outs, ins=ins, taps=())
    if site.transposed:
        ins, outs = site.shape[0] // site.groups, site.shape[1]
        return Layout(groups=site.groups, outs=outs, ins=ins, taps=site.shape[2:])
    if not site.kind.startswith("conv"):  # a bilinear map sums over all pairs of its inputs
        return Layout(groups=1, outs=site.shape[0], ins=math.prod(site.shape[1:]), taps=())
    return Layout(groups=site.groups, outs=site.shape[0] // site.groups, ins=site.shape[1], taps=site.shape[2:])


def to_parameter(site: Site, values: Tensor) -> Tensor:
    """Converts values (groups, outs, ins, taps...) to the shape of the parameter."""
    if site.dims:
        order = _order(site)
        return values.reshape([site.shape[d] for d in order]).permute([order.index(d) for d in range(len(order))])
    return (values.transpose(1, 2) if site.transposed else values).reshape(site.shape)


def from_parameter(site: Site, parameter: Tensor) -> Tensor:
    """Converts a parameter's values to (groups, outs, ins, taps...); a view where possible."""
    form = layout(site)
    if site.dims:
        return parameter.permute(_order(site)).reshape(form.shape)
    if site.transposed:
        return parameter.reshape(form.groups, form.ins, form.outs, *form.taps).transpose(1, 2)
    return parameter.reshape(form.shape)


def at_centre(site: Site, matrices: Tensor) -> Tensor:
    """A parameter whose kernels are zero except their middle, which holds `matrices` (groups, outs, ins)."""
    form = layout(site)
    values = torch.zeros(form.shape)
    values[(..., *(size // 2 for size in form.taps))] = matrices
    return to_parameter(site, values)


def _order(site: Site) -> list[int]:
    """Dimensions of a parameter with letters: its matrices, then outputs, then inputs."""
    return [d for letter in "goi" for d, mine in enumerate(site.dims) if mine == letter]
