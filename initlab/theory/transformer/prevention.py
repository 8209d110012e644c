"""What a collapse that is predicted means, and how much less of a branch or of the logits prevents it, in sentences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from initlab.spec import BlockForecast
from initlab.spec.stream import ENTROPY_COLLAPSE, RANK_COLLAPSE
from initlab.theory.transformer.collapse import Angle, angle
from initlab.theory.transformer.gram import elementwise, recursion
from initlab.theory.transformer.kernels import KernelRangeError
from initlab.theory.transformer.network import NO_NORM, Attention, Perceptron, Stream

#: bisections of a factor between 1e-3 and 1, and what each of them is computed with
_STEPS, _LEAST, _TOKENS, _DRAWS = 9, 1e-3, 64, 4
#: a factor nearer to 1 is within the scatter of draws
_WORTH = 0.9


def sentences(stream: Stream, start: Tensor, blocks: tuple[BlockForecast, ...]) -> tuple[str, ...]:
    """What follows from the forecast of a network that theory covers.

    Args:
        stream, start: that the forecast is of; `start` (sequences, T, T).
        blocks: the forecast, the start of the stream first.
    """
    return (*_rank(stream, start, blocks), *_entropy(stream, start, blocks))


def _rank(stream: Stream, start: Tensor, blocks: tuple[BlockForecast, ...]) -> list[str]:
    count = len(blocks) - 1
    if not blocks[-1].cosine > RANK_COLLAPSE:
        return []
    first = next(i for i, b in enumerate(blocks) if b.cosine > RANK_COLLAPSE)
    if first == 0:
        return [f"the tokens are alike before the first block (mean cosine {blocks[0].cosine:.2f}): they do not differ"]
    found = [
        f"rank collapse predicted: the tokens' mean cosine passes {RANK_COLLAPSE} behind block {first} of {count} and"
        f" is {_near_one(blocks[-1].cosine)} behind the last"
    ]
    limit = branch_limit(stream, start)
    if limit is not None and limit < _WORTH:
        found.append(
            f"a residual strength of at least {1 / limit:.2g} times the present one prevents it at this depth: every"
            f" branch times {limit:.2g} or less"
        )
    near = post_norm_angle(stream)
    if near is not None and near.critical < math.inf:
        found.append(
            f"post-norm: 1 - cosine changes by a factor {math.exp(near.exponent):.2g} a block; a skip around attention"
            f" of at least a_c = {near.critical:.2f} times its branch prevents collapse at any depth"
        )
    elif near is not None:
        found.append(
            f"post-norm: 1 - cosine changes by a factor {math.exp(near.exponent):.2g} a block; with this activation at"
            " this scale no residual strength prevents collapse at any depth"
        )
    return found


def _entropy(stream: Stream, start: Tensor, blocks: tuple[BlockForecast, ...]) -> list[str]:
    low = [(b.entropy_ratio, i, b.logit_std) for i, b in enumerate(blocks) if b.entropy_ratio < ENTROPY_COLLAPSE]
    if not low:
        return []
    ratio, block, std = min(low)
    found = [
        f"attention is saturated before training (entropy collapse predicted): in block {block} its entropy is"
        f" {ratio:.2f} of the largest possible, the logits' standard deviation {std:.3g}"
    ]
    limit = logit_limit(stream, start)
    if limit is not None and limit < _WORTH:
        found.append(f"logits times {limit:.2g} or less hold every block above {ENTROPY_COLLAPSE}")
    return found


def branch_limit(stream: Stream, start: Tensor, *, cosine: float = RANK_COLLAPSE) -> float | None:
    """The largest number up to 1 by which every branch may be multiplied so that the last mean cosine stays below.

    None where even a thousandth does not hold it.
    """

    def holds(factor: float) -> bool:
        changed = replace(
            stream, branches=tuple(replace(b, factor2=b.factor2 * factor**2) for b in stream.branches)
        )  # fmt: skip
        return _states(changed, start)[-1] <= cosine

    return _largest(holds)


def logit_limit(stream: Stream, start: Tensor, *, ratio: float = ENTROPY_COLLAPSE) -> float | None:
    """The largest number up to 1 by which all logits may be multiplied so that no block's entropy ratio is below."""

    def holds(factor: float) -> bool:
        changed = tuple(
            replace(b, inner=replace(b.inner, scale=b.inner.scale * factor)) if isinstance(b.inner, Attention) else b
            for b in stream.branches
        )
        found = _entropies(replace(stream, branches=changed), start)
        return min(found, default=1.0) >= ratio

    return _largest(holds)


def _largest(holds: Callable[[float], bool]) -> float | None:
    """The largest factor in [1e-3, 1] for which `holds`, which is taken to hold below it, by bisection of its log."""
    if holds(1.0):
        return 1.0
    if not holds(_LEAST):
        return None
    low, high = math.log(_LEAST), 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(math.exp(middle)) else (low, middle)
    return math.exp(low)


def _states(stream: Stream, start: Tensor) -> tuple[float, ...]:
    try:
        found = recursion(stream, start[:1, :_TOKENS, :_TOKENS], draws=_DRAWS, backward=False)
    except KernelRangeError:
        return (1.0,)
    return tuple(s.cosine for s in found)


def _entropies(stream: Stream, start: Tensor) -> tuple[float, ...]:
    try:
        found = recursion(stream, start[:1, :_TOKENS, :_TOKENS], draws=_DRAWS, backward=False)
    except KernelRangeError:
        return (0.0,)
    return tuple(s.entropy_ratio for s in found if not math.isnan(s.entropy_ratio))


def post_norm_angle(stream: Stream) -> Angle | None:
    """Exponents of the block in the middle, of a post-norm stream of full attention and elementwise activations.

    None for any other: with a causal mask the first token is never mixed, and GLUs have no such closed form here.
    """
    pairs = list(zip(stream.branches[::2], stream.branches[1::2], strict=False))
    if not pairs:
        return None
    attention, perceptron = pairs[len(pairs) // 2]
    a, p = attention.inner, perceptron.inner
    norms = all(b.after.kind in ("layer", "rms") and b.before == NO_NORM and b.end == NO_NORM for b in stream.branches)
    if not norms or not isinstance(a, Attention) or not isinstance(p, Perceptron) or a.causal or p.activation.gate:
        return None
    return angle(
        elementwise(p.activation), in2=p.in2, out2=p.out2 * perceptron.factor2,
        value_gain2=a.v2 * a.o2 * attention.factor2, skip2=attention.kept2, mlp_skip2=perceptron.kept2,
    )  # fmt: skip


def _near_one(cosine: float) -> str:
    return f"{cosine:.3f}" if cosine < 0.9995 else f"1 - {1 - cosine:.1g}" if cosine < 1 else "1"
