"""How each attention of a forward pass is set up: heads, their size, the factor of the logits, what a token may see."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from initlab.network.attention import visible, watch_attention
from initlab.network.inputs import batch_size, call, cloned


@dataclass(frozen=True, kw_only=True)
class AttentionCall:
    """One attention of a forward pass.

    Attributes:
        module: dotted name of the module that attends.
        heads: how many.
        tokens: length of a sequence.
        causal: True where each token sees itself and those before it, False where it sees all, None for other masks.
        scale: factor of the logits where torch's function applies it, else None.
        head: features of a head where torch's function sees them, else 0.
        biased: whether numbers other than a mask's are added to the logits, as far as torch's function shows.
    """

    module: str
    heads: int
    tokens: int
    causal: bool | None
    scale: float | None = None
    head: int = 0
    biased: bool = False


def attention_calls(model: nn.Module, inputs: Any) -> tuple[AttentionCall, ...]:
    """Every self-attention of one forward pass of `model` in its present mode, in its order."""
    found: list[AttentionCall] = []
    scaled: list[tuple[float, int, bool]] = []

    def read(name: str, logits: Tensor) -> None:
        seen = visible(logits)
        full = bool(seen.all())
        triangle = torch.ones(logits.shape[-2:], dtype=torch.bool, device=seen.device).tril()
        causal = True if bool((seen == triangle).all()) else False if full else None
        scale, head, biased = scaled.pop() if scaled else (None, 0, False)
        found.append(
            AttentionCall(
                module=name,
                heads=logits.shape[1],
                tokens=logits.shape[-1],
                causal=causal,
                scale=scale,
                head=head,
                biased=biased,
            )
        )

    with torch.no_grad(), watch_attention(model, batch_size(inputs) or 1, read), _scales(scaled):
        call(model, cloned(inputs))
    return tuple(found)


@contextmanager
def _scales(into: list[tuple[float, int, bool]]) -> Generator[None]:
    with _Scales(into):
        yield


@dataclass
class _Scales(TorchFunctionMode):
    """Notes the factor and head size of a fused attention before its kernel is called."""

    into: list[tuple[float, int, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention:
            head = (args[0] if args else kwargs["query"]).shape[-1]
            scale = kwargs.get("scale")
            mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
            self.into[:] = [(head**-0.5 if scale is None else float(scale), head, _biases(mask))]
        return func(*args, **kwargs)


def _biases(mask: Any) -> bool:
    """Whether an additive mask does more than to hide: ALiBi's slopes, relative positions."""
    if not isinstance(mask, Tensor) or not mask.is_floating_point():
        return False
    open_ = mask[mask > -1e4]
    return bool(open_.numel()) and bool((open_ != 0).any())
