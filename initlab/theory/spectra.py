"""Effective, stable and participation rank of a spectrum."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_rank(matrix: Tensor) -> float:
    """exp of the entropy of the singular values s/Σs (Roy & Vetterli, 2007): n for the identity, 1 for rank one."""
    s = torch.linalg.svdvals(matrix.double())
    p = s / s.sum().clamp_min(1e-300)
    p = p[p > 0]
    return float(torch.exp(-(p * p.log()).sum())) if len(p) else 0.0


def stable_rank(matrix: Tensor) -> float:
    """‖A‖_F² / ‖A‖₂²: the sum of squared singular values in units of the largest."""
    s = torch.linalg.svdvals(matrix.double())
    return float((s**2).sum() / s.max() ** 2) if len(s) and float(s.max()) > 0 else 0.0


def participation_ratio(matrix: Tensor) -> float:
    """(Σ λ)²/Σ λ² of the eigenvalues λ of AᵀA."""
    gram = matrix.double().T @ matrix.double()
    squares = float((gram**2).sum())
    return float(gram.trace()) ** 2 / squares if squares > 0 else 0.0
