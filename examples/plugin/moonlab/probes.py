"""How sparse the outputs of every layer are."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from initlab.spec import LayerReading, Probe


def sparseness() -> Probe:
    """(√n - ‖a‖₁/‖a‖₂) / (√n - 1), the mean over examples a of n outputs. Hoyer, JMLR 5, 2004.

    It is 0 where all outputs are equally large, and 1 where a single one is not zero.
    """

    def probe(layer: LayerReading) -> Mapping[str, Tensor]:
        a = layer.sent.float().flatten(1)
        root = math.sqrt(a.shape[1])
        if root == 1:
            return {}
        # an example whose outputs are all zero counts as not sparse
        ratio = (a.abs().sum(1) / a.norm(dim=1)).nan_to_num(nan=root)
        return {"sparseness": ((root - ratio) / (root - 1)).mean()}

    return probe
