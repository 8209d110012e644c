"""Cost of recurrent layers with any activation against torch's kernels: ratios, in one process and one thread.

    python benchmarks/recurrent.py [repetitions]

Each repetition runs every variant once, in turn, so that a slow minute of the machine hits all of them. Reported is the
median over repetitions of (variant / bare), for one forward and backward pass of the whole layer.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from initlab import activations
from initlab.models.recurrent import gru, lstm, rnn
from initlab.models.recurrent.cells import recurrent_layers
from initlab.network.recurrence import RecurrentKind
from initlab.spec import IO

HIDDEN, STEPS, BATCH = 128, 64, 64
BARE: dict[str, tuple[Callable[..., nn.RNNBase], RecurrentKind, dict[str, str]]] = {
    "nn.RNN(tanh)": (nn.RNN, "rnn", {}),
    "nn.RNN(relu)": (nn.RNN, "rnn", {"nonlinearity": "relu"}),
    "nn.LSTM": (nn.LSTM, "lstm", {}),
    "nn.GRU": (nn.GRU, "gru", {}),
}
LOOPED = ("softsign", "gelu", "silu", "elu", "hardtanh", "mish", "prelu")


def passes(module: nn.Module, x: Tensor) -> Callable[[], None]:
    def work() -> None:
        module.zero_grad(set_to_none=True)
        output = module(x)
        (output[0] if isinstance(output, tuple) else output).sum().backward()

    return work


def ratios(bare: Callable[[], None], variants: dict[str, Callable[[], None]], repetitions: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in ("bare", *variants)}
    for repetition in range(repetitions + 3):
        for name, work in {"bare": bare, **variants}.items():
            start = time.perf_counter()
            work()
            if repetition >= 3:  # the first passes warm up kernels and memory
                times[name].append(time.perf_counter() - start)
    print(f"    bare{'':<22} {1000 * statistics.median(times['bare']):7.2f} ms")
    for name in variants:
        found = statistics.median(t / b for t, b in zip(times[name], times["bare"], strict=True))
        print(f"    {name:<26} {found:7.2f} x")


def layers(repetitions: int) -> None:
    """A layer of ours against torch's with the same shapes."""
    for name, (make, kind, keywords) in BARE.items():
        torch.manual_seed(0)
        x = torch.randn(BATCH, STEPS, HIDDEN)
        fused = keywords.get("nonlinearity", "tanh")

        def ours(activation: str, kind: RecurrentKind = kind) -> Any:
            return recurrent_layers(kind, HIDDEN, HIDDEN, activations=[activations.parse_activation(activation)])

        variants = {activation: passes(ours(activation), x) for activation in (fused, *LOOPED)}
        print(f"  {name}, {HIDDEN} units, {STEPS} steps, batch {BATCH}")
        ratios(passes(make(HIDDEN, HIDDEN, batch_first=True, **keywords), x), variants, repetitions)


class Bare(nn.Module):
    """What one would write by hand around torch's layer."""

    def __init__(self, make: Callable[..., nn.RNNBase]) -> None:
        super().__init__()
        self.rnn = make(HIDDEN, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.transpose(1, 2))[0][:, -1])


def networks(repetitions: int) -> None:
    """A whole network of ours, padding looked for, against one written by hand."""
    x = torch.randn(BATCH, HIDDEN, STEPS)
    io = IO(input_shape=(HIDDEN, STEPS), classes=10)
    for name, builder, make in (("rnn", rnn, nn.RNN), ("lstm", lstm, nn.LSTM), ("gru", gru, nn.GRU)):
        model = builder(hidden_size=HIDDEN)(io, activations.parse_activation("tanh"))
        print(f"  model={name} against a network by hand")
        ratios(passes(Bare(make), x), {f"model={name}": passes(model, x)}, repetitions)


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, {repetitions} repetitions, forward and backward")
    layers(repetitions)
    networks(repetitions)


if __name__ == "__main__":
    main()
