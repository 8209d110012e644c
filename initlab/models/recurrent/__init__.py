"""Recurrent networks for sequences of tokens and of numbers: rnn, lstm, gru, irnn."""

from initlab.models.recurrent.builders import gru, irnn, lstm, rnn
from initlab.models.recurrent.network import RecurrentNet

#: model → the activation it is customarily used with
CUSTOMARY = {"rnn": "tanh", "lstm": "tanh", "gru": "tanh", "irnn": "relu"}

__all__ = ["CUSTOMARY", "RecurrentNet", "gru", "irnn", "lstm", "rnn"]
