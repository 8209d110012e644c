"""Initialises modules by their class, for `nn.Module.apply`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from initlab import inits
from initlab.api.gains import ActivationLike, as_activation
from initlab.errors import ConfigError, one_of
from initlab.init.arguments import require_generator, require_tensor
from initlab.init.draw import Law, write
from initlab.inits.torch_default import bounds_in_transformers
from initlab.network.layers import by_class
from initlab.spec import Initializer

#: the initialisers of the catalogue that need to know one layer only
ONE_LAYER = (
    "constant", "delta_orthogonal", "dirac", "edge_of_chaos", "he", "identity", "lecun", "mean_field", "normal",
    "orthogonal", "sparse", "torch_default", "truncated_normal", "uniform", "xavier", "zeros",
)  # fmt: skip


def for_module(
    name: str, activation: ActivationLike = "relu", *, generator: torch.Generator | None = None, **options: Any
) -> Callable[[nn.Module], None]:
    """A function for `nn.Module.apply` that initialises each layer by its class.

    Weights of linear, convolutional, transposed, recurrent and attention layers get the law, each gate by itself;
    biases zero, norms 1 and 0, embeddings N(0, 1) with a zero row for padding. Learnable activations keep their value,
    and what is of no known class keeps it with a warning. All layers count as lying between two `activation`s, the
    last one too.

    Args:
        name: one of `ONE_LAYER`; with arguments, ``"he(mode='fan_out')"``, or with these as keywords.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
        >>> model.apply(for_module("he", "relu"))[3].bias.tolist()
        [0.0, 0.0]
    """
    init, known = _parse(name, options), as_activation(activation)
    require_generator(generator)

    def initialise(module: nn.Module) -> None:
        if not isinstance(module, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError("module", type(module).__name__, "is no nn.Module: model.apply(for_module('he'))")
        kind = type(module).__name__
        if is_parametrized(module) or isinstance(module, ParametrizationList):
            raise ConfigError(
                "module", kind, "has a parametrisation: use initlab.initialize(model, name), which inverts it"
            )
        own = dict(module.named_parameters(recurse=False))
        for short, parameter in own.items():
            require_tensor(parameter, f"{kind}.{short}")
        sites = tuple(by_class(short, "", module, short, parameter) for short, parameter in own.items())
        for (short, parameter), site in zip(own.items(), sites, strict=True):
            if site.kind == "free":
                warnings.warn(f"initlab.init: {kind}.{short} is of no known class and is left as it is", stacklevel=2)
            elif site.kind == "norm":
                nn.init.constant_(parameter, 1.0 if site.role == "norm" else 0.0)
            elif site.kind not in ("activation", "scale") and parameter.numel():
                draw = {"bias": init.bias, "embedding": init.embedding}.get(site.role, init.weight)
                law = Law(init=init, draw=draw, activation=known, generator=generator, sites=sites)
                write(parameter, site, law)
        if init.name == "torch_default":
            _redraw_children(module, generator)

    return initialise


# ------------------------------------------------------------------ pieces
def _redraw_children(module: nn.Module, generator: torch.Generator | None) -> None:
    """What torch's containers do to their children, which `nn.Module.apply` visits before them."""
    with torch.no_grad():
        if isinstance(module, nn.MultiheadAttention):
            for bias in (p for n, p in module.out_proj.named_parameters() if n == "bias"):
                bias.zero_()
        if isinstance(module, nn.Transformer):
            for name, bound in bounds_in_transformers(module).items():
                parameter = module.get_parameter(name)
                parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))


def _parse(name: str, options: dict[str, Any]) -> Initializer:
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError("name", name, "must be the name of an initialiser, such as 'he' or 'normal(std=0.1)'")
    if "keep" in options or ("(" in name and options):
        raise ConfigError("name", name, "arguments stand either in the text or as keywords, and keep is none of them")
    text = f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})" if options else name
    init = inits.parse_initializer(text, key="name")
    if init.name not in ONE_LAYER:
        raise ConfigError(
            "name", name, f"looks at the whole network: initlab.initialize(model, {name!r}); here {one_of(ONE_LAYER)}"
        )
    return init
