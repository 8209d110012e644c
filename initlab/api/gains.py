"""Gains, mean-field theory and critical points of any activation: one's own function, module, name or formula."""

from __future__ import annotations

import math
from typing import Any, get_args

import torch
from torch import nn

from initlab import theory
from initlab.activations import naming, recognise
from initlab.activations.match import match_values, own_activation
from initlab.errors import ConfigError, one_of
from initlab.spec import Activation, ElementwiseFn
from initlab.theory import CriticalPoint, GainKind, MeanField

#: what is taken for an activation: a function of a tensor, a module, a catalogue name or formula, or one of ours
ActivationLike = ElementwiseFn | nn.Module | type[nn.Module] | str | Activation


def gain(fn: ActivationLike, kind: GainKind = "forward") -> float:
    """The gain g of std(W) = g/√fan that goes with an activation, by adaptive quadrature.

    Args:
        fn: any elementwise function of a float64 tensor (``torch.tanh``, your own), a module or its class
            (``nn.ReLU``), a catalogue name (``"gelu"``), or a formula (``"x*tanh(softplus(x))"``). Kinks need not be
            declared.
        kind: ``forward`` 1/√E[φ²], ``backward`` 1/√E[φ'²], ``geometric`` √(forward·backward), ``centred`` 1/√Var φ,
            ``torch`` as in `torch.nn.init.calculate_gain`.

    Raises:
        ConfigError: an unknown name or kind, something that is no elementwise function, or an activation without that
            gain.

    Example:
        >>> round(gain("relu"), 6)
        1.414214
    """
    kinds = get_args(GainKind)
    if kind not in kinds:
        raise ConfigError("kind", kind, one_of(str(kind), kinds))
    return theory.gain(as_activation(fn), kind)


def meanfield(fn: ActivationLike, *, sigma_w: float, sigma_b: float = 0.0) -> MeanField:
    """Fixed points q* and c*, χ₁, χ_q, the depth scales ξ and stability of a deep network of `fn` at (σ_w, σ_b).

    Args:
        fn: as in `gain`.
        sigma_w: √(fan_in · Var W), positive; sigma_b: standard deviation of the biases.

    Example:
        >>> round(meanfield("tanh", sigma_w=1.0, sigma_b=0.05**0.5).xi_c, 4)
        3.627
    """
    for key, value, least in (("sigma_w", sigma_w, "greater than 0"), ("sigma_b", sigma_b, "0 or greater")):
        number = isinstance(value, (int, float))  # pyright: ignore[reportUnnecessaryIsInstance]
        if not number or not (value > 0 or (key == "sigma_b" and value == 0)):
            raise ConfigError(key, value, f"must be a number {least}")
    return theory.meanfield(as_activation(fn), sigma_w=float(sigma_w), sigma_b=float(sigma_b))


def critical_point(fn: ActivationLike, *, sigma_b: float | None = None) -> CriticalPoint | None:
    """The edge of chaos: (σ_w, σ_b) with χ₁ = 1, and whether the signal is stable there; None where there is none.

    Args:
        fn: as in `gain`.
        sigma_b: bias scale; by default 0 where that is stable, else the smallest usual one that is.

    Example:
        >>> round(critical_point("relu").sigma_w, 4)
        1.4142
    """
    return theory.critical_point(as_activation(fn), sigma_b)


def as_activation(fn: ActivationLike) -> Activation:
    """`fn` as a catalogued activation where it has the values of one; else an activation made for it.

    Raises:
        ConfigError: where `fn` is not a function of a tensor, or not an elementwise one.
    """
    if isinstance(fn, Activation):
        return fn
    if isinstance(fn, str):
        return naming.parse_activation(fn)
    if isinstance(fn, type) and issubclass(fn, nn.Module):
        try:
            fn = fn()
        except TypeError as error:
            raise ConfigError(
                "activation", fn, f"cannot be made without arguments ({error}); give an instance"
            ) from error
    if isinstance(fn, nn.Module):
        if not _is_elementwise(fn):
            known = recognise(fn)
            if known.moments is not None:
                return known
            raise ConfigError("activation", type(fn).__name__, "is no elementwise function of a tensor")
        return recognise(fn)
    if not callable(fn):
        raise ConfigError(
            "activation", fn, "must be a function of a tensor, a module, a name of the catalogue or a formula in x"
        )
    if not _is_elementwise(fn):
        raise ConfigError("activation", getattr(fn, "__name__", fn), "is no elementwise function of a tensor")
    name = getattr(fn, "__name__", type(fn).__name__)
    found = match_values(fn, name)
    return found if found.fn is not fn else own_activation(fn, name)


def _is_elementwise(fn: Any) -> bool:
    x = torch.tensor([-1.5, -0.3, 0.2, 1.1], dtype=torch.float64)
    try:
        with torch.no_grad():
            together = fn(x.clone())
            apart = torch.cat([fn(x[i : i + 1].clone()) for i in range(4)])
    except Exception:  # somebody's function: whatever it raises, it is not one of a row of numbers
        return isinstance(fn, nn.Module) and any(p.dtype != x.dtype for p in fn.parameters())
    if not isinstance(together, torch.Tensor) or together.shape != x.shape:
        return False
    return all(
        math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))
        for a, b in zip(together.tolist(), apart.tolist(), strict=True)
    )
