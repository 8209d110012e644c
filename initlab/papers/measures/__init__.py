"""Measurements of networks at initialisation, for claims that need no training. A claim's file names them.

Each takes a prepared network, its experiment and the settings of the claim, and returns numbers by name. What is drawn
here comes from the stream ``probe`` of the experiment's seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from initlab.papers.measures.draws import born_dead, length_spread
from initlab.papers.measures.gradients import gradient_growth, jacobian
from initlab.papers.measures.signal import layer_moments
from initlab.papers.measures.tokens import token_residual
from initlab.run.prepare import Prepared
from initlab.spec import Experiment

Measure = Callable[[Prepared, Experiment, Mapping[str, Any]], Mapping[str, float]]

MEASURES: Mapping[str, Measure] = {
    "born_dead": born_dead,
    "gradient_growth": gradient_growth,
    "jacobian": jacobian,
    "layer_moments": layer_moments,
    "length_spread": length_spread,
    "token_residual": token_residual,
}
