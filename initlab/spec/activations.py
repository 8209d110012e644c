"""The `Activation` type: a factory of modules, the plain function, and its known properties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from initlab.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

TorchNonlinearity = Literal["linear", "relu", "leaky_relu", "selu", "sigmoid", "tanh"]
ElementwiseFn = Callable[["Tensor"], "Tensor"]

#: (E[φ], E[φ²], E‖∂φ/∂h‖²) per output unit for independent h ~ N(0, q)
GaussianMoments = Callable[[float], tuple[float, float, float]]


@dataclass(frozen=True, kw_only=True)
class Activation:
    """An activation: its name, a factory of modules, and the plain function.

    Attributes:
        name: as in the catalogue.
        make: ``make(features)`` returns a new module at every call (modules are never shared, so that probes can tell
            them apart). `features` is the number of units (channels) it receives; only those that keep parameters for
            each unit look at it. Units lie along dimension 1 of (B, N) and (B, C, H, W), else along the last.
        fn: the same function on tensors, elementwise; quadrature and the saturation threshold are computed from it.
            A learnable activation's is the function it starts as; a width-changing one's is that of one output unit
            of one input (crelu: relu), or the nearest elementwise function, and `moments` says the rest.
        kinks: where φ or φ' jumps.
        torch_name: its name in `torch.nn.init.calculate_gain`, None where torch has none.
        units: (units received, units sent) in lowest terms: (1, 1), (2, 1) for GLU, (1, 2) for CReLU.
        moments: its Gaussian moments where `fn` alone does not give them.
        layers: the activations of the layers in order, of a per-layer mixture; empty elsewhere.
        gate: of a gated one, h₁·gate(h₂): the gate.
        repeats: whether `layers` begins again where the network is deeper (an alternation).
    """

    name: str
    make: Callable[..., nn.Module]
    fn: ElementwiseFn
    kinks: tuple[float, ...] = ()
    torch_name: TorchNonlinearity | None = None
    torch_param: float | None = None
    units: tuple[int, int] = (1, 1)
    moments: GaussianMoments | None = None
    layers: tuple[Activation, ...] = ()
    repeats: bool = False
    gate: Activation | None = None

    def sequence(self, count: int) -> tuple[Activation, ...]:
        """Activations of a network with `count` activation layers, first layer first.

        Raises:
            ConfigError: under ``activation.layers`` where a per-layer list has another length.
        """
        if not self.layers:
            return (self,) * count
        if self.repeats:
            return tuple(self.layers[i % len(self.layers)] for i in range(count))
        if len(self.layers) != count:
            raise ConfigError(
                "activation.layers",
                f"[{','.join(a.name for a in self.layers)}]",
                f"names {len(self.layers)} activations; this model has {count}",
            )
        return self.layers

    def units_before(self, units: int) -> int:
        """Units that it must receive to output `units`.

        Raises:
            ConfigError: under ``model.width`` where no whole number will do.
        """
        received, sent = self.units
        if units * received % sent:
            raise ConfigError("model.width", units, f"must be a multiple of {sent} for activation={self.name}")
        return units * received // sent
