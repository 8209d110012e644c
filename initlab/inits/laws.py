"""Random draws by standard deviation, and shared rules for biases and embeddings."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from initlab.spec import Draw, InitContext, Site

Distribution = Literal["normal", "uniform", "truncated"]
Bias = float | Literal["torch"]

#: standard deviation of a standard normal cut at ±2: √(1 - 4ϕ(2)/(2Φ(2) - 1))
TRUNCATED_STD = 0.8796256610342398


def draw(shape: tuple[int, ...], std: float, law: Distribution, generator: torch.Generator) -> Tensor:
    """Independent values of mean 0 and the standard deviation `std` under `law`, float32 of `shape` on the CPU.

    - ``normal``: N(0, std²);
    - ``uniform``: U(-a, a) with a = √3·std;
    - ``truncated``: N(0, s²) cut at ±2s with s = std / 0.87963, so that `std` is that of what is left.
    """
    values = torch.empty(shape, dtype=torch.float32)
    if law == "normal":
        return values.normal_(0.0, std, generator=generator)
    if law == "uniform":
        bound = math.sqrt(3.0) * std
        return values.uniform_(-bound, bound, generator=generator)
    s = std / TRUNCATED_STD
    # torch's trunc_normal_ cuts at absolute bounds (±2 by default); ±2 standard deviations must be said
    return torch.nn.init.trunc_normal_(values, 0.0, s, -2 * s, 2 * s, generator=generator)


def torch_bound(site: Site, sites: tuple[Site, ...] = ()) -> float:
    """Bound of torch.nn's default uniform distribution: 1/√fan_in, counted from the tensor's shape as torch does.

    Args:
        site: a weight or a bias.
        sites: of the network, where the bias of a bilinear layer finds its weight.
    """
    if site.kind in ("rnn", "lstm", "gru"):
        # torch.nn.RNNBase.reset_parameters draws weights and biases within 1/√hidden_size
        return 1.0 / math.sqrt(_state_units(site))
    if site.transposed:
        # dimension 1 of a transposed convolution's weight is its outputs, which torch takes for its inputs
        return 1.0 / math.sqrt(site.fan_out)
    bilinear = site if _is_bilinear(site) else _bilinear_weight(site, sites)
    if bilinear is not None:
        return 1.0 / math.sqrt(bilinear.shape[1])
    if len(site.shape) < 2 or site.dims:
        return 1.0 / math.sqrt(max(site.fan_in, 1.0))
    return 1.0 / math.sqrt(site.shape[1] * math.prod(site.shape[2:]))


def _state_units(site: Site) -> float:
    """Units of a recurrent layer's state (of an LSTM's cell, where its output is projected to fewer)."""
    if site.role == "bias" or "weight_hr" in site.name:
        return site.fan_in
    return site.shape[0] // max(1, len(site.gates))


def _is_bilinear(site: Site) -> bool:
    return site.kind == "linear" and len(site.shape) == 3 and not site.dims


def _bilinear_weight(bias: Site, sites: tuple[Site, ...]) -> Site | None:
    if bias.role != "bias" or bias.kind != "linear":
        return None
    return next((s for s in sites if s.layer == bias.layer and _is_bilinear(s)), None)


def bias_rule(bias: Bias) -> Draw:
    """The rule for biases: the constant `bias`, or ``torch`` for U(-1/√fan_in, 1/√fan_in) as torch.nn draws them.

    Random biases are not needed to tell units apart, random weights do that; zero is what the theory assumes.
    """

    def rule(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
        if bias == "torch":
            bound = torch_bound(site, context.sites)
            return torch.empty(site.shape).uniform_(-bound, bound, generator=generator)
        return torch.full(site.shape, float(bias))

    return rule


def unit_normal(site: Site, generator: torch.Generator, context: InitContext) -> Tensor:
    """N(0, 1), torch's default for embeddings: one input is active at a time, so fan_in is 1."""
    del context
    return draw(site.shape, 1.0, "normal", generator)
