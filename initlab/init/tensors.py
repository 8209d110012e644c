"""The initialisers of single tensors."""

from __future__ import annotations

from typing import TypeVar, get_args

import torch
from torch import Tensor

from initlab import inits
from initlab.api.gains import ActivationLike
from initlab.init.arguments import require_choice, require_count, require_finite, require_positive
from initlab.init.draw import any_site, fill, site_of
from initlab.inits.laws import Distribution
from initlab.inits.scaled import Gain, Mode
from initlab.theory import GainKind

T = TypeVar("T", bound=Tensor)
_GAINS = ("auto", *get_args(GainKind))


def he_(
    w: T,
    activation: ActivationLike = "relu",
    fan: Mode = "fan_in",
    *,
    gain: Gain | None = None,
    distribution: Distribution = "normal",
    transposed: bool = False,
    groups: int = 1,
    stride: int | tuple[int, ...] = 1,
    generator: torch.Generator | None = None,
) -> T:
    """Var(W) = g²/fan with the gain g of `activation`. He, Zhang, Ren & Sun, ICCV 2015.

    Args:
        w: (out, in / groups, taps...), or (in, out / groups, taps...) where `transposed`.
        activation: what `initlab.gain` takes: a name, a formula, a function or a module.
        fan: ``fan_in`` keeps the mean square of the signal, ``fan_out`` that of the gradient, ``fan_avg`` is between.
        gain: a number, or which gain of the activation: ``forward`` (default), ``backward``, ``torch``, ...
        distribution: ``normal``, ``uniform`` or ``truncated``.
        transposed, groups, stride: of a convolution. The stride matters where it is transposed: an output position then
            sums over a part of the taps only.
        generator: of the CPU; by default torch's global one.

    Example:
        >>> w = he_(torch.empty(64, 1000), "gelu", generator=torch.Generator().manual_seed(0))
        >>> round(float(w.std()) * 1000**0.5, 1)  # gain of GELU
        1.5
    """
    require_choice("fan", fan, get_args(Mode))
    init = inits.he(gain=_gain(gain), mode=fan, distribution=_law(distribution))
    return fill(w, site_of(w, transposed, groups, stride), init, activation, generator)


def xavier_(
    w: T,
    *,
    gain: float = 1.0,
    distribution: Distribution = "uniform",
    transposed: bool = False,
    groups: int = 1,
    stride: int | tuple[int, ...] = 1,
    generator: torch.Generator | None = None,
) -> T:
    """Var(W) = 2g²/(fan_in + fan_out). Glorot & Bengio, AISTATS 2010. Arguments as in `he_`.

    Example:
        >>> float(xavier_(torch.empty(2, 4)).abs().max()) <= 1  # sqrt(6 / (4 + 2))
        True
    """
    init = inits.xavier(gain=require_positive("gain", gain), distribution=_law(distribution))
    return fill(w, site_of(w, transposed, groups, stride), init, "relu", generator)


def lecun_(
    w: T,
    *,
    gain: float = 1.0,
    distribution: Distribution = "normal",
    transposed: bool = False,
    groups: int = 1,
    stride: int | tuple[int, ...] = 1,
    generator: torch.Generator | None = None,
) -> T:
    """Var(W) = g²/fan_in. LeCun, Bottou, Orr & Müller, 1998; what SELU needs. Arguments as in `he_`.

    Example:
        >>> tuple(lecun_(torch.empty(8, 4)).shape)
        (8, 4)
    """
    init = inits.lecun(gain=require_positive("gain", gain), distribution=_law(distribution))
    return fill(w, site_of(w, transposed, groups, stride), init, "relu", generator)


def orthogonal_(
    w: T,
    gain: float = 1.0,
    *,
    transposed: bool = False,
    groups: int = 1,
    generator: torch.Generator | None = None,
) -> T:
    """W = g·Q, with orthonormal rows or columns, whichever are fewer. Saxe, McClelland & Ganguli, ICLR 2014.

    A convolution is flattened to (out, in·taps), one matrix for each group. A complex Q is unitary.

    Example:
        >>> w = orthogonal_(torch.empty(3, 5))
        >>> torch.allclose(w @ w.T, torch.eye(3), atol=1e-6)
        True
    """
    init = inits.orthogonal(gain=require_positive("gain", gain))
    return fill(w, site_of(w, transposed, groups), init, "relu", generator)


def edge_of_chaos_(
    w: T,
    activation: ActivationLike = "tanh",
    *,
    sigma_b: float | None = None,
    distribution: Distribution = "normal",
    transposed: bool = False,
    groups: int = 1,
    stride: int | tuple[int, ...] = 1,
    generator: torch.Generator | None = None,
) -> T:
    """Var(W) = σ_w²/fan_in with σ_w of the activation's critical point. Schoenholz et al., ICLR 2017.

    The biases that go with it are N(0, σ_b²), see `initlab.critical_point`; for ReLU and tanh σ_b is 0.

    Args:
        sigma_b: standard deviation of the biases; None takes 0 where that is stable, else the smallest stable choice.

    Example:
        >>> w = edge_of_chaos_(torch.empty(64, 1000), "tanh", generator=torch.Generator().manual_seed(0))
        >>> round(float(w.std()) * 1000**0.5, 1)
        1.0
    """
    if sigma_b is not None and sigma_b != 0:
        require_positive("sigma_b", sigma_b)
    init = inits.edge_of_chaos(sigma_b=sigma_b, distribution=_law(distribution))
    return fill(w, site_of(w, transposed, groups, stride), init, activation, generator)


def sparse_(
    w: T,
    k: int = 15,
    std: float = 1.0,
    *,
    transposed: bool = False,
    groups: int = 1,
    generator: torch.Generator | None = None,
) -> T:
    """Each unit has `k` incoming weights N(0, std²), the others are zero. Martens, ICML 2010.

    `torch.nn.init.sparse_` is something else: it zeroes a share of the weights that leave each input.

    Example:
        >>> (sparse_(torch.empty(6, 40), k=5) != 0).sum(1).tolist()
        [5, 5, 5, 5, 5, 5]
    """
    require_count("k", k)
    init = inits.sparse(k=k, std=require_positive("std", std))
    return fill(w, site_of(w, transposed, groups), init, "relu", generator)


def identity_(w: T, gain: float = 1.0, *, transposed: bool = False, groups: int = 1) -> T:
    """W = g·I, in the middle of the kernel where `w` is a convolution's, one for each group.

    Example:
        >>> identity_(torch.empty(2, 3)).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    init = inits.identity(gain=require_finite("gain", gain))
    return fill(w, site_of(w, transposed, groups), init, "relu", None)


def dirac_(w: T, gain: float = 1.0, *, transposed: bool = False, groups: int = 1) -> T:
    """The identity as a convolution; another name of `identity_`, after torch's `dirac_`.

    Example:
        >>> dirac_(torch.empty(1, 1, 3)).tolist()
        [[[0.0, 1.0, 0.0]]]
    """
    return identity_(w, gain, transposed=transposed, groups=groups)


def normal_(w: T, std: float, *, generator: torch.Generator | None = None) -> T:
    """W ~ N(0, std²). `w` may have any shape.

    Example:
        >>> round(float(normal_(torch.empty(10000), 0.5, generator=torch.Generator().manual_seed(0)).std()), 1)
        0.5
    """
    return fill(w, any_site(w), inits.normal(std=require_positive("std", std)), "relu", generator)


def truncated_normal_(w: T, std: float, *, generator: torch.Generator | None = None) -> T:
    """A normal law cut at two standard deviations and widened, so that `std` is that of what is left.

    Example:
        >>> round(float(truncated_normal_(torch.empty(9999), 0.5, generator=torch.Generator().manual_seed(0)).std()), 1)
        0.5
    """
    return fill(w, any_site(w), inits.truncated_normal(std=require_positive("std", std)), "relu", generator)


def uniform_(w: T, a: float, *, generator: torch.Generator | None = None) -> T:
    """W ~ U(-a, a), standard deviation a/√3.

    Example:
        >>> float(uniform_(torch.empty(100), 0.05).abs().max()) <= 0.05
        True
    """
    return fill(w, any_site(w), inits.uniform(a=require_positive("a", a)), "relu", generator)


def constant_(w: T, value: float) -> T:
    """W = value.

    Example:
        >>> constant_(torch.empty(2), 0.5).tolist()
        [0.5, 0.5]
    """
    return fill(w, any_site(w), inits.constant(value=require_finite("value", value)), "relu", None)


def zeros_(w: T) -> T:
    """W = 0.

    Example:
        >>> zeros_(torch.ones(2)).tolist()
        [0.0, 0.0]
    """
    return fill(w, any_site(w), inits.zeros(), "relu", None)


# ------------------------------------------------------------------ pieces
def _law(distribution: Distribution) -> Distribution:
    require_choice("distribution", distribution, get_args(Distribution))
    return distribution


def _gain(gain: Gain | None) -> Gain:
    if isinstance(gain, str):
        require_choice("gain", gain, _GAINS)
        return gain
    return "auto" if gain is None else require_positive("gain", gain)
