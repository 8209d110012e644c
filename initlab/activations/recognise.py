"""Recognises the activation of a module: the catalogue's entry where known, else the module's own function.

A network made elsewhere gets its gains from the modules that stand in it, so that `initlab.initialize(model, "he")`
needs not be told what they are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from initlab.activations import gated, learnable, rectified, shrink, sigmoidal, smooth
from initlab.activations.slope import is_activation
from initlab.spec import Activation


def _gelu(module: nn.GELU) -> Activation:
    return smooth.gelu_tanh() if module.approximate == "tanh" else smooth.gelu()


def _prelu(module: nn.PReLU) -> Activation:
    # one slope for all units: the root mean square, with which both second moments are those of the layer
    return learnable.prelu(init=float(module.weight.detach().double().square().mean().sqrt()))


#: type of torch.nn → the catalogue's entry with the module's own parameters
_TORCH: dict[type[nn.Module], Callable[..., Activation]] = {
    nn.CELU: lambda m: rectified.celu(alpha=m.alpha),
    nn.ELU: lambda m: rectified.elu(alpha=m.alpha),
    nn.GELU: _gelu,
    nn.GLU: lambda m: gated.glu(),
    nn.Hardshrink: lambda m: shrink.hardshrink(lambd=m.lambd),
    nn.Hardsigmoid: lambda m: sigmoidal.hardsigmoid(),
    nn.Hardswish: lambda m: smooth.hardswish(),
    nn.Hardtanh: lambda m: sigmoidal.hardtanh(min_val=m.min_val, max_val=m.max_val),
    nn.LeakyReLU: lambda m: rectified.leaky_relu(negative_slope=m.negative_slope),
    nn.LogSigmoid: lambda m: sigmoidal.logsigmoid(),
    nn.Mish: lambda m: smooth.mish(),
    nn.PReLU: _prelu,
    nn.RReLU: lambda m: rectified.rrelu(lower=m.lower, upper=m.upper),
    nn.ReLU: lambda m: rectified.relu(),
    nn.ReLU6: lambda m: rectified.relu6(),
    nn.SELU: lambda m: rectified.selu(),
    nn.SiLU: lambda m: smooth.silu(),
    nn.Sigmoid: lambda m: sigmoidal.sigmoid(),
    nn.Softshrink: lambda m: shrink.softshrink(lambd=m.lambd),
    nn.Softsign: lambda m: sigmoidal.softsign(),
    nn.Tanh: lambda m: sigmoidal.tanh(),
    nn.Tanhshrink: lambda m: shrink.tanhshrink(),
    nn.Threshold: lambda m: rectified.threshold(threshold=m.threshold, value=m.value),
    rectified.IdentityActivation: lambda m: rectified.identity(),
}


def recognise(module: nn.Module) -> Activation:
    """The `Activation` that `module` computes now, in eval mode.

    Modules of initlab carry their `Activation` in the attribute ``activation``; those of torch.nn are looked up; of
    any other a copy in float64 is kept, whose function is that of the module as it is now.
    """
    carried = getattr(module, "activation", None)
    if isinstance(carried, Activation):
        return carried
    if isinstance(module, nn.Softplus) and (module.beta, module.threshold) == (1, 20):
        return smooth.softplus()
    known = _TORCH.get(type(module))
    if known is not None:
        return known(module)
    frozen = copy.deepcopy(module).to("cpu", torch.float64).eval().requires_grad_(False)

    def fn(x: Tensor) -> Tensor:
        return frozen(x.to("cpu", torch.float64)).to(x)

    return Activation(name=type(module).__name__.lower(), make=lambda features=None: copy.deepcopy(module), fn=fn)


def activations_of(model: nn.Module, default: Activation | None = None) -> Mapping[str, Activation]:
    """Dotted name → activation, for every activation module of `model`.

    Equal modules get one and the same `Activation`, so that quadrature is done once and not for each layer.

    Args:
        default: the network's own activation, which modules of torch.nn that are made by it are.
    """
    found: dict[str, Activation] = {}
    seen: dict[str, Activation] = {}
    if default is not None and not default.layers:
        module = default.make(8)
        if _is_of_torch(module):
            seen[repr(module)] = default
    for name, module in model.named_modules():
        if not is_activation(module):
            continue
        if not _is_of_torch(module):
            found[name] = recognise(module)
            continue
        # what torch's fixed activations compute is what they print
        if repr(module) not in seen:
            seen[repr(module)] = recognise(module)
        found[name] = seen[repr(module)]
    return found


def _is_of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn") and next(module.parameters(), None) is None
