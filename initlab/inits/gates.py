"""Computes the gate pre-activations of a recurrent layer: W_ih x_t + b_ih + W_hh h_{t-1} + b_hh.

For a GRU that is also said of its gate n, whose state term is then multiplied by the reset gate r.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from initlab.network import recurrence

#: called for each layer and direction with its suffix (``_l0``, ``_l0_reverse``) and a function that measures anew
GateVisitor = Callable[[str, Callable[[], Tensor]], None]


def gate_inputs(module: nn.RNNBase, inputs: Tensor | PackedSequence) -> dict[str, Tensor]:
    """Suffix of a layer and direction (``_l0``, ``_l0_reverse``) → its pre-activations, (steps, gates · hidden).

    Args:
        inputs: what the module is called with; the state starts as zero. Steps of padding are left out.
    """
    found: dict[str, Tensor] = {}

    def look(suffix: str, measure: Callable[[], Tensor]) -> None:
        found[suffix] = measure()

    visit_gates(module, inputs, look)
    return found


def visit_gates(module: nn.RNNBase, inputs: Tensor | PackedSequence, look: GateVisitor) -> None:
    """Visits the layers of `module` in order; a change that `visit` makes in one affects the next."""
    x, valid = _steps_first(module, inputs)
    directions = 2 if module.bidirectional else 1
    outputs: list[Tensor] = []
    for layer in recurrence.layers(module):
        seen, mask = (x.flip(0), valid.flip(0)) if layer.reverse else (x, valid)
        # turned round already: what is left to do is to go on
        onwards = replace(layer, reverse=False)

        def measure(seen: Tensor = seen, mask: Tensor = mask, layer: recurrence.Layer = onwards) -> Tensor:
            h, _ = recurrence.run_layer(layer, seen)
            before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
            a = seen @ layer.w_ih.T + before @ layer.w_hh.T
            return (a if layer.b_ih is None or layer.b_hh is None else a + layer.b_ih + layer.b_hh)[mask]

        look(layer.suffix, measure)
        h, _ = recurrence.run_layer(onwards, seen)
        outputs.append(h.flip(0) if layer.reverse else h)
        if len(outputs) == directions:
            x, outputs = torch.cat(outputs, dim=-1), []


def _steps_first(module: nn.RNNBase, inputs: Tensor | PackedSequence) -> tuple[Tensor, Tensor]:
    """Inputs (T, B, N), and which of their steps are no padding (T, B)."""
    if isinstance(inputs, PackedSequence):
        x, lengths = pad_packed_sequence(inputs)
        return x, torch.arange(x.shape[0])[:, None].to(x.device) < lengths[None].to(x.device)
    x = inputs[:, None] if inputs.dim() == 2 else inputs.transpose(0, 1) if module.batch_first else inputs
    return x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
