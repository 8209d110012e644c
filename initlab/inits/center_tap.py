"""Identity, delta-orthogonal and ZerO (Hadamard) initialisers: kernels are zero but for their middle."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.inits.laws import Bias, bias_rule, unit_normal
from initlab.inits.layout import at_centre, layout
from initlab.inits.orthogonal import orthogonal, orthogonal_matrix
from initlab.inits.scaled import Gain, resolve_gain
from initlab.inits.zero_branches import refuse_dead
from initlab.spec import InitContext, Initializer, Site


@factory
def identity(*, gain: float = 1.0, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """W = g·I: each unit passes on the input of its own number, as far as there is one.

    A convolution holds the identity in the middle of its kernel (Zagoruyko & Komodakis, 2017, DiracNets), one for each
    group; a matrix that is not square holds a part of the identity. Surplus units start as zeros and are therefore
    alike: give a random scheme to layers that widen. Embeddings are N(0, 1).

    Cost: no data pass.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del generator, context
        form = layout(site)
        return at_centre(site, (gain * torch.eye(form.outs, form.ins)).expand(form.groups, -1, -1))

    return Initializer(name="identity", weight=weight, bias=bias_rule(bias), embedding=unit_normal, keep=keep)


@factory
def dirac(*, gain: float = 1.0, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """The identity as a convolution; another name of `identity`, after torch's `dirac_`."""
    return replace(identity(gain=gain, bias=bias, keep=keep), name="dirac")


@factory
def delta_orthogonal(*, gain: Gain = "auto", bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """A convolution that is zero but for the middle of its kernel, where it is g·Q with QᵀQ = I.

    Xiao, Bahri, Sohl-Dickstein, Schoenholz & Pennington, ICML 2018. With stride 1 and g = 1 the convolution keeps every
    norm, zero padding included; with a larger stride it keeps the mean square only. Linear and recurrent layers get
    plain orthogonal matrices.

    Refuses convolutions that have more inputs than outputs (a group counts by itself) and kernels of an even size,
    which have no middle. Cost: no data pass, a QR decomposition of (out, in) for each layer.
    """
    flat = orthogonal(gain=gain, bias=bias, keep=keep)

    def check(sites: tuple[Site, ...], context: InitContext) -> None:
        del context
        for site in sites:
            if not _is_convolution(site):
                continue
            form = layout(site)
            if any(size % 2 == 0 for size in form.taps):
                sizes = "x".join(map(str, form.taps))
                raise ConfigError("init", "delta_orthogonal", f"needs kernels of odd size; {site.name} has {sizes}")
            if form.outs < form.ins:
                raise ConfigError(
                    "init",
                    "delta_orthogonal",
                    f"needs convolutions with at least as many outputs as inputs; {site.name} maps {form.ins} "
                    f"channels to {form.outs}; give that layer another scheme with init=by_role and init.sites",
                )

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if not _is_convolution(site):
            return flat.weight(site, generator, context)
        form, g = layout(site), resolve_gain(gain, site, context)
        blocks = [orthogonal_matrix(form.outs, form.ins, generator) for _ in range(form.groups)]
        return at_centre(site, g * torch.stack(blocks))

    return replace(flat, name="delta_orthogonal", weight=weight, check=check)


@factory
def zero_hadamard(*, bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """ZerO: identities and Hadamard matrices instead of random numbers. Zhao, Schäfer & Anandkumar, TMLR 2022.

    A layer of m units with n inputs, m ≤ n, is a partial identity. One with m > n is I·H·I / 2^(p/2), where H is
    Hadamard's matrix of order 2^p, p = ⌈log₂ m⌉, cut to (m, n): it tells the m units apart, which an identity would
    not. The last layer of each residual branch is zero. Convolutions hold the matrix in the middle of the kernel.

    Nothing is random but embeddings, N(0, 1), whose rows must differ. Refuses branches that could never wake, where
    there are data to see it by. Cost: no data pass; one forward and backward pass to see.
    """

    def is_end(site: Site) -> bool:
        return site.role in ("weight", "recurrent") and site.branch is not None and site.branch.is_last

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        del generator, context
        form = layout(site)
        if is_end(site):
            return torch.zeros(site.shape)
        matrix = torch.eye(form.outs, form.ins) if form.outs <= form.ins else hadamard(form.outs, form.ins)
        return at_centre(site, matrix.expand(form.groups, -1, -1))

    return Initializer(
        name="zero_hadamard",
        weight=weight,
        bias=bias_rule(bias),
        embedding=unit_normal,
        keep=keep,
        adapt=(refuse_dead("zero_hadamard", is_end),),
    )


def hadamard(rows: int, cols: int) -> Tensor:
    """The first rows and columns of Hadamard's matrix of order 2^p, p = ⌈log₂ rows⌉, divided by 2^(p/2).

    Sylvester's construction in closed form: the sign at (i, j) is minus one to the number of ones that i and j share
    in binary.
    """
    p = math.ceil(math.log2(rows)) if rows > 1 else 0
    shared = torch.arange(rows)[:, None] & torch.arange(cols)[None, :]
    ones = torch.zeros_like(shared)
    for bit in range(p):
        ones += (shared >> bit) & 1
    return (1.0 - 2.0 * (ones % 2)) / 2 ** (p / 2)


def _is_convolution(site: Site) -> bool:
    return site.kind.startswith("conv") and site.role in ("weight", "head")
