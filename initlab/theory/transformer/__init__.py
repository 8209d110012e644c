"""Theory of transformer blocks before training: moments of their parts, the Gram recursion, collapse of rank."""

from initlab.spec.stream import ENTROPY_COLLAPSE, RANK_COLLAPSE
from initlab.theory.transformer.collapse import Angle, angle, attention_only, attention_only_limit
from initlab.theory.transformer.embedding import embedded_moments, patch_gram, repetition, token_gram
from initlab.theory.transformer.gram import StreamState, mean_cosine, recursion
from initlab.theory.transformer.kernels import KernelRangeError
from initlab.theory.transformer.logits import Row, critical_beta, output_second_moment, small_row, softmax_row
from initlab.theory.transformer.network import NO_NORM, Attention, Branch, Norm, Perceptron, Stream, uniform

__all__ = [
    "ENTROPY_COLLAPSE",
    "NO_NORM",
    "RANK_COLLAPSE",
    "Angle",
    "Attention",
    "Branch",
    "KernelRangeError",
    "Norm",
    "Perceptron",
    "Row",
    "Stream",
    "StreamState",
    "angle",
    "attention_only",
    "attention_only_limit",
    "critical_beta",
    "embedded_moments",
    "mean_cosine",
    "output_second_moment",
    "patch_gram",
    "recursion",
    "repetition",
    "small_row",
    "softmax_row",
    "token_gram",
    "uniform",
]
