"""Spectral norms of weights and of their updates, in the unit in which they do not depend on the width.

Yang, Simon & Bernstein, 2023 (arXiv 2310.17813): features neither grow nor vanish with the width where ‖W‖₂ and ‖ΔW‖₂
are of order √(out/in).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from initlab.network.hooks import SMALLEST

_ITERATIONS = 20


def spectral_norm(weight: Tensor) -> Tensor:
    """‖W‖₂ √(in/out) of a weight (out, in, ...), a scalar tensor, by 20 power iterations.

    From a fixed start, so that it draws no random numbers. Too small by less than 5 % for Gaussian matrices.

    Args:
        weight: two or more dimensions; those behind the first are joined.
    """
    w = weight.detach().flatten(1).float()
    w = w / w.abs().amax().clamp_min(SMALLEST) if w.numel() else w
    scale = weight.detach().abs().amax().float() if weight.numel() else weight.new_zeros(())
    rows, columns = w.shape
    v = torch.arange(columns, device=w.device, dtype=torch.float32).mul_(2.399963).cos_()
    for _ in range(_ITERATIONS):
        u = w @ v
        v = w.T @ (u / torch.linalg.vector_norm(u).clamp_min(SMALLEST))
        v = v / torch.linalg.vector_norm(v).clamp_min(SMALLEST)
    return scale * torch.linalg.vector_norm(w @ v) * math.sqrt(columns / rows)
