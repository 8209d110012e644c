"""What enters the first block: mean square and Gram matrix of embedded tokens and patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The stream before the first branch.

    Attributes:
        gram: (sequences, T, T) float64.
        name: what it was computed from.
    """

    gram: Tensor
    name: str = ""


def repetition(tokens: Tensor) -> float:
    """P₂, the share of pairs of different places of one sequence that hold the same token.

    Args:
        tokens: (sequences, T) whole numbers.

    Example:
        >>> repetition(torch.tensor([[1, 1, 2, 3]])) == 1 / 6
        True
    """
    same = (tokens[:, :, None] == tokens[:, None, :]).double()
    count = tokens.shape[1]
    return float((same.sum((1, 2)) - count).mean() / (count * (count - 1))) if count > 1 else 0.0


def embedded_moments(token2: float, position2: float, repeats: float) -> tuple[float, float]:
    """(m₀, ρ₀): mean square σ_e² + σ_p², and mean cosine P₂ σ_e²/(σ_e² + σ_p²) of different tokens.

    Args:
        token2: σ_e², mean square of the table of tokens. position2: σ_p², of positions, 0 without.
        repeats: P₂, of `repetition`.
    """
    total = token2 + position2
    return total, repeats * token2 / total if total > 0 else 0.0


def token_gram(tokens: Tensor, *, token2: float, position2: float = 0.0) -> Tensor:
    """(sequences, T, T): σ_e² where two places hold the same token, and σ_p² on the diagonal."""
    same = (tokens[:, :, None] == tokens[:, None, :]).double()
    eye = torch.eye(tokens.shape[1], dtype=torch.float64)
    return token2 * same + position2 * eye


def patch_gain2(scheme: str, inputs: int, width: int) -> float:
    """Mean square of an embedded patch of n = `inputs` pixels of mean square 1, for the patch layer's usual schemes.

    ``torch``: U(±1/√n) for weights and biases, 1/3 + 1/(3n). ``xavier``: 2n/(n + D). ``lecun``: 1.
    """
    if scheme == "torch":
        return 1 / 3 + 1 / (3 * inputs)
    return 2 * inputs / (inputs + width) if scheme == "xavier" else 1.0


def patch_gram(
    patches: Tensor, *, weight2: float, bias2: float = 0.0, position2: float = 0.0, token2: float | None = None
) -> Tensor:
    """Gram matrix of linearly embedded patches, of the class token first where there is one.

    Args:
        patches: (sequences, N, n) pixels. Neighbouring patches of real images are much alike: ρ₀ is far above 0.
        weight2: mean square of a weight of the patch layer. bias2: of a bias, which all patches share.
        position2: of the positions.
        token2: of the class token; None without one.

    Returns:
        (sequences, T, T) with T = N, or N + 1.
    """
    x = patches.double()
    gram = weight2 * (x @ x.mT) + bias2
    if token2 is not None:
        joined = torch.zeros(len(x), x.shape[1] + 1, x.shape[1] + 1, dtype=torch.float64)
        joined[:, 1:, 1:] = gram
        joined[:, 0, 0] = token2
        gram = joined
    return gram + position2 * torch.eye(gram.shape[-1], dtype=torch.float64)
