"""initlab: which weight initialisation and which activation should a network have, and why.

import initlab

initlab.gain("gelu")                                   1.5335...: keeps the mean square of the signal
initlab.meanfield("tanh", sigma_w=1.5, sigma_b=0.3)    fixed points, χ₁, depth scales
initlab.initialize(model, "orthogonal")                every parameter of your own network
initlab.describe(model)                                what each parameter is
initlab.predict(model, inputs)                         signal and gradient by layer, before training
initlab.advise(model, (inputs, targets))               which initialisation to take, and how sure that is
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from initlab.core.version import __version__

if TYPE_CHECKING:
    from initlab.api import advise, critical_point, describe, gain, initialize, meanfield, predict

__all__ = ["__version__", "advise", "critical_point", "describe", "gain", "initialize", "meanfield", "predict"]


def __getattr__(name: str) -> Any:
    # loading torch takes seconds, and `python -m initlab --help` must not wait for it
    if name in __all__:
        from initlab import api

        return getattr(api, name)
    raise AttributeError(f"module 'initlab' has no attribute {name!r}")
