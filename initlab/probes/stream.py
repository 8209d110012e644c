"""Measures the residual stream behind each block: size, cosine of tokens, gradient, and what attention looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from initlab.network.attention import blocks_of, watch_attention
from initlab.network.inputs import batch_size, call, cloned, tensors
from initlab.network.state import preserve_state
from initlab.probes.attention import measure_heads, measure_tokens


@dataclass(frozen=True, kw_only=True)
class StreamLook:
    """The stream of a batch before the first block and behind each.

    Attributes:
        blocks: names of the blocks.
        mean_square, cosine, gradient: at the start and behind each block; the gradient's mean square over that at the
            end. NaN where no loss was given.
        entropy_ratio, logit_std: of each block's attention, mean over heads; NaN for a block without.
        start: (B, T, T) Gram matrices of the tokens that enter the first block, over the width.
        radial: share of the squared gradient behind the last block that lies along the tokens; 0 without a loss.
        end: (B, T, T) of the gradient behind the last block, to a mean of 1 on the diagonal; None without a loss.
    """

    blocks: tuple[str, ...]
    mean_square: tuple[float, ...]
    cosine: tuple[float, ...]
    gradient: tuple[float, ...]
    entropy_ratio: tuple[float, ...]
    logit_std: tuple[float, ...]
    start: Tensor
    end: Tensor | None
    radial: float = 0.0


def look_at_stream(
    model: nn.Module, inputs: Any, *, loss: Callable[[Any], Tensor] | None = None, upper: Tensor | None = None
) -> StreamLook | None:
    """One forward and backward pass in eval mode; None where no blocks with attention hand on tokens (B, T, D).

    Args:
        loss: of what the network returns.
        upper: instead, the gradient behind the last block, (B, T, D).
    """
    heads: list[tuple[str, Tensor]] = []
    shape: list[tuple[int, int]] = []

    def read(name: str, logits: Tensor) -> None:
        heads.append((name, measure_heads(logits)))
        shape.append((logits.shape[0], logits.shape[-1]))

    size = batch_size(inputs) or 1
    with preserve_state(model):
        model.eval()
        with torch.no_grad(), watch_attention(model, size, read):
            call(model, cloned(inputs))
        blocks = tuple(b for b in blocks_of(model, [n for n, _ in heads]) if b)
        if not blocks:
            return None
        with _Streams(model, blocks) as found, torch.enable_grad():
            output = call(model, cloned(inputs))
            streams = found.streams()
            if streams is None or len(blocks) != len(streams) - 1:
                return None
            grads = _gradients(streams, upper=upper, value=None if loss is None else loss(output))
    turned = shape[0] != tuple(streams[0].shape[:2]) and shape[0] == tuple(streams[0].shape[1::-1])
    tokens = [_by_example(s.detach(), turned=turned) for s in streams]
    by_block = [[h.mean(1) for n, h in heads if n == b or n.startswith(f"{b}.")] for b in blocks]
    seen = [torch.stack(m).mean(0).tolist() if m else [float("nan")] * 3 for m in by_block]
    sizes = [float("nan")] * len(streams)
    end, radial = None, 0.0
    if grads is not None:
        squares = [0.0 if g is None else float(g.double().square().mean()) for g in grads]
        last = grads[-1]
        if last is not None and squares[-1] > 0:
            sizes = [s / squares[-1] for s in squares]
            end = _gram(_by_example(last, turned=turned)) / squares[-1]
            x, g = streams[-1].detach().double(), last.double()
            along = (x * g).sum(-1).square() / x.square().sum(-1).clamp_min(1e-300)
            radial = float(along.sum() / g.square().sum())
    return StreamLook(
        blocks=blocks, mean_square=tuple(float(t.double().square().mean()) for t in tokens),
        cosine=tuple(float(measure_tokens(t)[0]) for t in tokens), gradient=tuple(sizes),
        entropy_ratio=tuple(m[2] for m in seen), logit_std=tuple(m[0] for m in seen), start=_gram(tokens[0]), end=end,
        radial=radial,
    )  # fmt: skip


def _gradients(
    streams: list[Tensor], *, upper: Tensor | None, value: Tensor | None
) -> tuple[Tensor | None, ...] | None:
    if upper is not None:
        return torch.autograd.grad(streams[-1], streams, upper, allow_unused=True)
    return None if value is None else torch.autograd.grad(value, streams, allow_unused=True)


def _gram(x: Tensor) -> Tensor:
    wide = x.detach().to("cpu", torch.float64)
    return wide @ wide.mT / x.shape[-1]


def _by_example(x: Tensor, *, turned: bool) -> Tensor:
    return x.transpose(0, 1) if turned else x


class _Streams:
    """While open, keeps what the first block receives and what each block sends on, within the graph of gradients."""

    def __init__(self, model: nn.Module, blocks: tuple[str, ...]) -> None:
        self._modules = dict(model.named_modules())
        self._blocks = blocks
        self._found: dict[str, Tensor] = {}
        self._first: Tensor | None = None
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> _Streams:
        def before(_module: nn.Module, args: Any, kwargs: Any) -> Any:
            x = next(tensors((args, kwargs)), None)
            if x is None or self._first is not None or not x.is_floating_point():
                return None
            # parameters that ask for no gradient leave a stream without one
            self._first = x if x.requires_grad else x.detach().requires_grad_()
            if self._first is x:
                return None
            return _exchanged(args, x, self._first), _exchanged(kwargs, x, self._first)

        def after(name: str) -> Any:
            def keep(_module: nn.Module, _args: Any, output: Any) -> None:
                y = next(tensors(output), None)
                if y is not None:
                    self._found[name] = y

            return keep

        first = self._modules[self._blocks[0]]
        self._handles.append(first.register_forward_pre_hook(before, with_kwargs=True))
        self._handles += [self._modules[b].register_forward_hook(after(b)) for b in self._blocks]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def streams(self) -> list[Tensor] | None:
        """The start and what each block sent; None where their shapes are not those of tokens."""
        if self._first is None or set(self._found) != set(self._blocks):
            return None
        streams = [self._first, *(self._found[b] for b in self._blocks)]
        alike = all(s.dim() == 3 and s.shape == self._first.shape for s in streams)
        return streams if alike else None


def _exchanged(values: Any, old: Tensor, new: Tensor) -> Any:
    if isinstance(values, dict):
        return {k: new if v is old else v for k, v in values.items()}
    return tuple(new if v is old else v for v in values)
