"""Orthogonal matrices, one for each group of a convolution and each gate of a recurrent layer."""

from __future__ import annotations

import torch
from torch import Tensor

from initlab.core.factories import factory
from initlab.inits.laws import Bias, bias_rule, unit_normal
from initlab.inits.layout import layout, to_parameter
from initlab.inits.scaled import Gain, resolve_gain
from initlab.spec import InitContext, Initializer, Site


def orthogonal_matrix(rows: int, cols: int, generator: torch.Generator) -> Tensor:
    """A (rows, cols) matrix with orthonormal rows or columns, whichever are fewer, uniform under the Haar measure.

    QR of a Gaussian, columns multiplied by sign(diag R): without the sign the law is not uniform (Mezzadri, 2007).
    Computed in float64, returned in float32.
    """
    tall = torch.empty(max(rows, cols), min(rows, cols), dtype=torch.float64).normal_(generator=generator)
    q, r = torch.linalg.qr(tall)
    q = q * torch.sign(torch.diagonal(r))
    return (q if rows >= cols else q.T).to(torch.float32)


@factory
def orthogonal(*, gain: Gain = "auto", bias: Bias = 0.0, keep: tuple[str, ...] = ()) -> Initializer:
    """W = g·Q with Q orthogonal. Saxe, McClelland & Ganguli, ICLR 2014.

    A convolution is flattened to (out, in·taps), one matrix for each group; that is not an isometry of the convolution
    itself. Where out > in the mean square of the output is in/out of the Gaussian's.
    """

    def weight(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        g = resolve_gain(gain, site, context)
        if len(site.shape) < 2:
            return g * torch.sign(torch.empty(site.shape).normal_(generator=generator))
        form = layout(site)
        blocks = [orthogonal_matrix(form.outs, form.inputs, generator) for _ in range(form.groups)]
        return g * to_parameter(site, torch.stack(blocks).reshape(form.shape))

    return Initializer(name="orthogonal", weight=weight, bias=bias_rule(bias), embedding=unit_normal, keep=keep)
