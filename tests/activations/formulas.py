"""Every elementwise entry of the catalogue beside its formula in numpy, from the definition and not from torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from initlab import activations as A
from initlab.spec import Activation

Array = NDArray[np.float64]
Formula = Callable[[Array], Array]


def sigma(x: Array) -> Array:
    return special.expit(x)


def softplus(x: Array) -> Array:
    return np.logaddexp(x, 0.0)


def phi_normal(x: Array) -> Array:
    """The standard normal's distribution function."""
    return special.ndtr(x)


def kaf(x: Array) -> Array:
    """A kernel machine on twenty points whose values at these points are nearly those of ELU."""
    grid = np.linspace(-3, 3, 20)
    spread = 6 * (grid[1] - grid[0]) ** 2
    gram = np.exp(-((grid[:, None] - grid[None]) ** 2) / spread)
    coefficients = np.linalg.inv(gram + 0.01 * np.eye(20)) @ np.where(grid > 0, grid, np.exp(grid) - 1)
    return np.exp(-((x[..., None] - grid) ** 2) / spread) @ coefficients


#: id → (activation, formula)
ENTRIES: dict[str, tuple[Activation, Formula]] = {
    "identity": (A.identity(), lambda x: x),
    "relu": (A.relu(), lambda x: (x + np.abs(x)) / 2),
    "relu6": (A.relu6(), lambda x: np.clip(x, 0, 6)),
    "leaky_relu": (A.leaky_relu(), lambda x: np.where(x > 0, x, 0.01 * x)),
    "leaky_relu_0.2": (A.leaky_relu(negative_slope=0.2), lambda x: np.maximum(x, 0.2 * x)),
    "rrelu": (A.rrelu(), lambda x: np.maximum(x, 11 / 48 * x)),
    "elu": (A.elu(), lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)),
    "elu_0.5": (A.elu(alpha=0.5), lambda x: np.where(x > 0, x, 0.5 * (np.exp(np.minimum(x, 0)) - 1))),
    "selu": (
        A.selu(),
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    ),
    "celu": (A.celu(), lambda x: np.maximum(x, 0) + np.minimum(np.expm1(np.minimum(x, 0)), 0)),
    "celu_2": (A.celu(alpha=2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0) / 2))),
    "threshold": (A.threshold(), lambda x: np.where(x > 1, x, 0)),
    "threshold_0.3_2": (A.threshold(threshold=0.3, value=2.0), lambda x: np.where(x > 0.3, x, 2.0)),
    "squared_relu": (A.squared_relu(), lambda x: np.where(x > 0, x**2, 0)),
    "squared_leaky_relu": (A.squared_leaky_relu(), lambda x: np.where(x > 0, x**2, x**2 / 4)),
    "golu": (A.golu(), lambda x: x * np.exp(-np.exp(-np.maximum(x, -30)))),
    "xielu": (
        A.xielu(),
        lambda x: np.where(x > 0, 0.8 * x**2, 0.8 * (np.expm1(np.minimum(x, 0)) - np.minimum(x, 0))) + x / 2,
    ),
    "poly_relu": (A.poly_relu(), lambda x: sum(np.maximum(x, 0) ** i for i in (1, 2, 3)) / 3),
    "star_relu": (A.star_relu(), lambda x: 0.8944 * np.where(x > 0, x**2, 0) - 0.4472),
    "abs": (A.abs(), lambda x: np.sqrt(x**2)),
    "sigmoid": (A.sigmoid(), lambda x: (1 + np.tanh(x / 2)) / 2),
    "tanh": (A.tanh(), lambda x: 2 * sigma(2 * x) - 1),
    "lecun_tanh": (A.lecun_tanh(), lambda x: 1.7159 * np.tanh(2 * x / 3)),
    "hardtanh": (A.hardtanh(), lambda x: (np.abs(x + 1) - np.abs(x - 1)) / 2),
    "hardtanh_-0.5_2": (A.hardtanh(min_val=-0.5, max_val=2.0), lambda x: np.clip(x, -0.5, 2.0)),
    "hardsigmoid": (A.hardsigmoid(), lambda x: np.clip((x + 3) / 6, 0, 1)),
    "softsign": (A.softsign(), lambda x: x / (1 + np.abs(x))),
    "logsigmoid": (A.logsigmoid(), lambda x: -softplus(-x)),
    "arctan": (A.arctan(), np.arctan),
    "asinh": (A.asinh(), lambda x: np.sign(x) * np.log(np.abs(x) + np.hypot(x, 1))),
    "erf": (A.erf(), lambda x: 2 * phi_normal(math.sqrt(2) * x) - 1),
    "isru": (A.isru(), lambda x: x / np.hypot(1, x)),
    "isru_4": (A.isru(alpha=4.0), lambda x: x / np.hypot(1, 2 * x)),
    "gelu": (A.gelu(), lambda x: x * phi_normal(x)),
    "gelu_tanh": (
        A.gelu_tanh(),
        lambda x: x * sigma(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
    ),
    "quick_gelu": (A.quick_gelu(), lambda x: x / (1 + np.exp(-1.702 * x))),
    "silu": (A.silu(), lambda x: x * (1 + np.tanh(x / 2)) / 2),
    "eswish": (A.eswish(beta=1.25), lambda x: 1.25 * x * sigma(x)),
    "hardswish": (A.hardswish(), lambda x: np.where(x < -3, 0, np.where(x > 3, x, x * (x + 3) / 6))),
    "mish": (A.mish(), lambda x: x * ((1 + np.exp(x)) ** 2 - 1) / ((1 + np.exp(x)) ** 2 + 1)),
    "hard_mish": (A.hard_mish(), lambda x: np.where(x < -2, 0, np.where(x > 0, x, x * (x + 2) / 2))),
    "tanhexp": (A.tanhexp(), lambda x: x * np.tanh(np.exp(x))),
    "serf": (A.serf(), lambda x: x * special.erf(softplus(x))),
    "logish": (A.logish(), lambda x: x * np.log(1 + sigma(x))),
    # tanh(ln a) = (a² - 1)/(a² + 1)
    "smish": (A.smish(), lambda x: x * ((1 + sigma(x)) ** 2 - 1) / ((1 + sigma(x)) ** 2 + 1)),
    "phish": (A.phish(), lambda x: x * np.tanh(x * phi_normal(x))),
    "lisht": (A.lisht(), lambda x: x * (2 * sigma(2 * x) - 1)),
    "elish": (A.elish(), lambda x: np.where(x >= 0, x, np.exp(np.minimum(x, 0)) - 1) / (1 + np.exp(-x))),
    "softplus": (A.softplus(), softplus),
    "squareplus": (A.squareplus(), lambda x: (x + np.hypot(x, 2)) / 2),
    "squareplus_0.5": (A.squareplus(b=0.5), lambda x: (x + np.sqrt(x**2 + 0.5)) / 2),
    "bent_identity": (A.bent_identity(), lambda x: (np.hypot(x, 1) - 1) / 2 + x),
    "isrlu": (A.isrlu(), lambda x: np.where(x >= 0, x, x / np.hypot(1, x))),
    "isrlu_3": (A.isrlu(alpha=3.0), lambda x: np.where(x >= 0, x, x / np.sqrt(1 + 3 * x**2))),
    "hardshrink": (A.hardshrink(), lambda x: x * (np.abs(x) > 0.5)),
    "softshrink": (A.softshrink(), lambda x: x - np.clip(x, -0.5, 0.5)),
    "tanhshrink": (A.tanhshrink(), lambda x: x - np.tanh(x)),
    "sin": (A.sin(), lambda x: np.cos(x - math.pi / 2)),
    "sin_3": (A.sin(w0=3.0), lambda x: np.sin(3 * x)),
    "cos": (A.cos(), lambda x: np.sin(x + math.pi / 2)),
    "snake": (A.snake(), lambda x: x + (1 - np.cos(2 * x)) / 2),
    "snake_2": (A.snake(a=2.0), lambda x: x + (1 - np.cos(4 * x)) / 4),
    "gcu": (A.gcu(), lambda x: x * np.cos(x)),
    "gaussian": (A.gaussian(), lambda x: np.exp(-0.5 * x * x)),
    "prelu": (A.prelu(), lambda x: np.maximum(x, 0.25 * x)),
    "swish": (A.swish(), lambda x: x * sigma(x)),
    "swish_2": (A.swish(beta=2.0), lambda x: x * sigma(2 * x)),
    "pelu": (A.pelu(a=2.0, b=0.5), lambda x: np.where(x > 0, 4 * x, 2 * (np.exp(np.minimum(x, 0) / 0.5) - 1))),
    "apl": (A.apl(), lambda x: np.maximum(x, 0) - 0.05 * np.maximum(-x, 0) - 0.05 * np.maximum(-1 - x, 0)),
    "acon_c": (A.acon_c(p1=1.2, p2=-0.3, beta=0.7), lambda x: 1.5 * x * sigma(0.7 * 1.5 * x) - 0.3 * x),
    "smu": (A.smu(), lambda x: (1.25 * x + 0.75 * x * special.erf(0.75 * x)) / 2),
    # with α = 0 and μ = 1/√2 it is GELU
    "smu_gelu": (A.smu(negative_slope=0.0, mu=math.sqrt(0.5)), lambda x: x * phi_normal(x)),
    "kaf": (A.kaf(), kaf),
    "meta_acon": (A.meta_acon(), lambda x: x / (1 + np.exp(-x / 2))),
    "blend": (A.blend(of=["relu", "tanh", "x**2"]), lambda x: (np.maximum(x, 0) + np.tanh(x) + x * x) / 3),
    "homotopy": (A.homotopy(start="tanh"), np.tanh),
    "expr": (A.expr(f="x*tanh(softplus(x))"), lambda x: x * np.tanh(softplus(x))),
}

#: entries that have no formula of one number, or are tested elsewhere
OTHERS = ("alternate", "crelu", "geglu", "glu", "maxmin", "maxout", "pau", "per_layer", "powlu", "reglu", "swiglu")
