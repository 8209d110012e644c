"""initlab's functions for other people's code. `import initlab` offers them and loads torch only when one is used."""

from initlab.api.activations import swap_activations
from initlab.api.advise import advise
from initlab.api.coordinate_check import coordinate_check
from initlab.api.gains import as_activation, critical_point, gain, meanfield
from initlab.api.inspection import Inspection, inspect
from initlab.api.network import describe, initialize, predict
from initlab.api.watch import Watch, watch

__all__ = [
    "Inspection",
    "Watch",
    "advise",
    "as_activation",
    "coordinate_check",
    "critical_point",
    "describe",
    "gain",
    "initialize",
    "inspect",
    "meanfield",
    "predict",
    "swap_activations",
    "watch",
]
