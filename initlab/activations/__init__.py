"""The catalogue of activations. Each entry is a factory that returns a `spec.Activation`."""

from initlab.activations.catalog import (
    elu,
    gelu,
    identity,
    leaky_relu,
    relu,
    selu,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from initlab.activations.recognise import activations_of, recognise
from initlab.activations.slope import SlopeBand, is_activation, slope_band

__all__ = [
    "SlopeBand",
    "activations_of",
    "elu",
    "gelu",
    "identity",
    "is_activation",
    "leaky_relu",
    "recognise",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "slope_band",
    "softplus",
    "tanh",
]
