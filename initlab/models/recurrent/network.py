"""The recurrent network: embedding or features, recurrent layers, linear head, hidden state between batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from initlab.errors import ConfigError
from initlab.models.masks import last_step
from initlab.models.pieces import require, require_elementwise
from initlab.models.recurrent.cells import GateName, recurrent_layers
from initlab.network.padding import step_mask
from initlab.network.recurrence import RecurrentKind
from initlab.spec import IO, Activation


class RecurrentNet(nn.Module):
    """Tokens (B, T) through an embedding, or numbers (B, F, T), then recurrent layers, then a linear head.

    Logits are (B, T, classes) where every step has an answer, else (B, classes) from the last step that is no padding;
    of a reverse direction, from its own last step, the sequence's first.

    Parameters are named ``embedding.weight``, ``rnn.weight_ih_l0``, ``rnn.weight_hh_l0``, ``rnn.bias_ih_l0``, ...,
    ``head.weight``. It carries its state from batch to batch where `carry` is set, see `spec.Carrying`.
    """

    def __init__(
        self,
        io: IO,
        activation: Activation,
        *,
        kind: RecurrentKind,
        name: str,
        hidden_size: int = 128,
        layers: int = 1,
        embedding_size: int | None = None,
        tied: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        gate: GateName = "sigmoid",
    ) -> None:
        super().__init__()
        features = _features(io, name)
        activations = activation.sequence(layers)
        require_elementwise((activation, *activations), name)
        language = io.vocabulary is not None and io.per_step
        ahead = "a model of the next token must not read on; set model.bidirectional=false"
        require("bidirectional", bidirectional, ahead, holds=not (bidirectional and language))
        self.carry = False
        self.state: tuple[Tensor, ...] = ()
        self.per_step = io.per_step
        self.embedding: nn.Embedding | None = None
        inputs = features
        if io.vocabulary is not None:
            inputs = hidden_size if embedding_size is None else embedding_size
            self.embedding = nn.Embedding(io.vocabulary, inputs)
        self.dropout = nn.Dropout(dropout)
        self.rnn = recurrent_layers(
            kind, inputs, hidden_size, activations=activations, gate=gate, dropout=dropout, bidirectional=bidirectional
        )
        self.head = nn.Linear(hidden_size * (2 if bidirectional else 1), io.classes)
        if tied:
            _tie(self.head, self.embedding, io)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) int64 or (B, F, T) to logits (B, T, classes) or (B, classes)."""
        mask = None
        if self.embedding is not None:
            h = self.dropout(self.embedding(x))
        else:
            mask = None if self.per_step and not self.rnn.bidirectional else step_mask(x)
            h = self.dropout(x.transpose(1, 2))
        packed: Any = h
        if mask is not None and self.rnn.bidirectional:  # the way back must not begin in padding
            lengths = mask.sum(1).clamp(min=1).cpu()
            packed = pack_padded_sequence(h, lengths, batch_first=True, enforce_sorted=False)
        out, last = self.rnn(packed, self._first(len(x)))
        if packed is not h:
            out, _ = pad_packed_sequence(out, batch_first=True, total_length=h.shape[1])
        if self.carry:
            self.state = tuple(s.detach() for s in (last if isinstance(last, tuple) else (last,)))
        return self.head(self.dropout(out if self.per_step else self._final(out, mask)))

    def _first(self, batch: int) -> Any:
        """The initial state in torch's form; None is zeros."""
        if not self.carry or not self.state:
            return None
        h, *c = (s[:, :batch].contiguous() for s in self.state)
        return (h, *c) if c else h

    def _final(self, out: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, directions · H) to (B, directions · H): each direction at the end of its reading."""
        last = out[:, -1] if mask is None else last_step(out, mask)
        if not self.rnn.bidirectional:
            return last
        size = self.rnn.hidden_size
        return torch.cat([last[:, :size], out[:, 0, size:]], dim=1)


# ------------------------------------------------------------------ pieces
def _features(io: IO, name: str) -> int:
    """Numbers a step, 0 for tokens.

    Raises:
        ConfigError: where the data are no sequences.
    """
    dimensions = 1 if io.vocabulary is not None else 2
    if len(io.input_shape) != dimensions:
        raise ConfigError(
            "model",
            name,
            f"needs sequences (F, T) or tokens (T,), the data have the shape {io.input_shape}; use "
            "data=sequential_mnist, or model=cnn for images",
        )
    return 0 if io.vocabulary is not None else io.input_shape[0]


def _tie(head: nn.Linear, embedding: nn.Embedding | None, io: IO) -> None:
    """Ties the head's weight to the embedding. Press & Wolf, EACL 2017; Inan, Khosravi & Socher, ICLR 2017."""
    if embedding is None or not io.per_step or io.classes != io.vocabulary:
        raise ConfigError("tied", True, "needs a model that reads and writes the same tokens (task=text)")
    sizes = f"needs model.embedding_size = model.hidden_size = {head.in_features}, not {embedding.embedding_dim}"
    require("tied", True, sizes, holds=head.in_features == embedding.embedding_dim)
    head.weight = embedding.weight
