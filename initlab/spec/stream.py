"""Types of what is predicted of a residual stream, block by block."""

from __future__ import annotations

from dataclasses import dataclass

#: mean cosine of two tokens at the last block from which a stream is called collapsed
RANK_COLLAPSE = 0.95
#: entropy over its maximum, mean over rows and heads of the most collapsed block, below which attention is saturated
ENTROPY_COLLAPSE = 0.1


@dataclass(frozen=True, kw_only=True)
class BlockForecast:
    """The stream behind a block, before training.

    Attributes:
        block: its name; empty for the start of the stream.
        mean_square: E x² of a feature.
        cosine: mean over pairs of different tokens.
        gradient: E g² of a feature over that behind the last block.
        entropy_ratio: of its attention, entropy over its maximum, mean over rows that see 8 keys or more.
        logit_std: of its attention's logits.
        claimed: whether theory vouches for these numbers; `StreamForecast.unknown` says why not.
        gradient_claimed: whether for the gradient as well.
    """

    block: str
    mean_square: float
    cosine: float
    gradient: float
    entropy_ratio: float
    logit_std: float
    claimed: bool = True
    gradient_claimed: bool = True


@dataclass(frozen=True, kw_only=True)
class StreamForecast:
    """What theory says of a transformer's stream.

    Attributes:
        blocks: the start of the stream, then one for each block.
        unknown: what theory cannot give, by name.
        sentences: what follows: collapse of rank, saturated attention, the residual strength that would prevent it.
    """

    blocks: tuple[BlockForecast, ...]
    unknown: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
