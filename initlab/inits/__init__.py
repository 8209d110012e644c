"""Initialisers: factories that return a `spec.Initializer`, and `apply`, which gives a model its first values."""

from initlab.inits.apply import Applied, apply
from initlab.inits.fixed import constant, normal, truncated_normal, uniform, zeros
from initlab.inits.orthogonal import orthogonal
from initlab.inits.scaled import he, lecun, torch_default, xavier

__all__ = [
    "Applied",
    "apply",
    "constant",
    "he",
    "lecun",
    "normal",
    "orthogonal",
    "torch_default",
    "truncated_normal",
    "uniform",
    "xavier",
    "zeros",
]
