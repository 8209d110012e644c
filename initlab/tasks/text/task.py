"""Language modelling: cross entropy of the next token, as bits per character or perplexity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from initlab.core.factories import factory
from initlab.errors import ConfigError
from initlab.spec import IO, Monitor, NonNegativeInt, Part, PositiveFloat, PositiveInt, Splits
from initlab.tasks import classes
from initlab.tasks.text.corpus import PART_NAMES, Corpus, RawText, build_corpus, windows
from initlab.tasks.text.sample import continuation
from initlab.tasks.text.tokens import Level

_LARGEST_EXPONENT = 700.0  # e^709 is the largest number there is


@dataclass(frozen=True, kw_only=True)
class TextData:
    """A text that can be opened.

    Attributes:
        name: as in the configuration.
        load: reads it. Raises DataError, which says which file to put where.
        level: what a token is.
        sequence_length: tokens that a network reads at a time, T.
        min_count: words that the training part has less often are unknown.
        max_words: so many of the most frequent words are known; None is all. Of byte pairs: tokens, 1,024 where None.
    """

    name: str
    load: Callable[[], RawText]
    level: Level = "char"
    sequence_length: PositiveInt = 64
    min_count: PositiveInt = 1
    max_words: PositiveInt | None = None

    def __post_init__(self) -> None:
        if self.sequence_length < 1:
            raise ConfigError("sequence_length", self.sequence_length, "must be 1 or more")
        for key, value, default in (("min_count", self.min_count, 1), ("max_words", self.max_words, None)):
            if value is not None and value < 1:
                raise ConfigError(key, value, "must be 1 or more")
            if value != default and self.level not in ("word", "bpe"):
                raise ConfigError(key, value, "is for words and byte pairs; set data.level=word or data.level=bpe")

    @cached_property
    def corpus(self) -> Corpus:
        """The text as numbers; read once."""
        return build_corpus(self.load(), min_count=self.min_count, max_words=self.max_words)


@factory
@dataclass(frozen=True, kw_only=True)
class TextTask:
    """Predict the next token at every step: mean cross entropy in nats a token.

    Attributes:
        data: the text.
        carry: whether a network goes on from one window to the next (truncated backpropagation through time); without
            it windows are shuffled, and each is read from an empty state.
        sample_length: tokens of the continuation that is sampled at the end of a run; 0 is none.
        temperature: of the sampling: logits are divided by it.
    """

    data: TextData
    carry: bool = True
    sample_length: NonNegativeInt = 400
    temperature: PositiveFloat = 0.8
    name: str = field(default="text", init=False)
    monitor: Monitor = field(default="val/loss", init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.data, TextData):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError("data", type(self.data).__name__, "is not a text; see python -m initlab data")

    @property
    def episodes(self) -> int | None:
        """None: a text has no examples to draw few of."""
        return None

    def open(self, *, seed: int, device: torch.device) -> Splits:
        """Windows of the text as tensors on `device`: x (N, T) as stored, y (N, T) int64, the token after each.

        The parts do not depend on `seed`: a text is cut where its file, or its fractions, say.

        Raises:
            DataError: the text is absent, empty, no UTF-8, or a part is shorter than a sequence.
        """
        del seed
        corpus, size = self.data.corpus, self.data.sequence_length
        found: list[Part] = []
        notes = list(corpus.notes)
        for name, ids in zip(PART_NAMES, corpus.parts, strict=True):
            part, left = windows(ids, size, name=name, key=corpus.key)
            found.append(Part(x=part.x.to(device), y=part.y.to(device)))
            if left:
                notes.append(
                    f"{name}: the last {left} of {len(ids):,} tokens fill no window of {size} and are left out"
                )
        train, val, test = found
        count = len(corpus.vocabulary)
        return Splits(
            train=train,
            val=val,
            test=test,
            io=IO(input_shape=(size,), classes=count, vocabulary=count, per_step=True),
            prepare=_long,
            augment=None,
            class_names=corpus.vocabulary.tokens,
            provenance=corpus.provenance,
            # a model of language is judged by its loss: the share of right guesses says little
            baseline=replace(classes.baseline(val.y, count), accuracy=None),
            streams=self.carry,
            notes=tuple(notes),
        )

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean cross entropy (nats a token) of logits (B, T, vocabulary) and tokens (B, T)."""
        return classes.cross_entropy(output, target)

    def correct(self, output: Tensor, target: Tensor) -> Tensor:
        """How many tokens have the largest logit, a scalar tensor."""
        return classes.count_correct(output, target)

    def scores(self, loss: float, accuracy: float) -> dict[str, float]:
        """Bits per character, perplexity (of a token) and accuracy.

        A byte counts as a character. The characters of words are those of the text they were cut from, at the rate of
        the training part: bits per character = loss / ln 2 · tokens / characters.
        """
        rate = self.data.corpus.tokens_per_character
        return {
            "bits_per_char": loss / math.log(2) * rate,
            "perplexity": math.exp(min(loss, _LARGEST_EXPONENT)),
            "accuracy": accuracy,
        }

    def closing(self, model: nn.Module, splits: Splits, *, seed: int) -> dict[str, str]:
        """``sample.txt``: how the network goes on where the validation part begins."""
        if self.sample_length == 0:
            return {}
        prompt = splits.val.x[0].long()
        level, tokens = self.data.level, splits.class_names
        text = continuation(
            model, prompt, tokens, level=level, length=self.sample_length, temperature=self.temperature, seed=seed
        )
        return {"sample.txt": text}


def _long(x: Tensor) -> Tensor:
    """Stored tokens as the int64 that an embedding looks up."""
    return x.long()
