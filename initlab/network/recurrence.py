"""Step-by-step computation of nn.RNN, nn.LSTM and nn.GRU, with any elementwise functions.

torch's own kernels know tanh, relu and sigmoid, and show neither the states between the steps nor what the gates
receive. Here is the same arithmetic step by step, differentiable any number of times, with any elementwise function.

A module may name its functions: `candidate` is the φ that squashes what is new (tanh in all three), `gate` the one that
opens and closes (sigmoid). Where it has no such attribute, both are torch's; a ModuleList has one for each of `layers`.

    RNN    h' = φ(W_ih x + b_ih + W_hh h + b_hh)
    LSTM   c' = γ(f) c + γ(i) φ(g),   h' = γ(o) φ(c'),   i, f, g, o each as the argument of φ above
    GRU    h' = (1 - γ(z)) φ(n) + γ(z) h,   n = W_in x + b_in + γ(r) (W_hn h + b_hn)

Elman, Cognitive Science, 1990; Hochreiter & Schmidhuber, Neural Computation, 1997, with the forget gate of Gers,
Schmidhuber & Cummins, 2000; Cho et al., EMNLP 2014, with the reset gate behind the product, as cuDNN and torch have it.
T is steps, B batch, F features, H units of the state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RecurrentKind = Literal["rnn", "lstm", "gru"]
Elementwise = Callable[[Tensor], Tensor]

#: names of the gates in torch's stacked parameters, top block first (torch.nn.LSTM and torch.nn.GRU, "Variables")
GATES: dict[RecurrentKind, tuple[str, ...]] = {"rnn": ("",), "lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Parameters of one layer in one direction.

    Attributes:
        suffix: of its parameters' names: ``_l0``, ``_l1_reverse``.
        reverse: whether it reads its sequence from the end.
        w_ih: (gates · H, F), the gates in the order of `GATES`.
        w_hh: (gates · H, H), or (gates · H, P) where the state is projected.
        b_ih: (gates · H,), None where the layer has no biases; likewise `b_hh`.
        w_hr: (P, H), the projection of an LSTM's output; None where there is none.
        candidate: φ.
        gate: γ.
    """

    kind: RecurrentKind
    suffix: str
    reverse: bool
    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor | None
    b_hh: Tensor | None
    w_hr: Tensor | None
    candidate: Elementwise
    gate: Elementwise

    @property
    def hidden_size(self) -> int:
        return int(self.w_hh.shape[0]) // len(GATES[self.kind])

    def zeros(self, batch: int) -> tuple[Tensor, ...]:
        """The state before the first step, (h,) or (h, c), each (batch, H)."""
        h = self.w_hh.new_zeros(batch, self.w_hh.shape[1])
        return (h, self.w_hh.new_zeros(batch, self.hidden_size)) if self.kind == "lstm" else (h,)


def kind_of(module: nn.RNNBase) -> RecurrentKind:
    """Type of a recurrent module: rnn, lstm or gru."""
    return "lstm" if module.mode == "LSTM" else "gru" if module.mode == "GRU" else "rnn"


def layers(module: nn.RNNBase) -> tuple[Layer, ...]:
    """The layers of `module` in the order torch stacks their states: ``_l0``, ``_l0_reverse``, ``_l1``, ...

    They hold the parameters themselves, no copies.
    """
    relu = module.mode == "RNN_RELU"
    squash: Elementwise = torch.relu if relu else torch.tanh
    directions = ("", "_reverse") if module.bidirectional else ("",)
    return tuple(
        Layer(
            kind=kind_of(module),
            suffix=f"_l{index}{direction}",
            reverse=bool(direction),
            w_ih=getattr(module, f"weight_ih_l{index}{direction}"),
            w_hh=getattr(module, f"weight_hh_l{index}{direction}"),
            b_ih=getattr(module, f"bias_ih_l{index}{direction}") if module.bias else None,
            b_hh=getattr(module, f"bias_hh_l{index}{direction}") if module.bias else None,
            w_hr=getattr(module, f"weight_hr_l{index}{direction}") if module.proj_size else None,
            candidate=_function(module, "candidate", squash, index * len(directions) + bool(direction)),
            gate=_function(module, "gate", torch.sigmoid, index * len(directions) + bool(direction)),
        )
        for index in range(module.num_layers)
        for direction in directions
    )


def project(layer: Layer, x: Tensor) -> Tensor:
    """Projects the inputs (T, B, F) to the gates, for all steps in one product: (T, B, gates · H).

    Both biases are in it, save the b_hn of a GRU, which its reset gate multiplies.
    """
    bias = layer.b_ih
    if bias is not None and layer.b_hh is not None:
        state_bias = layer.b_hh
        if layer.kind == "gru":
            h = layer.hidden_size
            state_bias = torch.cat([state_bias[: 2 * h], torch.zeros_like(state_bias[2 * h :])])
        bias = bias + state_bias
    return F.linear(x, layer.w_ih, bias)


def step(layer: Layer, projected: Tensor, state: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """One step of time.

    Args:
        layer: of `layers`.
        projected: (B, gates · H), one step of `project`.
        state: (h,), of an LSTM (h, c).

    Returns:
        The new state, and what each gate receives, (B, H) by its name: ``i f g o``, ``r z n``, or the empty name for
        the pre-activation of a plain RNN.
    """
    if layer.kind == "rnn":
        a = torch.addmm(projected, state[0], layer.w_hh.t())
        return (layer.candidate(a),), {"": a}
    return _lstm(layer, projected, state) if layer.kind == "lstm" else _gru(layer, projected, state)


def run_layer(
    layer: Layer, x: Tensor, state: tuple[Tensor, ...] | None = None, *, lengths: Tensor | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Runs one layer in its direction over all steps.

    Args:
        layer: of `layers`.
        x: (T, B, F), in the order of time, also for a layer that reads in reverse.
        state: before its first step; None is zeros.
        lengths: (B,) int64: how many steps of each sequence are no padding; None is all.

    Returns:
        Outputs (T, B, H), zero on padding, and the state after the last step that is none.
    """
    order = _reverse_index(x, lengths) if layer.reverse else None
    seen = x if order is None else x.gather(0, order[:, :, None].expand_as(x))
    state = layer.zeros(x.shape[1]) if state is None else state
    valid = None if lengths is None else torch.arange(len(x), device=x.device)[:, None] < lengths
    outputs: list[Tensor] = []
    for t, projected in enumerate(project(layer, seen).unbind(0)):
        new, _ = step(layer, projected, state)
        if valid is not None:
            new = tuple(torch.where(valid[t, :, None], a, b) for a, b in zip(new, state, strict=True))
        state = new
        outputs.append(state[0])
    out = torch.stack(outputs)
    if order is not None:
        out = out.gather(0, order[:, :, None].expand_as(out))
    return (out if valid is None else out * valid[:, :, None]), state


def unroll(
    module: nn.RNNBase, x: Tensor, state: tuple[Tensor, ...] | None = None, *, lengths: Tensor | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Computes the output of `module` by a plain loop over steps.

    Args:
        module: its functions may be any; dropout between layers follows its mode.
        x: (T, B, F), whatever `module.batch_first` says.
        state: (h,) or (h, c), each (layers · directions, B, H); None is zeros.
        lengths: see `along`.

    Returns:
        Outputs (T, B, directions · H) of the last layer, and the last states, laid out as `state`.
    """
    stacked = layers(module)
    directions = 2 if module.bidirectional else 1
    last: list[tuple[Tensor, ...]] = []
    for index in range(module.num_layers):
        outputs: list[Tensor] = []
        for layer in stacked[index * directions : (index + 1) * directions]:
            first = None if state is None else tuple(s[len(last)] for s in state)
            out, end = run_layer(layer, x, first, lengths=lengths)
            outputs.append(out)
            last.append(end)
        x = outputs[0] if directions == 1 else torch.cat(outputs, dim=-1)
        if module.dropout and module.training and index < module.num_layers - 1:
            x = F.dropout(x, module.dropout)
    return x, tuple(torch.stack(s) for s in zip(*last, strict=True))


# ------------------------------------------------------------------ pieces
def _function(module: nn.RNNBase, name: str, default: Elementwise, index: int) -> Elementwise:
    found: Any = getattr(module, name, None)
    if found is None:
        return default
    if isinstance(found, nn.ModuleList):
        found = found[index]
    # past the hooks: whoever watches activations from outside would otherwise see one a step, and none of torch's own
    return found.forward if isinstance(found, nn.Module) else found


def _lstm(layer: Layer, projected: Tensor, state: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    h, c = state
    i, f, g, o = torch.addmm(projected, h, layer.w_hh.t()).chunk(4, dim=1)
    c = torch.addcmul(layer.gate(f) * c, layer.gate(i), layer.candidate(g))
    h = layer.gate(o) * layer.candidate(c)
    if layer.w_hr is not None:
        h = F.linear(h, layer.w_hr)
    return (h, c), {"i": i, "f": f, "g": g, "o": o}


def _gru(layer: Layer, projected: Tensor, state: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    (h,) = state
    size = layer.hidden_size
    input_rz, input_n = projected.split([2 * size, size], dim=1)
    state_rz, state_n = (h @ layer.w_hh.t()).split([2 * size, size], dim=1)
    rz = input_rz + state_rz
    r, z = rz.chunk(2, dim=1)
    open_r, open_z = layer.gate(rz).chunk(2, dim=1)
    if layer.b_hh is not None:
        state_n = state_n + layer.b_hh[2 * size :]
    n = torch.addcmul(input_n, open_r, state_n)
    new = layer.candidate(n)
    # no lerp: in mixed precision h may be wider than what the gates give
    return (torch.addcmul(new, open_z, h - new),), {"r": r, "z": z, "n": n}


def _reverse_index(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(T, B) int64: indices that reverse the steps of each sequence and leave its padding last."""
    t = torch.arange(len(x), device=x.device)[:, None]
    ends = torch.full((x.shape[1],), len(x), device=x.device) if lengths is None else lengths
    return torch.where(t < ends, ends - 1 - t, t)
