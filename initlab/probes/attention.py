"""Measures transformers on a fixed batch: what each head looks at, and the stream of tokens behind each block.

In eval mode, in one forward pass of a few examples. It works on any network: attention is recognised by what it
computes, see `initlab.network.attention`. What the numbers mean: docs/transformers.md.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from initlab.network.attention import blocks_of, visible, watch_attention
from initlab.network.hooks import SMALLEST
from initlab.network.inputs import batch_size, call, cloned, tensors
from initlab.network.state import preserve_state
from initlab.spec import ProfileRow

#: a head below looks at one key (entropy collapse), above at all alike; shares of the largest entropy of a row
COLLAPSED_BELOW, UNIFORM_ABOVE = 0.1, 0.99
#: rows of attention with fewer visible keys say nothing of a head: their largest entropy is too small to share out
_KEYS = 8
#: updates after which a network is looked at within an epoch: a look costs about as much as one update
EVERY = 200
#: tokens of which cosines and rank are computed; more are thinned out evenly
_TOKENS = 256


class AttentionLayers:
    """Measures every attention and every block of `model` on the batch `inputs`; it changes nothing of the training.

    Rows of a head (site is the module that attends, `position` the head):
        logit_std: standard deviation of the logits over the keys that a token sees, mean over tokens and examples.
        logit_max: the largest logit.
        entropy: entropy of a token's weights over that of equal weights on the keys it sees, mean over the tokens that
            see at least 8. 1 looks everywhere alike, 0 at one key.
    Rows of a block (site is the block):
        stream_rms: root mean square of what the block sends on; `stream_in` of what it receives.
        token_cosine: mean cosine of two tokens of one example.
        stream_rank: effective rank of an example's tokens (Roy & Vetterli, 2007) over the largest that it can have.
        block_ratio: root mean square of what the block changes, over that of what it receives.
    and, of the whole network (site is empty): attention_entropy (mean over heads), logit_max, collapsed_heads (share
    below 0.1), token_cosine and stream_growth (of the last block: `stream_rms` over that of the first block's input).
    """

    #: number of examples; a head's means are over all of their tokens
    EXAMPLES = 8

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self._model = model
        self._inputs = inputs
        self._blocks: tuple[str, ...] | None = None
        self._attends = False

    def finds_attention(self) -> bool:
        """Whether something in the network attends: a forward pass shows it at the first call."""
        if self._blocks is None:
            names: list[str] = []
            size = batch_size(self._inputs) or 1
            with (
                preserve_state(self._model),
                torch.no_grad(),
                watch_attention(self._model.eval(), size, lambda name, _: names.append(name)),
            ):
                call(self._model, cloned(self._inputs))
            self._blocks, self._attends = tuple(b for b in blocks_of(self._model, names) if b), bool(names)
        return self._attends

    def rows_if_due(self, step: int) -> tuple[ProfileRow, ...]:
        """The measurements in the middle of an epoch: each 200 updates, nothing at others."""
        return self.rows(step) if step and step % EVERY == 0 else ()

    def rows(self, step: int) -> tuple[ProfileRow, ...]:
        """The measurements for the network after `step` updates; empty where nothing in it attends."""
        if not self.finds_attention():
            return ()
        heads: list[tuple[str, Tensor]] = []
        shapes: set[tuple[int, int]] = set()  # examples and tokens of each attention

        def read(name: str, logits: Tensor) -> None:
            shapes.add((logits.shape[0], logits.shape[2]))
            heads.append((name, measure_heads(logits)))

        with preserve_state(self._model), torch.no_grad():
            self._model.eval()
            size = batch_size(self._inputs) or 1
            with (
                watch_attention(self._model, size, read),
                _watch_blocks(self._model, self._blocks or ()) as streams,
            ):
                call(self._model, cloned(self._inputs))
            return _rows(step, heads, {name: _by_example(pair, shapes) for name, pair in streams.items()})


def measure_heads(logits: Tensor) -> Tensor:
    """(3, H): `logit_std`, `logit_max` and `entropy` of each head, from logits (B, H, T, S) with -inf where masked."""
    seen = visible(logits)
    count = seen.sum(-1)  # (B, H, T)
    plain = torch.where(seen, logits, 0.0)
    mean = plain.sum(-1) / count.clamp_min(1)
    variance = torch.where(seen, (plain - mean[..., None]).square(), 0.0).sum(-1) / count.clamp_min(1)
    std = _mean(variance.sqrt(), count >= 2)
    largest = torch.where(seen, logits, -torch.inf).amax((0, 2, 3))
    weights = torch.where(seen, logits, -torch.inf).softmax(-1)
    entropy = -torch.special.xlogy(weights, weights).sum(-1)
    least = min(_KEYS, int(count.max()))
    share = _mean(entropy / count.clamp_min(2).log(), (count >= least) & (count >= 2))
    return torch.stack([std, largest, share])


def measure_tokens(x: Tensor) -> tuple[Tensor, Tensor]:
    """`token_cosine` and `stream_rank` of (B, T, D), scalar tensors; in double precision on the CPU."""
    every = max(1, -(-x.shape[1] // _TOKENS))
    tokens = x[:, ::every].detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(tokens).all()):
        return torch.tensor(torch.nan), torch.tensor(torch.nan)
    gram = tokens @ tokens.transpose(1, 2)
    norms = gram.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
    t = tokens.shape[1]
    cosines = gram / (norms[:, :, None] * norms[:, None]).clamp_min(1e-300)
    apart = (cosines.sum((1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(1)) / max(1, t * (t - 1))
    values = torch.linalg.eigvalsh(gram).clamp_min(0)
    s = torch.where(values > 1e-12 * values.amax(-1, keepdim=True), values, 0.0).sqrt()
    p = s / s.sum(-1, keepdim=True).clamp_min(1e-300)
    rank = torch.exp(-torch.special.xlogy(p, p).sum(-1)) / min(tokens.shape[1:])
    return apart.mean(), rank.mean()


# ------------------------------------------------------------------ pieces
@contextmanager
def _watch_blocks(model: nn.Module, names: tuple[str, ...]) -> Generator[dict[str, tuple[Tensor, Tensor]]]:
    """While open, keeps what each block receives and sends on, (B, T, D) both; blocks of other shapes are left out."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def hook(name: str) -> Any:
        def keep(_module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            x, y = next(tensors((args, kwargs)), None), next(tensors(output), None)
            if x is not None and y is not None and x.shape == y.shape and x.dim() == 3:
                found[name] = (x.detach(), y.detach())

        return keep

    modules = dict(model.named_modules())
    handles = [modules[n].register_forward_hook(hook(n), with_kwargs=True) for n in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _by_example(pair: tuple[Tensor, Tensor], shapes: set[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """What a block receives and sends on as (B, T, D), also where a network keeps the tokens first."""
    first, second = pair[0].shape[:2]
    if (first, second) not in shapes and (second, first) in shapes:
        return pair[0].transpose(0, 1), pair[1].transpose(0, 1)
    return pair


def _rows(
    step: int, heads: list[tuple[str, Tensor]], streams: dict[str, tuple[Tensor, Tensor]]
) -> tuple[ProfileRow, ...]:
    found: list[ProfileRow] = []
    if heads:
        measured = torch.cat([h.T for _, h in heads]).tolist()
        places = [(name, order, head) for order, (name, h) in enumerate(heads) for head in range(h.shape[1])]
        for (name, order, head), values in zip(places, measured, strict=True):
            found += [
                ProfileRow(step=step, site=name, order=order, statistic=s, value=v, position=head)
                for s, v in zip(("logit_std", "logit_max", "entropy"), values, strict=True)
            ]
        entropies = [m[2] for m in measured]
        found += _whole(
            step,
            attention_entropy=sum(entropies) / len(entropies),
            logit_max=max(m[1] for m in measured),
            collapsed_heads=sum(e < COLLAPSED_BELOW for e in entropies) / len(entropies),
        )
    sizes: dict[str, tuple[float, float]] = {}
    last = 0.0
    for order, (name, (x, y)) in enumerate(streams.items()):
        before, after = _rms(x), _rms(y)
        change = _rms(y.float() - x.float()) / before.clamp_min(SMALLEST)
        cosine, rank = measure_tokens(y)
        values = torch.stack([v.cpu() for v in (before, after, change, cosine.float(), rank.float())]).tolist()
        names = ("stream_in", "stream_rms", "block_ratio", "token_cosine", "stream_rank")
        found += [
            ProfileRow(step=step, site=name, order=order, statistic=s, value=v)
            for s, v in zip(names, values, strict=True)
        ]
        sizes[name] = (values[0], values[1])
        last = values[3]
    if sizes:
        first, end = next(iter(sizes.values()))[0], list(sizes.values())[-1][1]
        found += _whole(step, token_cosine=last, stream_growth=end / first if first > 0 else float("inf"))
    return tuple(found)


def _whole(step: int, **values: float) -> list[ProfileRow]:
    return [ProfileRow(step=step, site="", order=-1, statistic=s, value=v) for s, v in values.items()]


def _rms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.float()) / x.numel() ** 0.5


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Mean of (B, H, T) over examples and tokens where `where` holds, by head."""
    return torch.where(where, values, 0.0).sum((0, 2)) / where.sum((0, 2)).clamp_min(1)
