"""Factories of recurrent networks that the configuration names: rnn, irnn, lstm, gru."""

from __future__ import annotations

from functools import partial
from typing import Any

from initlab.models.pieces import require
from initlab.models.recurrent.cells import GateName
from initlab.models.recurrent.network import RecurrentNet
from initlab.spec import ModelBuilder, PositiveInt, Probability


def rnn(
    *,
    hidden_size: PositiveInt = 128,
    layers: PositiveInt = 1,
    embedding_size: PositiveInt | None = None,
    tied: bool = False,
    dropout: Probability = 0.0,
    bidirectional: bool = False,
) -> ModelBuilder:
    """Builder of a plain recurrent network, h' = φ(W_ih x + b_ih + W_hh h + b_hh); see `RecurrentNet`.

    tanh and relu run in torch's kernel, every other elementwise activation in a loop. Elman, Cognitive Science, 1990.

    Args:
        hidden_size: units of the state of each layer and direction.
        layers: one on top of the other.
        embedding_size: numbers that stand for a token; None is `hidden_size`. Of no use where inputs are numbers.
        tied: the head's weight is the embedding's.
        dropout: share of numbers dropped of the embedding, between layers and before the head.
        bidirectional: a second set of layers reads from the end; not for the next token.

    Raises:
        ConfigError: a size below 1; on building, data that are no sequences, an activation that changes the number of
            units, tied with unequal sizes, bidirectional for the next token.
    """
    return partial(
        RecurrentNet, kind="rnn", name="rnn",
        **_check_arguments(hidden_size, layers, embedding_size, dropout), tied=tied, bidirectional=bidirectional,
    )  # fmt: skip


def irnn(
    *,
    hidden_size: PositiveInt = 128,
    layers: PositiveInt = 1,
    embedding_size: PositiveInt | None = None,
    tied: bool = False,
    dropout: Probability = 0.0,
    bidirectional: bool = False,
) -> ModelBuilder:
    """Builder of `rnn` for rectified units, whose customary activation is relu. Arguments as there.

    Use it with ``init=irnn``: W_hh is the identity, so that without input the state stays as it is, and the gradient
    with it. Le, Jaitly & Hinton, arXiv:1504.00941, 2015.
    """
    return partial(
        RecurrentNet, kind="rnn", name="irnn",
        **_check_arguments(hidden_size, layers, embedding_size, dropout), tied=tied, bidirectional=bidirectional,
    )  # fmt: skip


def lstm(
    *,
    hidden_size: PositiveInt = 128,
    layers: PositiveInt = 1,
    embedding_size: PositiveInt | None = None,
    tied: bool = False,
    dropout: Probability = 0.0,
    bidirectional: bool = False,
    gate: GateName = "sigmoid",
) -> ModelBuilder:
    """Builder of a long short-term memory: c' = γ(f)c + γ(i)φ(g), h' = γ(o)φ(c'). Arguments as for `rnn`.

    tanh runs in torch's kernel, every other elementwise activation in a loop and in both places. Hochreiter &
    Schmidhuber, Neural Computation, 1997; Gers, Schmidhuber & Cummins, Neural Computation, 2000.

    Args:
        gate: γ of the gates i, f and o: ``sigmoid``, or ``hardsigmoid`` = min(max(x/6 + 1/2, 0), 1).
    """
    return partial(
        RecurrentNet, kind="lstm", name="lstm", gate=gate,
        **_check_arguments(hidden_size, layers, embedding_size, dropout), tied=tied, bidirectional=bidirectional,
    )  # fmt: skip


def gru(
    *,
    hidden_size: PositiveInt = 128,
    layers: PositiveInt = 1,
    embedding_size: PositiveInt | None = None,
    tied: bool = False,
    dropout: Probability = 0.0,
    bidirectional: bool = False,
    gate: GateName = "sigmoid",
) -> ModelBuilder:
    """Builder of gated recurrent units: n = φ(W_in x + b_in + γ(r)(W_hn h + b_hn)), h' = (1 - γ(z))n + γ(z)h.

    Arguments as for `lstm`, `gate` being γ of r and z. Cho et al., EMNLP 2014.
    """
    return partial(
        RecurrentNet, kind="gru", name="gru", gate=gate,
        **_check_arguments(hidden_size, layers, embedding_size, dropout), tied=tied, bidirectional=bidirectional,
    )  # fmt: skip


def _check_arguments(hidden_size: int, layers: int, embedding_size: int | None, dropout: float) -> dict[str, Any]:
    require("hidden_size", hidden_size, "must be 1 or more", holds=hidden_size >= 1)
    require("layers", layers, "must be 1 or more", holds=layers >= 1)
    fits = embedding_size is None or embedding_size >= 1
    require("embedding_size", embedding_size, "must be 1 or more, or null for hidden_size", holds=fits)
    require("dropout", dropout, "must be 0 or more and less than 1", holds=0 <= dropout < 1)
    return {"hidden_size": hidden_size, "layers": layers, "embedding_size": embedding_size, "dropout": dropout}
