"""Recurrent layers with any elementwise activation, as subclasses of nn.RNN, nn.LSTM and nn.GRU.

What torch's kernels know (tanh, relu, sigmoid) stays with them; everything else runs the plain loop of `recurrence`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from initlab.network import recurrence
from initlab.network.recurrence import RecurrentKind
from initlab.spec import Activation

GateName = Literal["sigmoid", "hardsigmoid"]


class _LoopMixin(nn.RNNBase):
    """Calls the Python loop in place of torch's kernel. `candidate` holds one φ a layer and direction."""

    candidate: nn.ModuleList

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As torch's: (B, T, F), (T, B, F), (T, F) or packed, to outputs laid out likewise and the last state."""
        if isinstance(input, PackedSequence):
            x, lengths = pad_packed_sequence(input)
            out, last = recurrence.unroll(self, x, _tuple(hx), lengths=lengths.to(x.device))
            return pack_padded_sequence(out, lengths, enforce_sorted=False), self._state(last)
        if input.dim() == 2:
            first = None if hx is None else tuple(s[:, None] for s in _tuple(hx) or ())
            out, last = recurrence.unroll(self, input[:, None], first)
            return out[:, 0], self._state(tuple(s[:, 0] for s in last))
        x = input.transpose(0, 1) if self.batch_first else input
        out, last = recurrence.unroll(self, x, _tuple(hx))
        return (out.transpose(0, 1) if self.batch_first else out), self._state(last)

    def _state(self, last: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        return last if self.mode == "LSTM" else last[0]


class LoopedRNN(_LoopMixin, nn.RNN):
    """nn.RNN with any φ in place of tanh."""


class LoopedLSTM(_LoopMixin, nn.LSTM):
    """nn.LSTM with any φ in place of both tanh, and any gate."""


class LoopedGRU(_LoopMixin, nn.GRU):
    """nn.GRU with any φ in place of tanh, and any gate."""


_FUSED: dict[RecurrentKind, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_LOOPED: dict[RecurrentKind, Callable[..., nn.RNNBase]] = {"rnn": LoopedRNN, "lstm": LoopedLSTM, "gru": LoopedGRU}
_GATES: dict[GateName, type[nn.Module]] = {"sigmoid": nn.Sigmoid, "hardsigmoid": nn.Hardsigmoid}


def recurrent_layers(
    kind: RecurrentKind,
    inputs: int,
    hidden: int,
    *,
    activations: Sequence[Activation],
    gate: GateName = "sigmoid",
    dropout: float = 0.0,
    bidirectional: bool = False,
) -> nn.RNNBase:
    """A stack of `len(activations)` recurrent layers, (B, T, inputs) → (B, T, directions · hidden).

    torch's own class where its kernel has the functions, else one of this file.

    Args:
        activations: φ of each layer.
        dropout: between layers.
    """
    names = {a.name for a in activations}
    keywords: dict[str, Any] = {
        "num_layers": len(activations),
        "batch_first": True,
        "bidirectional": bidirectional,
        # torch warns of dropout that has no place to act
        "dropout": dropout if len(activations) > 1 else 0.0,
    }
    if kind == "rnn" and names == {"relu"}:
        return nn.RNN(inputs, hidden, nonlinearity="relu", **keywords)
    if names == {"tanh"} and gate == "sigmoid":
        return _FUSED[kind](inputs, hidden, **keywords)
    module: Any = _LOOPED[kind](inputs, hidden, **keywords)
    directions = 2 if bidirectional else 1
    module.candidate = nn.ModuleList([a.make(hidden) for a in activations for _ in range(directions)])
    if gate != "sigmoid":
        module.gate = _GATES[gate]()
    return module


def _tuple(state: Any) -> tuple[Tensor, ...] | None:
    return state if state is None or isinstance(state, tuple) else (state,)
