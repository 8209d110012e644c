"""Finite-width corrections to mean-field theory: drift and spread of q, dead units, Jacobian spectra."""

from __future__ import annotations

import math
from collections.abc import Iterable

from initlab.spec import Activation
from initlab.theory.quadrature import integrate, moments_of


def log_norm_linear(width: int) -> tuple[float, float]:
    """Mean and variance of ln(‖h‖²/‖x‖²) through one linear layer with W_ij ~ N(0, 1/width); exact.

    ‖h‖² is ‖x‖²/width times a chi-square variable of `width` degrees of freedom.
    """
    from scipy.special import digamma, polygamma

    return float(digamma(width / 2) - math.log(width / 2)), float(polygamma(1, width / 2))


def log_norm_relu(width: int) -> tuple[float, float]:
    """Mean -5/(2n) and variance 5/n of ln(‖h'‖²/‖h‖²) through one ReLU layer at He's gain, to first order in 1/n.

    Hanin & Rolnick, NeurIPS 2018: what spreads is Σ 1/n over the layers.
    """
    return -2.5 / width, 5.0 / width


def log_q_variance(activation: Activation, q: float, width: int) -> float:
    """Variance of ln q that one layer of `width` units adds: (E[φ⁴]/E[φ²]² - 1)/n, which is 5/n for ReLU."""
    fourth, _ = _fourth(activation, q)
    second = moments_of(activation, q=q).second
    return (fourth / second**2 - 1) / width if second > 0 else 0.0


def log_q_slope(activation: Activation, q: float) -> float:
    """d ln E[φ²] / d ln q: 1 for ReLU, below 1 for what saturates, 2 for squared ReLU."""
    m = moments_of(activation, q=q)
    return q * m.second_by_q / m.second if m.second > 0 else 0.0


def born_dead(widths: Iterable[int]) -> float:
    """Probability that some ReLU layer is wholly off for a given input, zero biases: 1 - Π(1 - 2⁻ⁿ).

    Lu, Shin, Su & Karniadakis, 2019. Only for symmetric laws of the weights; exact for one input.
    """
    alive = 1.0
    for n in widths:
        alive *= 1.0 - 2.0**-n
    return 1.0 - alive


def both_off(c: float) -> float:
    """Probability that a ReLU unit is off for both of two inputs of correlation c: 1/2 - arccos(c)/(2π)."""
    return 0.5 - math.acos(c) / (2 * math.pi)


def jacobian_spread(activation: Activation, *, q: float, depth: int, orthogonal: bool) -> float:
    """Var λ / (E λ)² of the squared singular values λ of the input-output Jacobian of `depth` square layers at q.

    L (μ₂/μ₁² - 1 - s₁) with μ_k = E[φ'^{2k}], s₁ = -1 for Gaussian and 0 for orthogonal weights (Pennington,
    Schoenholz & Ganguli, NeurIPS 2017). 0 is dynamical isometry.
    """
    m = moments_of(activation, q=q)
    return depth * (m.slope_fourth / m.slope_second**2 - 1 + (0 if orthogonal else 1))


def linear_gaussian_edge(depth: int) -> float:
    """Largest singular value of a product of `depth` square Gaussian matrices of gain 1: √((L+1)^{L+1}/L^L)."""
    return math.sqrt((depth + 1) ** (depth + 1) / depth**depth)


def batch_norm_growth(activation: Activation) -> float:
    """Growth of the squared gradient per layer of a plain network with batch norm: E[φ'²]/Var φ, whatever σ_w is.

    Yang et al., ICLR 2019: π/(π - 1) = 1.467 for ReLU, so that depth explodes without shortcuts.
    """
    m = moments_of(activation)
    return m.slope_second / m.variance


def initial_loss(classes: int, std: float) -> float:
    """Expected cross entropy of a random label under independent logits N(0, std²); ln(classes) at std = 0.

    E ln S of S = Σ e^{std z_i}, by Frullani's integral ∫ (e^{-t} - E[e^{-tS}])/t dt on a logarithmic grid.
    """
    import torch

    if std == 0:
        return math.log(classes)
    x = torch.linspace(-40.0, 12.0 + 8 * std, 4001, dtype=torch.float64)  # x = ln t
    laplace, _ = integrate(lambda z: torch.exp(-torch.exp(x[:, None] + std * z[None])), tolerance=1e-8)
    gap = torch.exp(-torch.exp(x)) - laplace**classes
    # for t → 0 the gap vanishes like t, for t → ∞ both terms do
    return float(torch.trapezoid(gap, x))


def zero_padding_share(size: int, kernel: int, padding: int, stride: int = 1) -> float:
    """Share of a convolution's taps, along one dimension, that fall on the input and not on padding zeros."""
    outputs = (size + 2 * padding - kernel) // stride + 1
    inside = sum(0 <= o * stride - padding + j < size for o in range(outputs) for j in range(kernel))
    return inside / (outputs * kernel)


def forget_timescale(bias: float) -> float:
    """Steps over which an LSTM's cell decays e-fold at forget bias b: -1/ln σ(b)."""
    return 1 / math.log1p(math.exp(-bias))


def saxe_mode(t: float, *, strength: float, start: float) -> float:
    """A mode u(t) of a two-layer linear network under gradient flow (Saxe, McClelland & Ganguli, ICLR 2014).

    u = s e^{2st}/(e^{2st} - 1 + s/u₀), t = learning rate × steps, balanced start.
    """
    growth = math.exp(2 * strength * t)
    return strength * growth / (growth - 1 + strength / start)


def _fourth(activation: Activation, q: float) -> tuple[float, float]:
    """E[φ⁴] at mean square q and its error."""
    if activation.moments is not None:
        return 3 * moments_of(activation, q=q).second ** 2, 0.0  # no elementwise φ: taken for Gaussian
    scale = math.sqrt(q)
    value, error = integrate(
        lambda z: (activation.fn(z * scale) ** 4)[None], kinks=tuple(k / scale for k in activation.kinks)
    )
    return float(value[0]), float(error[0])
