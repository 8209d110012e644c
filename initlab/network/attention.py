"""Watches attention in any forward pass: the logits of each call, whoever wrote the network.

Attention is recognised by what it computes and never by a name: by torch's fused kernels, whose logits are computed
again from queries and keys, and by a softmax over a square matrix of scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from initlab.network.dispatch import KernelMode

#: called with the dotted name of the module that attends, and its logits (B, H, T, S), -inf where a token may not look
ReadLogits = Callable[[str, Tensor], None]


@contextmanager
def watch_attention(model: nn.Module, batch: int, read: ReadLogits) -> Generator[None]:
    """While open, calls `read` once for each attention of a forward pass of `model`, in its order.

    The logits are those that the softmax receives: scaled, capped where the network caps them, and masked.

    Args:
        model: any network.
        batch: examples of the pass, by which heads are told from examples where a network of its own has joined them.
        read: receives the logits, detached.
    """
    path: list[str] = [""]
    handles: list[torch.utils.hooks.RemovableHandle] = []
    heads: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            heads[name] = module.num_heads
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: path.append(name)))
        handles.append(module.register_forward_hook(lambda *_: _leave(path), always_call=True))
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it joins a whole layer in one call
    try:
        with _Watch(path, batch, heads, read):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()


def _leave(path: list[str]) -> None:
    path.pop()


class _Watch(KernelMode):
    """Sees the kernels that a pass calls, under the module that `path` ends with."""

    def __init__(self, path: list[str], batch: int, heads: dict[str, int], read: ReadLogits) -> None:
        super().__init__()
        self._path, self._batch, self._heads, self._read = path, batch, heads, read

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name.startswith("_scaled_dot_product") and "backward" not in name:
            self._see(_fused_logits(func, args, kwargs))
        elif name in ("_softmax", "_safe_softmax"):
            x, dim = args[0], args[1]
            if x.dim() >= 3 and dim % x.dim() == x.dim() - 1 and x.shape[-1] == x.shape[-2] > 1:
                self._see(x)
        return func(*args, **kwargs)

    def _see(self, logits: Tensor) -> None:
        name, before, size = self._path[-1], logits.shape[:-2].numel(), logits.shape[-2:]
        batch = self._batch if logits.dim() == 3 else logits.shape[0]
        if logits.dim() == 3 and name in self._heads:
            batch = before // self._heads[name]
        if batch and before % batch == 0:
            self._read(name, logits.detach().reshape(batch, before // batch, *size).float())


def _fused_logits(func: Any, args: Any, kwargs: Any) -> Tensor:
    """The logits (..., H, T, S) that a fused kernel computes inside, from its own arguments."""
    given = {a.name: v for a, v in zip(func._schema.arguments, args, strict=False)} | kwargs
    q, k = given["query"], given["key"]
    if k.shape[-3] != q.shape[-3]:  # grouped queries share keys
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], dim=-3)
    scale = given.get("scale")
    logits = (q @ k.transpose(-2, -1)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    mask = given.get("attn_mask", given.get("attn_bias"))
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask
    if given.get("is_causal"):
        ahead = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
        logits = logits.masked_fill(ahead, -math.inf)
    return logits


def visible(logits: Tensor) -> Tensor:
    """Where a token may look: masks are -inf, or a number so low that nothing of it is left after the softmax."""
    return logits > -1e30


def blocks_of(model: nn.Module, attentions: list[str]) -> tuple[str, ...]:
    """Names of the blocks that hold the modules `attentions`: the entries of the list or sequence they stand in.

    Where a network keeps its blocks in no list, a block is the module that holds the attention.
    """
    modules = dict(model.named_modules())
    found: dict[str, None] = {}
    for name in attentions:
        parts = name.split(".")
        block = ".".join(parts[:-1])
        for end in range(len(parts), 0, -1):
            if isinstance(modules.get(".".join(parts[: end - 1])), (nn.ModuleList, nn.Sequential)):
                block = ".".join(parts[:end])
                break
        found.setdefault(block)
    return tuple(found)
