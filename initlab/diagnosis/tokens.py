"""Judges a transformer by what its attention and its tokens look like before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from initlab.diagnosis.rules.bounds import COLLAPSED_HEADS, RANK_COLLAPSED
from initlab.diagnosis.trainability import NOTHING_WRONG
from initlab.network.inputs import head
from initlab.probes import AttentionLayers
from initlab.spec import Outlook, ProfileRow, Trainability

#: mean cosine of two tokens from which on nothing that was trained learned (docs/transformers.md)
_ONE_TOKEN = 0.99
#: scores that such networks have at most, of 1
_LOST, _DOUBTFUL = 0.1, 0.5


@dataclass(frozen=True, kw_only=True)
class TokenLook:
    """What was measured on a few examples before training.

    Attributes:
        cosine: mean cosine of two tokens of one example behind the last block; 0 where no block hands on tokens.
        collapsed: share of the heads that look at one token.
        largest: the largest logit of attention.
    """

    cosine: float
    collapsed: float
    largest: float


def look_at_tokens(model: nn.Module, inputs: Any) -> TokenLook | None:
    """Measures `model`, which is left as it was; None where nothing in it attends."""
    return read_tokens(AttentionLayers(model, head(inputs, AttentionLayers.EXAMPLES)).rows(0))


def read_tokens(rows: Sequence[ProfileRow]) -> TokenLook | None:
    """The same from rows that were measured already."""
    found = {r.statistic: r.value for r in rows if r.site == ""}
    if "collapsed_heads" not in found:
        return None
    return TokenLook(
        cosine=found.get("token_cosine", 0.0), collapsed=found["collapsed_heads"], largest=found["logit_max"]
    )


def judge_tokens(outlook: Outlook, seen: TokenLook | None) -> Outlook:
    """The outlook of a transformer: never better than its tokens and its attention allow."""
    if seen is None:
        return outlook
    limits: list[tuple[float, Trainability, str]] = []
    if not seen.cosine <= RANK_COLLAPSED:
        text = (
            f"two tokens of one sequence have a mean cosine of {seen.cosine:.3f} behind the last block: to the head"
            " they are the same token (rank collapse)"
        )
        lost = not seen.cosine <= _ONE_TOKEN
        limits.append((_LOST, "untrainable", text) if lost else (_DOUBTFUL, "marginal", text))
    if not seen.collapsed <= COLLAPSED_HEADS:
        text = f"{seen.collapsed:.0%} of the heads look at a single token (largest logit {seen.largest:.3g}): attention"
        limits.append((_DOUBTFUL, "marginal", f"{text} is saturated, and passes almost no gradient"))
    for score, verdict, text in reversed(limits):
        worse = outlook.score > score
        outlook = replace(
            outlook,
            score=min(outlook.score, score),
            verdict=verdict if worse else outlook.verdict,
            reasons=(text, *(r for r in outlook.reasons if r != NOTHING_WRONG)),
        )
    return outlook
