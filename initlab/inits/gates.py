"""What the gates of a recurrent layer receive: the pre-activations W_ih x_t + b_ih + W_hh h_{t-1} + b_hh.

For a GRU that is also said of its gate n, whose state term is then multiplied by the reset gate r.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

#: called for each layer and direction with its suffix (``_l0``, ``_l0_reverse``) and a function that measures anew
Look = Callable[[str, Callable[[], Tensor]], None]


def gate_inputs(module: nn.RNNBase, inputs: Tensor | PackedSequence) -> dict[str, Tensor]:
    """Suffix of a layer and direction (``_l0``, ``_l0_reverse``) → its pre-activations, (steps, gates · hidden).

    Args:
        inputs: what the module is called with; the state starts as zero. Steps of padding are left out.
    """
    found: dict[str, Tensor] = {}

    def look(suffix: str, measure: Callable[[], Tensor]) -> None:
        found[suffix] = measure()

    walk(module, inputs, look)
    return found


def walk(module: nn.RNNBase, inputs: Tensor | PackedSequence, look: Look) -> None:
    """Go through the layers of `module` in order; what `look` changes in one is felt by the next."""
    x, valid = _steps_first(module, inputs)
    for layer in range(module.num_layers):
        outputs: list[Tensor] = []
        for suffix in (f"_l{layer}", f"_l{layer}_reverse")[: 2 if module.bidirectional else 1]:
            backwards = suffix.endswith("_reverse")
            seen, mask = (x.flip(0), valid.flip(0)) if backwards else (x, valid)

            def measure(seen: Tensor = seen, mask: Tensor = mask, suffix: str = suffix) -> Tensor:
                h = _run(module, seen, suffix)
                before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
                w_ih, w_hh, *rest = _parameters(module, suffix)
                a = seen @ w_ih.T + before @ w_hh.T
                return (a + sum(rest[:2]) if module.bias else a)[mask]

            look(suffix, measure)
            h = _run(module, seen, suffix)
            outputs.append(h.flip(0) if backwards else h)
        x = torch.cat(outputs, dim=-1)


def _steps_first(module: nn.RNNBase, inputs: Tensor | PackedSequence) -> tuple[Tensor, Tensor]:
    """Inputs (T, B, N), and which of their steps are no padding (T, B)."""
    if isinstance(inputs, PackedSequence):
        x, lengths = pad_packed_sequence(inputs)
        return x, torch.arange(x.shape[0])[:, None].to(x.device) < lengths[None].to(x.device)
    x = inputs[:, None] if inputs.dim() == 2 else inputs.transpose(0, 1) if module.batch_first else inputs
    return x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)


def _parameters(module: nn.RNNBase, suffix: str) -> list[Tensor]:
    names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if module.bias else [])]
    if module.proj_size:
        names.append("weight_hr")
    return [getattr(module, name + suffix) for name in names]


def _run(module: nn.RNNBase, x: Tensor, suffix: str) -> Tensor:
    """The outputs of one layer in one direction, (T, B, hidden or projection), from a state of zeros."""
    h = x.new_zeros(1, x.shape[1], module.proj_size or module.hidden_size)
    c = x.new_zeros(1, x.shape[1], module.hidden_size)
    mode = module.mode.lower()
    function: Any = getattr(torch, mode)
    state: Any = (h, c) if mode == "lstm" else h
    # bias, layers, dropout, training, bidirectional, batch_first
    return function(x, state, _parameters(module, suffix), module.bias, 1, 0.0, False, False, False)[0]
