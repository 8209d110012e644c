"""Initialisers: factories that return a `spec.Initializer`, and `apply`, which initialises a model.

The catalogue is flat, one file a family of schemes (`scaled`, `orthogonal`, `residual`, `recurrent`, `lsuv`, ...).
Apart from it stands the machinery: `apply` draws and checks every parameter, `naming` reads schemes from text,
`composition` builds schemes of others, `layout` knows how weights lie in their tensors, `laws` the probability laws,
`zero_branches` whether zeros can learn, `streaming` and `gates` the passes over data.
"""

from initlab.inits.apply import Applied, apply
from initlab.inits.auto_init import auto_init
from initlab.inits.center_tap import delta_orthogonal, dirac, identity, zero_hadamard
from initlab.inits.composition import by_role, chain
from initlab.inits.data_dependent import data_dependent
from initlab.inits.edge_of_chaos import edge_of_chaos, mean_field
from initlab.inits.embedding import embedding
from initlab.inits.fixed import constant, normal, truncated_normal, uniform, zeros
from initlab.inits.gradient_quotient import gradient_quotient
from initlab.inits.gradinit import gradinit
from initlab.inits.log_prior import log_prior
from initlab.inits.lsuv import lsuv
from initlab.inits.metainit import metainit
from initlab.inits.mimetic import mimetic
from initlab.inits.mup import completep, mup
from initlab.inits.naming import catalogue, parse_initializer
from initlab.inits.orthogonal import orthogonal
from initlab.inits.piecewise import looks_linear, rai, random_walk
from initlab.inits.recurrent import chrono, irnn, np_rnn, recurrent
from initlab.inits.residual import deepnorm, fixup, gpt2, layer_scale, residual_scaled, skipinit, zero_gamma
from initlab.inits.scaled import he, lecun, xavier
from initlab.inits.siren import siren
from initlab.inits.sparse import sparse
from initlab.inits.spectral import spectral
from initlab.inits.torch_default import torch_default
from initlab.inits.transformer_depth import deepscalelm, t_fixup, zero_projection
from initlab.inits.transformers import bert, llama, nanochat, t5, torchtitan
from initlab.inits.vit import vit

__all__ = [
    "Applied",
    "apply",
    "auto_init",
    "bert",
    "by_role",
    "catalogue",
    "chain",
    "chrono",
    "completep",
    "constant",
    "data_dependent",
    "deepnorm",
    "deepscalelm",
    "delta_orthogonal",
    "dirac",
    "edge_of_chaos",
    "embedding",
    "fixup",
    "gpt2",
    "gradient_quotient",
    "gradinit",
    "he",
    "identity",
    "irnn",
    "layer_scale",
    "lecun",
    "llama",
    "log_prior",
    "looks_linear",
    "lsuv",
    "mean_field",
    "metainit",
    "mimetic",
    "mup",
    "nanochat",
    "normal",
    "np_rnn",
    "orthogonal",
    "parse_initializer",
    "rai",
    "random_walk",
    "recurrent",
    "residual_scaled",
    "siren",
    "skipinit",
    "sparse",
    "spectral",
    "t5",
    "t_fixup",
    "torch_default",
    "torchtitan",
    "truncated_normal",
    "uniform",
    "vit",
    "xavier",
    "zero_gamma",
    "zero_hadamard",
    "zero_projection",
    "zeros",
]
