"""Initialisers: factories that return a `spec.Initializer`, and `apply`, which gives a model its first values."""

from initlab.inits.apply import Applied, apply
from initlab.inits.central import delta_orthogonal, dirac, identity, zero_hadamard
from initlab.inits.composed import by_role, chain
from initlab.inits.fixed import constant, normal, truncated_normal, uniform, zeros
from initlab.inits.naming import catalogue, named
from initlab.inits.orthogonal import orthogonal
from initlab.inits.piecewise import looks_linear, rai, random_walk
from initlab.inits.recurrent import chrono, irnn, np_rnn, recurrent
from initlab.inits.residual import deepnorm, fixup, gpt2, layer_scale, residual_scaled, skipinit, zero_gamma
from initlab.inits.scaled import he, lecun, torch_default, xavier
from initlab.inits.siren import siren
from initlab.inits.sparse import sparse

__all__ = [
    "Applied",
    "apply",
    "by_role",
    "catalogue",
    "chain",
    "chrono",
    "constant",
    "deepnorm",
    "delta_orthogonal",
    "dirac",
    "fixup",
    "gpt2",
    "he",
    "identity",
    "irnn",
    "layer_scale",
    "lecun",
    "looks_linear",
    "named",
    "normal",
    "np_rnn",
    "orthogonal",
    "rai",
    "random_walk",
    "recurrent",
    "residual_scaled",
    "siren",
    "skipinit",
    "sparse",
    "torch_default",
    "truncated_normal",
    "uniform",
    "xavier",
    "zero_gamma",
    "zero_hadamard",
    "zeros",
]
