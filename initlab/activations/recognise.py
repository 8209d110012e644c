"""Which activation a module is: the catalogue's entry for a module of initlab or torch.nn, its own function otherwise.

A network made elsewhere gets its gains from the modules that stand in it, so that `initlab.initialize(model, "he")`
needs not be told what they are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from initlab.activations import catalog
from initlab.activations.slope import is_activation
from initlab.spec import Activation

#: type of torch.nn → the catalogue's entry with the module's own parameters
_TORCH: dict[type[nn.Module], Callable[..., Activation]] = {
    nn.ReLU: lambda m: catalog.relu(),
    nn.LeakyReLU: lambda m: catalog.leaky_relu(negative_slope=m.negative_slope),
    nn.ELU: lambda m: catalog.elu(alpha=m.alpha),
    nn.SELU: lambda m: catalog.selu(),
    nn.SiLU: lambda m: catalog.silu(),
    nn.Sigmoid: lambda m: catalog.sigmoid(),
    nn.Tanh: lambda m: catalog.tanh(),
}


def recognise(module: nn.Module) -> Activation:
    """What `module` computes at this moment, in eval mode.

    Modules of initlab carry their `Activation` in the attribute ``activation``; those of torch.nn are looked up; of
    any other a copy in float64 is kept, whose function is that of the module as it is now.
    """
    carried = getattr(module, "activation", None)
    if isinstance(carried, Activation):
        return carried
    known = _TORCH.get(type(module))
    if known is not None:
        return known(module)
    frozen = copy.deepcopy(module).to("cpu", torch.float64).eval().requires_grad_(False)

    def fn(x: Tensor) -> Tensor:
        return frozen(x)

    return Activation(name=type(module).__name__.lower(), make=lambda features=None: copy.deepcopy(module), fn=fn)


def activations_of(model: nn.Module, default: Activation | None = None) -> Mapping[str, Activation]:
    """Dotted name → activation, of every activation module of `model`.

    Args:
        default: what plain modules that `default` makes are (the network's own activation, recognised once and not for
            each layer, so that quadrature is done once).
    """
    made = type(default.make(8)) if default is not None and not default.layers else None
    found: dict[str, Activation] = {}
    for name, module in model.named_modules():
        if not is_activation(module):
            continue
        carried = getattr(module, "activation", None)
        if isinstance(carried, Activation):
            found[name] = carried
        elif default is not None and type(module) is made:
            found[name] = default
        else:
            found[name] = recognise(module)
    return found
