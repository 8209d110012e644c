"""Recurrent networks (rnn, lstm, gru, irnn) for sequences of tokens or numbers."""

from initlab.models.recurrent.builders import gru, irnn, lstm, rnn
from initlab.models.recurrent.network import RecurrentNet

#: model → the activation it is customarily used with
DEFAULT_ACTIVATIONS = {"rnn": "tanh", "lstm": "tanh", "gru": "tanh", "irnn": "relu"}

__all__ = ["DEFAULT_ACTIVATIONS", "RecurrentNet", "gru", "irnn", "lstm", "rnn"]
