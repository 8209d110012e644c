"""Factories of recurrent networks that the configuration names: rnn, irnn, lstm, gru."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypedDict, Unpack

from initlab.core.factories import factory
from initlab.core.signature import with_parameters_of
from initlab.models.pieces import require
from initlab.models.recurrent.cells import GateName
from initlab.models.recurrent.network import RecurrentKind, RecurrentNet
from initlab.spec import ModelBuilder, PositiveInt, Probability


class RecurrentSettings(TypedDict, total=False):
    """Arguments of every recurrent network; see `Settings`."""

    hidden_size: PositiveInt
    layers: PositiveInt
    embedding_size: PositiveInt | None
    tied: bool
    dropout: Probability
    bidirectional: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes of a recurrent network.

    Attributes:
        hidden_size: units of the state of each layer and direction.
        layers: one on top of the other.
        embedding_size: numbers that stand for a token; None is `hidden_size`. Of no use where inputs are numbers.
        tied: the head's weight is the embedding's.
        dropout: share of numbers dropped of the embedding, between layers and before the head.
        bidirectional: a second set of layers reads from the end; not for the next token.

    Raises:
        ConfigError: a size below 1, or a share outside [0, 1).
    """

    hidden_size: PositiveInt = 128
    layers: PositiveInt = 1
    embedding_size: PositiveInt | None = None
    tied: bool = False
    dropout: Probability = 0.0
    bidirectional: bool = False

    def __post_init__(self) -> None:
        require("hidden_size", self.hidden_size, "must be 1 or more", holds=self.hidden_size >= 1)
        require("layers", self.layers, "must be 1 or more", holds=self.layers >= 1)
        fits = self.embedding_size is None or self.embedding_size >= 1
        require("embedding_size", self.embedding_size, "must be 1 or more, or null for hidden_size", holds=fits)
        require("dropout", self.dropout, "must be 0 or more and less than 1", holds=0 <= self.dropout < 1)


_DEFAULTS = Settings()


@factory
@with_parameters_of(_DEFAULTS)
def rnn(**settings: Unpack[RecurrentSettings]) -> ModelBuilder:
    """Builder of a plain recurrent network, h' = φ(W_ih x + b_ih + W_hh h + b_hh); see `RecurrentNet`.

    tanh and relu run in torch's kernel, every other elementwise activation in a loop. Elman, Cognitive Science, 1990.

    Args:
        settings: see `Settings`.

    Raises:
        ConfigError: a size below 1; on building, data that are no sequences, an activation that changes the number of
            units, tied with unequal sizes, bidirectional for the next token.
    """
    return _builder("rnn", "rnn", settings)


@factory
@with_parameters_of(_DEFAULTS)
def irnn(**settings: Unpack[RecurrentSettings]) -> ModelBuilder:
    """Builder of `rnn` for rectified units, whose customary activation is relu. Arguments as there.

    Use it with ``init=irnn``: W_hh is the identity, so that without input the state stays as it is, and the gradient
    with it. Le, Jaitly & Hinton, arXiv:1504.00941, 2015.
    """
    return _builder("rnn", "irnn", settings)


@factory
@with_parameters_of(_DEFAULTS)
def lstm(*, gate: GateName = "sigmoid", **settings: Unpack[RecurrentSettings]) -> ModelBuilder:
    """Builder of a long short-term memory: c' = γ(f)c + γ(i)φ(g), h' = γ(o)φ(c'). Arguments as for `rnn`.

    tanh runs in torch's kernel, every other elementwise activation in a loop and in both places. Hochreiter &
    Schmidhuber, Neural Computation, 1997; Gers, Schmidhuber & Cummins, Neural Computation, 2000.

    Args:
        gate: γ of the gates i, f and o: ``sigmoid``, or ``hardsigmoid`` = min(max(x/6 + 1/2, 0), 1).
    """
    return _builder("lstm", "lstm", settings, gate=gate)


@factory
@with_parameters_of(_DEFAULTS)
def gru(*, gate: GateName = "sigmoid", **settings: Unpack[RecurrentSettings]) -> ModelBuilder:
    """Builder of gated recurrent units: n = φ(W_in x + b_in + γ(r)(W_hn h + b_hn)), h' = (1 - γ(z))n + γ(z)h.

    Arguments as for `lstm`, `gate` being γ of r and z. Cho et al., EMNLP 2014.
    """
    return _builder("gru", "gru", settings, gate=gate)


def _builder(kind: RecurrentKind, name: str, settings: RecurrentSettings, **more: Any) -> ModelBuilder:
    return partial(RecurrentNet, kind=kind, name=name, **asdict(Settings(**settings)), **more)
