"""initlab: which weight initialisation and which activation should a network have, and why.

import initlab

initlab.gain("gelu")                                   1.5335...: keeps the mean square of the signal
initlab.meanfield("tanh", sigma_w=1.5, sigma_b=0.3)    fixed points, χ₁, depth scales
initlab.initialize(model, "orthogonal", example=x)     every parameter of your own network
initlab.describe(model, x)                             what each parameter is
initlab.inspect(model, (x, y))                         theory beside measurement, verdict, what to try
initlab.predict(model, x)                              signal and gradient by layer, before training
initlab.advise(model, (x, y))                          which initialisation to take, and how sure that is
initlab.coordinate_check(build, (x, y))                does a network move alike at every width?
initlab.swap_activations(model, "silu")                the same network with another activation
initlab.watch(model, every=50)                         probes, findings and records for your own training loop
initlab.init.he_(weight, activation="gelu")            in place, in the manner of torch.nn.init
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from initlab.core.version import __version__

if TYPE_CHECKING:
    from initlab import errors, init, integrations
    from initlab.api import (
        Inspection,
        Watch,
        advise,
        coordinate_check,
        critical_point,
        describe,
        gain,
        initialize,
        inspect,
        meanfield,
        predict,
        swap_activations,
        watch,
    )

__all__ = [
    "Inspection",
    "Watch",
    "__version__",
    "advise",
    "coordinate_check",
    "critical_point",
    "describe",
    "errors",
    "gain",
    "init",
    "initialize",
    "inspect",
    "integrations",
    "meanfield",
    "predict",
    "swap_activations",
    "watch",
]
#: modules that users reach as attributes
_MODULES = ("errors", "init", "integrations")


def __getattr__(name: str) -> Any:
    # loading torch takes seconds, and `python -m initlab --help` must not wait for it
    if name in _MODULES:
        return importlib.import_module(f"initlab.{name}")
    if name in __all__:
        from initlab import api

        return getattr(api, name)
    raise AttributeError(f"module 'initlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
